# %% [markdown]
# # 05 · Partial fine-tuning
#
# - **You will be able to:** choose how deep to train, freeze a stage so that it really stays frozen, and prove it.
# - **Time:** 45 minutes, of which the machine works for about one.
# - **Memory:** below 1.4 GB.
# - **Builds on:** lessons 00 and 04.

# %% [markdown]
# ## The question
#
# A hospital freezes a validated network and trains a new head on its own images.
# The report says: the backbone is unchanged, so its approval still holds.
# A year later somebody compares the files. The backbone has changed. Nobody trained it.
#
# How can a network change while it is frozen? And if one may choose, which stages *should* move?

# %% [markdown]
# ## Predict
#
# Two guesses. The first is about the hospital.

# %%
from labkit import learn

learn.predict(
    "05-frozen-drift",
    "All weights below the head have requires_grad=False. The head trains for one epoch in training "
    "mode. What changes below the head?",
    choices=("nothing", "a few weights", "the statistics of BatchNorm"),
)

# %%
learn.predict(
    "05-depth",
    "Digits, ten labels a class, a network that knows letters: which depth gives the best accuracy?",
    choices=("the head alone", "a few stages below it too", "everything"),
)

# %% [markdown]
# ## The idea in plain PyTorch
#
# A stage holds two kinds of numbers. Its weights are moved by the optimiser. Its buffers are moved by a forward pass.
# The usual recipe stops the first kind only. We follow it, and look at the first BatchNorm.

# %%
import torch

import labkit

data = labkit.load_data("digits").subset(per_class=10)
net = labkit.load_backbone("resnet10-glyphs")
model = net.build(len(data.classes), seed=0)

model.requires_grad_(False)
model.head.requires_grad_(True)
model.train()  # what every training loop calls

before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
images, labels = data.train.batch(range(len(data.train)))
for indices in torch.arange(len(data.train)).split(10):
    model(images[indices])  # forward only: there is not even an optimiser here

changed = [
    name
    for name, tensor in model.state_dict().items()
    if not name.startswith("head") and not torch.equal(tensor, before[name])
]
print(f"{len(changed)} tensors below the head have changed, among them {changed[:2]}")

# %%
kinds = {name.rsplit(".", 1)[1] for name in changed}
print("kinds of numbers that changed:", ", ".join(sorted(kinds)))
only_statistics = kinds <= {"running_mean", "running_var", "num_batches_tracked"}
learn.reveal(
    "05-frozen-drift", "the statistics of BatchNorm" if only_statistics else "a few weights"
)

# %% [markdown]
# No weight moved. Yet the network gives other answers now, because BatchNorm divides by other numbers.
# In evaluation mode the new statistics are used for every image, including those of the old task.


# %%
def answers(state):
    """What the network says in evaluation mode, with a given state."""
    model.load_state_dict(state)
    model.eval()
    with torch.no_grad():
        return model(images)


drifted = {name: tensor.clone() for name, tensor in model.state_dict().items()}
shift = (answers(drifted) - answers(before)).norm() / answers(before).norm()
print(f"the scores moved by {shift:.0%} of their length, and nothing was trained")

# %% [markdown]
# The cure is one line more: a frozen stage stays in evaluation mode. Not once, but after every `model.train()`.

# %% [markdown]
# ## The same through labkit
#
# In labkit a frozen stage takes no gradient **and** stays in evaluation mode.
# To spring the trap one has to ask for it. We do, and let the audit look at both.

# %%
from labkit.show import figures

shared = {"lr": 0.01, "epochs": 4, "batch_size": 10}
trap = labkit.Run(
    net, data, labkit.feature_extraction(**shared, frozen_statistics="running"), name="trap"
)
held = labkit.Run(
    net, data, labkit.feature_extraction(**shared, frozen_statistics="fixed"), name="held"
)
trap.fit()
held.fit()
figures.plot_audit(trap)

# %%
figures.plot_audit(held)

# %%
print("statistics running:", trap.evaluate("valid"))
print("statistics fixed:  ", held.evaluate("valid"))

# %% [markdown]
# Whether the drift helps or hurts this task is a matter of luck and of how far the new images are from the old.
# The point is another: someone said frozen, and it was not. What was measured on the old network holds no longer.

# %% [markdown]
# ## Which stages should move?
#
# The folklore says: early stages are general, late ones are specific, so move the late ones.
# We try four depths, with three seeds each. A dot is one run.

# %%
import pandas as pd


def accuracy(depth, seed):
    """Validation accuracy after training from `depth` upward, at a rate that suits it."""
    lr = 0.01 if depth == "head" else 0.001
    plan = labkit.partial(depth, lr=lr, epochs=3, batch_size=10)
    run = labkit.Run(net, data, plan, seed=seed).fit()
    return run.evaluate("valid").accuracy


