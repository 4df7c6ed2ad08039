# %% [markdown]
# # 06 · Full fine-tuning
#
# - **You will be able to:** read the whole training loop, see how far each stage moves, and say when moving everything is right.
# - **Time:** 45 minutes, of which the machine works for about one.
# - **Memory:** below 1.4 GB.
# - **Builds on:** lessons 00, 04 and 05.

# %% [markdown]
# ## The question
#
# Your team has a budget for labels: three, ten or fifty a class. Each label costs money.
# With every budget you may train the head, the upper stages, or everything.
#
# Whoever always trains everything may throw away what the network knew.
# Whoever never does may leave accuracy on the table. Where does it turn?

# %% [markdown]
# ## Predict

# %%
from labkit import learn

learn.predict(
    "06-fifty-labels",
    "Fifty labels a class instead of three. How does everything fare against the head alone?",
    choices=("worse", "within two points", "better by more than two points"),
)

# %%
learn.predict(
    "06-drift",
    "Everything trains at one learning rate. Which stage moves furthest, relative to where it began?",
    choices=("the stem", "a stage in the middle", "the head"),
)

# %% [markdown]
# ## The idea in plain PyTorch
#
# Full fine-tuning is the plainest of all: the loop from the first page of every tutorial, with a different start.

# %%
import torch
from torch import nn

import labkit

data = labkit.load_data("digits").subset(per_class=10)
net = labkit.load_backbone("resnet10-glyphs")
model = net.build(len(data.classes), seed=0)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

model.train()
right = count = 0
for indices in torch.randperm(len(data.train), generator=torch.manual_seed(0)).split(20):
    images, labels = data.train.batch(indices)
    scores = model(images)
    loss = nn.functional.cross_entropy(scores, labels)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    right += int((scores.argmax(dim=1) == labels).sum())
    count += len(labels)
    print(f"loss {loss.item():.2f}, so far {right} of {count} right")

# %% [markdown]
# Count right answers and images, and divide once. The mean of the accuracies of batches is another number.
# With a short last batch it can even reverse the ranking of two epochs.

# %% [markdown]
# ## The same through labkit
#
# There is no magic in a run. This is the engine's own code, printed from the file it runs from.
# Look for the lines that you know: outputs (here the scores), loss, backward, step, clear.

# %%
import inspect

from labkit.tuning.trainer import Trainer

print(inspect.getsource(Trainer.step))

# %% [markdown]
# What surrounds the five lines makes a run repeatable. Chance comes from the seed and the number of the step.
# A loss that is no number stops the run before it can spoil the weights.
#
# Now a full run, and how far each stage went.

# %%
from labkit.show import figures

del model, optimizer  # a run brings its own
plan = labkit.full(lr=1e-3, epochs=4, batch_size=20)
run = labkit.Run(net, data, plan, seed=0).fit()
print(run.evaluate("valid"))
figures.plot_drift(run)

# %%
moved = run.drift()
furthest = max(moved, key=moved.get)
names = {"stem": "the stem", "head": "the head"}
learn.reveal("06-drift", names.get(furthest, "a stage in the middle"))

# %% [markdown]
# Drift is relative: the distance moved over the length at the start. The head starts from small random weights.
# So a move that is small in itself can be large for the head.
#
# Discriminative rates keep the lower stages closer to home. `lr_decay` makes them: each stage gets that fraction of
# the rate of the stage above it.

# %%
del run  # one trained network at a time fits a small machine
run = labkit.Run(net, data, plan.with_(lr_decay=0.3), seed=0, name="a smaller rate below").fit()
print(run.evaluate("valid"))
figures.plot_drift(run)

# %% [markdown]
# ## The three types as data grows
#
# Three budgets, three depths, one seed each. It is a sketch, so it does not settle the prediction.
# The recorded runs do.

# %%
from labkit.course.lesson_06 import figures as charts