depths = ("head", "layer4", "layer3", "stem")
tried = pd.DataFrame(
    [(depth, seed, accuracy(depth, seed)) for depth in depths for seed in (0, 1, 2)],
    columns=["trains from", "seed", "accuracy"],
)
figures.evidence(tried, value="accuracy", by="trains from", title="Accuracy by depth")

# %%
mean = tried.groupby("trains from").accuracy.mean()
parts = {
    "the head alone": mean["head"],
    "a few stages below it too": mean[["layer4", "layer3"]].mean(),
    "everything": mean["stem"],
}
learn.reveal("05-depth", max(parts, key=parts.get))

# %% [markdown]
# Look at the intervals before you believe the order. Three seeds can rank depths one way, and three others another way.
# What a depth costs is less doubtful: the deeper the training, the more of the network takes a gradient.

# %%
for depth in depths:
    plan = labkit.partial(depth, lr=0.001, epochs=3, batch_size=10)
    trained, total = labkit.Run(net, data, plan).parameters_trained()
    print(f"{depth:7} {trained:>9,} of {total:,} parameters train")

# %% [markdown]
# ## What a freeze saves
#
# A frozen stage has fixed weights and fixed statistics. So what it makes of a picture is a constant.
# A plain loop computes that constant again in every epoch. labkit computes it once per picture and keeps it.
#
# This is exact only because frozen stages stay in evaluation mode. With statistics left running there is no constant
# to keep: the trap above costs time, too.

# %%
from labkit import insight

plan = labkit.feature_extraction(lr=0.01, epochs=5, batch_size=10)
insight.epoch_seconds(labkit.Run(net, data, plan).fit()).round(2)

# %% [markdown]
# Both columns are in seconds. The first is what an epoch took. The second is what it would have taken, had the frozen
# stages run again for every picture, validation included. Now the whole network, where nothing can be kept:

# %%
plan = labkit.full(epochs=3, batch_size=10)
insight.epoch_seconds(labkit.Run(net, data, plan).fit()).round(2)

# %% [markdown]
# The console tells the same two numbers after every epoch. Move the frozen depth there, and watch them change.

# %% [markdown]
# ## The same on photographs
#
# Ants and bees, the backbone that knows photographs, and three depths.

# %%
photos = learn.photographs()
if photos is None:
    print("The photographs are not on this machine. To fetch them: labkit data fetch ants-bees")
else:
    photo_net = labkit.load_backbone("resnet10")
    for depth in ("head", "layer4", "stem"):
        plan = labkit.partial(depth, lr=0.001, epochs=4)
        print(f"{depth:7}", labkit.Run(photo_net, photos, plan, seed=0).fit().evaluate("valid"))

# %% [markdown]
# ## Your turn in the console
#
# The console opens on `layer4` and the head. The slider for the frozen depth is what this lesson is about.
#
# 1. Let it train for a while, then pull the frozen depth down to `stem` while it runs. Watch the loss.
# 2. Find a learning rate that ruins the network at full depth.
# 3. Rewind, freeze all but the head, and try the same rate. Which one saves it: the rate, or the freeze?

# %%
playground = labkit.Run(net, data, labkit.partial("layer4", lr=0.001, epochs=200, batch_size=10))
labkit.console(playground)

# %% [markdown]
# ## Exercise 1 · How much of it trains?
#
# {exercise:05-count}
#
# Write a function that returns the share of a model's parameters that train, from 0 to 1.


# %% tags=["stub"]
def share_that_trains(model):
    """Parameters that take a gradient, divided by all parameters."""
    raise NotImplementedError


# %% tags=["solution"]
def share_that_trains(model):
    """Parameters that take a gradient, divided by all parameters."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, trains in sizes if trains) / sum(size for size, _ in sizes)


# %%
learn.check("05-count", share_that_trains)

# %% [markdown]
# ## Exercise 2 · A freeze that holds
#
# {exercise:05-freeze}
#
# Write the function that a training loop should call instead of `model.train()`.
# It readies the model for training with the stages in `frozen` kept exactly as they are.
# Called again with other names, it thaws what is no longer named.


# %% tags=["stub"]
def train_mode(model, frozen):
    """Ready a model for training; `frozen` holds names of its children."""
    model.train()
    for name, stage in model.named_children():
        stage.requires_grad_(name not in frozen)


# %% tags=["solution"]
def train_mode(model, frozen):
    """Ready a model for training; `frozen` holds names of its children."""
    for name, stage in model.named_children():
        stage.requires_grad_(name not in frozen)
        stage.train(name not in frozen)


# %%
learn.check("05-freeze", train_mode)

# %% [markdown]
# ## Exercise 3 · A thaw that takes
#
# {exercise:05-thaw}
#
# The head of a model trains, all else is frozen. Write a function that thaws one more stage in the middle of
# training. The optimiser exists already and knows the head alone.


# %% tags=["stub"]
def thaw(model, name, optimizer):
    """Let the stage `name` train from now on."""
    model.get_submodule(name).requires_grad_(True)


# %% tags=["solution"]
def thaw(model, name, optimizer):
    """Let the stage `name` train from now on."""
    stage = model.get_submodule(name)
    stage.requires_grad_(True).train()
    optimizer.add_param_group({"params": stage.parameters()})


# %%
learn.check("05-thaw", thaw)

# %% [markdown]
# ## What the evidence says
#
# From recorded runs, several seeds a setting, with 95 % intervals over seeds.
#
# | What trains | digits, three labels a class | digits, ten labels a class | ants and bees |
# |---|---|---|---|
# | head alone | {evidence:types/digits-3/linear-probe} | {evidence:types/digits-10/linear-probe} | {evidence:types/ants-bees/linear-probe} |
# | `layer4` and head | {evidence:types/digits-3/layer4-head} | {evidence:types/digits-10/layer4-head} | {evidence:types/ants-bees/layer4-head} |
# | everything | {evidence:types/digits-3/full} | {evidence:types/digits-10/full} | {evidence:types/ants-bees/full} |
#
# - **Late stages are specific, so moving them pays: supported on digits.** With three labels a class, `layer4` and
#   head gain {evidence:types/digits-3/layer4-head against types/digits-3/linear-probe} over the head alone, paired by seed.
# - **Early stages are general, so moving them does harm: not supported.** Everything, against `layer4` and head, makes
#   {evidence:types/digits-3/full against types/digits-3/layer4-head}. An interval that holds zero decides nothing.
# - **On ants and bees neither shows.** `layer4` and head, against the head alone, make
#   {evidence:types/ants-bees/layer4-head against types/ants-bees/linear-probe}.
# - **BatchNorm statistics left running change a frozen network: {verdict:20}.** What the head sees of the validation
#   images moved, and the numbers say by how much of its length. On digits in batches of 4 it was
#   {evidence:batchnorm-seen/digits-10-batch-4/statistics-running/features}. In batches of 20 it was
#   {evidence:batchnorm-seen/digits-10-batch-20/statistics-running/features}. On ants and bees it was
#   {evidence:batchnorm-seen/ants-bees-batch-8/statistics-running/features}. With fixed statistics nothing moved.
#
# What that costs in accuracy is another question. Only the head learns here, and only the statistics differ.
#
# | Statistics of frozen stages | fixed | left running | running, against fixed |
# |---|---|---|---|
# | digits, ten labels a class, batches of 4 | {evidence:batchnorm-trap/digits-10-batch-4/statistics-fixed} | {evidence:batchnorm-trap/digits-10-batch-4/statistics-running} | {evidence:batchnorm-trap/digits-10-batch-4/statistics-running against batchnorm-trap/digits-10-batch-4/statistics-fixed} |
# | digits, ten labels a class, batches of 20 | {evidence:batchnorm-trap/digits-10-batch-20/statistics-fixed} | {evidence:batchnorm-trap/digits-10-batch-20/statistics-running} | {evidence:batchnorm-trap/digits-10-batch-20/statistics-running against batchnorm-trap/digits-10-batch-20/statistics-fixed} |
# | ants and bees, batches of 8 | {evidence:batchnorm-trap/ants-bees-batch-8/statistics-fixed} | {evidence:batchnorm-trap/ants-bees-batch-8/statistics-running} | {evidence:batchnorm-trap/ants-bees-batch-8/statistics-running against batchnorm-trap/ants-bees-batch-8/statistics-fixed} |
#
# - **The drift lowers accuracy: not supported here.** Every interval in the last column reaches zero.
#   The network changed all the same. Accuracy does not tell, and that is why nobody notices.

# %% [markdown]
# ## Quiz
#
# Your first choice counts. Every option answers with a reason, so go on choosing until it is right.

# %%
learn.quiz("05")

# %% [markdown]
# ## Pitfalls
#
# - **Freezing by `requires_grad` alone.** BatchNorm goes on learning. Keep frozen stages in evaluation mode.
# - **Calling `model.train()` each epoch.** It wakes the frozen stages again, every time.
# - **Thawing behind the optimiser's back.** It moves only what it was given.
# - **Choosing a depth by one seed.** The differences between depths are often smaller than chance.

# %% [markdown]
# ## Summary
#
# - Frozen means two things: no gradient for the weights, and evaluation mode for the statistics.
# - Thawing means three: gradients, training mode, and an optimiser that knows.
# - An audit compares the numbers themselves. Flags prove nothing.
# - The best depth depends on the labels, on the source, and on the rate. Try two or three, with seeds.
#
# Your guesses so far:

# %%
learn.score()

# %% [markdown]
# ## References
#
# - Yosinski, J., Clune, J., Bengio, Y., & Lipson, H. (2014). How transferable are features in deep neural
#   networks? *Advances in Neural Information Processing Systems 27*.
# - Ioffe, S., & Szegedy, C. (2015). Batch normalization: Accelerating deep network training by reducing internal
#   covariate shift. *ICML*.
# - Howard, J., & Ruder, S. (2018). Universal language model fine-tuning for text classification. *ACL*.