PLANS = {
    "head alone": labkit.feature_extraction(lr=0.01, epochs=5),
    "layer4 and head": labkit.partial("layer4", lr=0.001, epochs=5),
    "everything": labkit.full(lr=0.001, epochs=5),
}
whole = labkit.load_data("digits")
tried = []
for labels in (3, 10, 50):
    part = whole.subset(per_class=labels)
    for name, plan in PLANS.items():
        plan = plan.with_(batch_size=min(32, 3 * labels))
        result = labkit.Run(net, part, plan, seed=0).fit().evaluate("valid")
        tried.append((labels, name, result))
charts.growth(tried)

# %%
from labkit.course import evidence

gain = evidence.estimate("types/digits-50/full", "types/digits-50/linear-probe")
print(
    f"everything, less the head alone: {100 * gain.mean:+.1f} points, "
    f"95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f}, {gain.count} seeds"
)
learn.reveal("06-fifty-labels", gain.mean, bounds=(-0.02, 0.02))

# %% [markdown]
# ## The same on photographs
#
# Ants and bees: everything trains, from the pre-trained start and from scratch.

# %%
photos = learn.photographs()
if photos is None:
    print("The photographs are not on this machine. To fetch them: labkit data fetch ants-bees")
else:
    photo_net = labkit.load_backbone("resnet10")
    for plan in (labkit.full(lr=1e-3, epochs=4), labkit.from_scratch(lr=3e-3, epochs=4)):
        print(
            f"{plan.name:12}", labkit.Run(photo_net, photos, plan, seed=0).fit().evaluate("valid")
        )

# %% [markdown]
# ## Your turn in the console
#
# The console opens with everything thawed, so everything can be ruined.
#
# 1. Find a learning rate that ruins the network within ten steps. Look at the drift: which stage left first?
# 2. Rewind to the step before. Find the rate that saves it.
# 3. Branch there, and freeze the stages below `layer3` in the branch. Compare the two curves.

# %%
playground = labkit.Run(net, data, labkit.full(lr=1e-3, epochs=200, batch_size=20), seed=0)
labkit.console(playground)

# %% [markdown]
# ## Exercise 1 · A ladder of rates
#
# {exercise:06-rates}
#
# Write the function behind `lr_decay`. It takes the names of the stages from input to output, the rate of the
# head, and the decay. It returns a dictionary with the rate of each stage.


# %% tags=["stub"]
def ladder(stages, lr, decay):
    """The learning rate of each stage, by name."""
    raise NotImplementedError


# %% tags=["solution"]
def ladder(stages, lr, decay):
    """The learning rate of each stage, by name."""
    top = len(stages) - 1
    return {name: lr * decay ** (top - number) for number, name in enumerate(stages)}


# %%
learn.check("06-rates", ladder)

# %% [markdown]
# ## Exercise 2 · Measure the drift
#
# {exercise:06-drift}
#
# Two dictionaries hold the tensors of a stage, before and after. Return how far the stage has moved: the length of
# the difference over all tensors together, divided by the length at the start.


# %% tags=["stub"]
def distance(before, after):
    """||after - before|| / ||before||, over all tensors together."""
    raise NotImplementedError


# %% tags=["solution"]
def distance(before, after):
    """||after - before|| / ||before||, over all tensors together."""
    moved = sum((after[name] - before[name]).square().sum() for name in before)
    length = sum(tensor.square().sum() for tensor in before.values())
    return float((moved / length).sqrt())


# %%
learn.check("06-drift", distance)

# %% [markdown]
# ## Exercise 3 · An epoch, whole
#
# {exercise:06-epoch}
#
# This loop runs, and three things in it are wrong. None of them raises an error. Repair it.


# %% tags=["stub"]
def train_epoch(model, batches, optimizer):
    """Train once over the batches (images, labels); return the share that was right on the way."""
    shares = []
    for images, labels in batches:
        scores = model(images)
        nn.functional.cross_entropy(scores, labels).backward()
        optimizer.step()
        shares.append((scores.argmax(dim=1) == labels).float().mean().item())
    return sum(shares) / len(shares)


# %% tags=["solution"]
def train_epoch(model, batches, optimizer):
    """Train once over the batches (images, labels); return the share that was right on the way."""
    model.train()
    right = count = 0
    for images, labels in batches:
        scores = model(images)
        optimizer.zero_grad()
        nn.functional.cross_entropy(scores, labels).backward()
        optimizer.step()
        right += int((scores.argmax(dim=1) == labels).sum())
        count += len(labels)
    return right / count


# %%
learn.check("06-epoch", train_epoch)

# %% [markdown]
# ## What the evidence says
#
# From recorded runs, several seeds a setting, with 95 % intervals over seeds.
#
# | Accuracy | head alone | everything | everything, against the head alone |
# |---|---|---|---|
# | digits, three labels a class | {evidence:types/digits-3/linear-probe} | {evidence:types/digits-3/full} | {evidence:types/digits-3/full against types/digits-3/linear-probe} |
# | digits, ten labels a class | {evidence:types/digits-10/linear-probe} | {evidence:types/digits-10/full} | {evidence:types/digits-10/full against types/digits-10/linear-probe} |
# | digits, fifty labels a class | {evidence:types/digits-50/linear-probe} | {evidence:types/digits-50/full} | {evidence:types/digits-50/full against types/digits-50/linear-probe} |
# | ants and bees | {evidence:types/ants-bees/linear-probe} | {evidence:types/ants-bees/full} | {evidence:types/ants-bees/full against types/ants-bees/linear-probe} |
#
# - **Which of the three types wins depends on the amount of data: {verdict:13}.** New seeds and more amounts were asked.
#   Everything, against the head alone, makes {evidence:amount/digits-1/full against amount/digits-1/linear-probe} with one
#   label a class of digits, and {evidence:amount/digits-50/full against amount/digits-50/linear-probe} with fifty. With five
#   photographs a class it makes {evidence:amount/ants-bees-5/full against amount/ants-bees-5/linear-probe}, and with all of
#   them {evidence:amount/ants-bees-all/full against amount/ants-bees-all/linear-probe}. Nowhere does one type win with
#   little data and clearly lose with much.
# - **It depends on the task.** On digits moving everything pays as labels grow, on ants and bees it gains nothing over the head.
#   A difference whose interval holds zero is not a difference yet.
# - **A pre-trained start is better on small data.** Everything trained on ants and bees, against from scratch:
#   {evidence:types/ants-bees/full against types/ants-bees/from-scratch}, paired by seed.

# %% [markdown]
# ## Quiz
#
# Your first choice counts. Every option answers with a reason, so go on choosing until it is right.

# %%
learn.quiz("06")

# %% [markdown]
# ## Pitfalls
#
# - **The rate from a tutorial for training from scratch.** It is often too large for a pre-trained start.
# - **The mean of batch accuracies.** Count, then divide once.
# - **Gradients that were never cleared.** The loss still falls, for a while, and nobody notices.
# - **Asking in training mode, training in evaluation mode.** Both run without a word of complaint.

# %% [markdown]
# ## Summary
#
# - Full fine-tuning is the ordinary training loop with a better start.
# - It has the most to gain and the most to lose, so the learning rate matters most here.
# - Drift shows which stage paid for what was learned.
# - The folklore says that few labels call for the head alone. On digits it was wrong, on photographs it was not: try both, with seeds.
#
# Your guesses so far:

# %%
learn.score()

# %% [markdown]
# ## References
#
# - Kornblith, S., Shlens, J., & Le, Q. V. (2019). Do better ImageNet models transfer better? *CVPR*.
# - Howard, J., & Ruder, S. (2018). Universal language model fine-tuning for text classification. *ACL*.
# - Yosinski, J., Clune, J., Bengio, Y., & Lipson, H. (2014). How transferable are features in deep neural
#   networks? *Advances in Neural Information Processing Systems 27*.
# - Loshchilov, I., & Hutter, F. (2019). Decoupled weight decay regularization. *ICLR*. The optimiser used here.
