# %% [markdown]
# # 07 · Learning rates: how big a step?
#
# - **You will be able to:** find a learning rate in seconds, tell when one ruins a network, and shape it over time and over depth.
# - **Time:** 50 minutes, of which the machine works for about one.
# - **Memory:** below 1.4 GB.
# - **Builds on:** lessons 00, 05 and 06.

# %% [markdown]
# ## The question
#
# Two teams fine-tune the same network on the same images, with the same code and the same seed.
# One reports that pre-training is worth its price. The other reports that it is worthless, and cancels the project.
#
# Both measured honestly. They differ in a single number, and the second team took it from a tutorial.
# How do you choose that number before it costs you a project?

# %% [markdown]
# ## Predict
#
# Three guesses. In the first, a run is disturbed for three steps only.

# %%
from labkit import learn

NOTHING, PART, MOST = "next to nothing", "a part of it", "most of it"

learn.predict(
    "07-three-steps",
    "A run goes well. For three steps its rate is a hundred times too large, then it is as before. "
    "How much of its final accuracy does that cost?",
    choices=(NOTHING, PART, MOST),
)

# %%
RATE, BATCH, DECAY = "the learning rate", "the batch size", "the weight decay"

learn.predict(
    "07-knob",
    "Digits, everything trains. Each of these is moved over a wide range, the others stay. "
    "Which one moves accuracy furthest?",
    choices=(RATE, BATCH, DECAY),
)

# %%
HEAD, UPPER, WHOLE = "the head alone", "layer4 and head", "everything"

learn.predict(
    "07-depth",
    "Each frozen depth has a learning rate that suits it best. For which depth is it the largest?",
    choices=(HEAD, UPPER, WHOLE),
)

# %% [markdown]
# ## The idea in plain PyTorch
#
# A step is the gradient times the rate, more or less. The gradient says where to go. The rate says how far.
# Nobody can tell from the code alone how far is too far. But one can ask the network.
#
# Start with a rate that is far too small. Make it larger at each step, and write down the loss.

# %%
import math

import torch
from torch import nn

import labkit

data = labkit.load_data("digits").subset(per_class=10)
net = labkit.load_backbone("resnet10-glyphs")
model = net.build(len(data.classes), seed=0).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
chance = torch.Generator().manual_seed(0)

rates, losses = [], []
lr = 1e-6
while lr < 1:
    for group in optimizer.param_groups:
        group["lr"] = lr
    images, labels = data.train.batch(torch.randperm(len(data.train), generator=chance)[:20])
    loss = nn.functional.cross_entropy(model(images), labels)
    rates.append(lr)
    losses.append(loss.item())
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    lr *= 1.5

for lr, loss in list(zip(rates, losses, strict=True))[::3]:
    print(f"rate {lr:8.1e}   loss {loss:6.2f}  {'▬' * min(40, round(8 * loss))}")

# %% [markdown]
# Three regions. First nothing happens. Then the loss falls. Then it rises, far above where it began.
# A good rate lies in the second region, well before its end.
#
# This is the range test (Smith, 2017). It takes less than a minute, and it should be the first thing you do.

# %% [markdown]
# ## The same through labkit
#
# `find_lr` does the test on a throw-away branch. The run itself is not touched.

# %%
run = labkit.Run(net, data, labkit.full(lr=1e-5, epochs=4, batch_size=20), seed=0)
found = labkit.find_lr(run)
found

# %% [markdown]
# Now use it. The rate in force, the rate that was found, and one that is far too large:

# %%
import pandas as pd

from labkit import insight


def outcome(lr):
    """What a rate leads to: how far the layers below the head go, and how many digits are right."""
    plan = labkit.full(lr=lr, epochs=4, batch_size=20)
    run = labkit.Run(net, data, plan, seed=0).fit()
    return insight.layers_drift(run), run.evaluate("valid").accuracy


del model, optimizer, run  # a network that is not needed should not take memory
rows = [(f"{lr:.1e}", *outcome(lr)) for lr in (1e-5, found.suggestion or 1e-3, 0.1)]
table = pd.DataFrame(rows, columns=["rate", "moved (of their length)", "accuracy"])
table.style.format({"moved (of their length)": "{:.3f}", "accuracy": "{:.1%}"}).hide(axis="index")

# %% [markdown]
# The small rate keeps everything, and learns next to nothing. The large one carries the layers many times their own
# length away, and what is left can only guess. The second team of the question is in this table, and so is the first.

# %% [markdown]
# ## Three steps
#
# A run goes well for one epoch. Then the rate is a hundred times too large, for three steps. Then it is as before.

# %%
from labkit.show import figures

plan = labkit.full(lr=1e-3, epochs=6, batch_size=20)
shaken = labkit.Run(net, data, plan, seed=0, name="shaken").fit(epochs=1)
before = shaken.step_number

shaken.set(lr=0.1)
for _ in range(3):
    shaken.step()
shaken.set(lr=1e-3)
print(shaken.fit().evaluate("valid"))

# %% [markdown]
# A run can go back. `branch` takes everything from before the mistake: weights, statistics, the optimiser's memory.

# %%
saved = shaken.branch(step=before, name="rewound").fit()
figures.plot_history([shaken, saved])

# %%
lost = saved.evaluate("valid").accuracy - shaken.evaluate("valid").accuracy
del shaken, saved
learn.reveal("07-three-steps", lost, bounds=(0.02, 0.4))

# %% [markdown]
# What the network knew lay in its weights, and three steps took the weights elsewhere.
# A small rate afterwards does not bring them back, it trains whatever is there now.
# So do not repair a ruined run. Rewind it.

# %% [markdown]
# ## When the loss is no number any more
#
# BatchNorm rescales whatever comes, so our network only gets worse. A network without it can run away for good.
# Here is one, small and untrained, at the largest rate that labkit allows.

# %%
from collections import OrderedDict

from labkit.tuning import RunFailed


def bare(num_classes):
    """Two layers, and no BatchNorm to hold them."""
    body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 64), nn.LeakyReLU(0.2))
    return nn.Sequential(OrderedDict(body=body, head=nn.Linear(64, num_classes)))


two_layers = labkit.Backbone.from_module(bare, ("body", "head"), "two layers")
plan = labkit.from_scratch(lr=1.0, optimizer="sgd", epochs=10, batch_size=20)
runaway = labkit.Run(two_layers, data, plan, seed=0)
for event in runaway.events():
    if isinstance(event, RunFailed):
        print(event)

# %% [markdown]
# labkit stops such a run before the step that would spoil its weights. It also says where to go back to:
# the last step at which the loss was no higher than at the start. Go there, and take a smaller rate.

# %%
events = [event for _, event in runaway.journal.since(0)]
failed = next(event for event in events if isinstance(event, RunFailed))
runaway.rewind(failed.last_good_step).set(lr=0.01)
print(runaway.fit().evaluate("valid"))

# %% [markdown]
# ## Rates that change with time
#
# At the start the head is random, so its gradients are large and point nowhere in particular. A warm-up waits for it.
# At the end small steps settle what large ones found. A schedule lets the rate fall.
#
# A schedule is a function of the step. It remembers nothing, so a run can be rewound into the middle of it.

# %%
from labkit.course.lesson_07 import figures as charts
from labkit.tuning import rate_factor

charts.schedules(
    {
        "constant": lambda done: rate_factor("constant", 0, done),
        "warm-up, then linear": lambda done: rate_factor("linear", 0.1, done),
        "warm-up, then cosine": lambda done: rate_factor("cosine", 0.1, done),
    },
    lr=1e-3,
)

# %% [markdown]
# A plan takes both by name. The history keeps the rate of every step, so one can look whether it was so.
# A step counts at its middle, so that neither the first nor the last has a rate of nothing.

# %%
plan = labkit.full(lr=1e-3, epochs=4, batch_size=20, schedule="cosine", warmup=0.1)
run = labkit.Run(net, data, plan, seed=0, name="warm-up and cosine").fit()
used = run.history.query("split == 'train'").lr.to_numpy()
wanted = [1e-3 * rate_factor("cosine", 0.1, (step + 0.5) / len(used)) for step in range(len(used))]
print(f"largest difference from the function: {abs(used - wanted).max():.1e}")
print(run.evaluate("valid"))

# %% [markdown]
# ## Rates that change with depth
#
# Early stages see edges, and edges are the same everywhere. So they may need to move less than late ones.
# Discriminative rates say so in one number: each stage gets that fraction of the rate of the stage above it.

# %%
ladders = {}
for decay in (1.0, 0.5, 0.2):
    run = labkit.Run(net, data, labkit.full(batch_size=20, lr=1e-3, lr_decay=decay), seed=0)
    run.step()
    ladders[f"lr_decay={decay:g}"] = {g["name"]: g["lr"] for g in run.optimizer.param_groups}
del run
pd.DataFrame(ladders).map("{:.1e}".format)

# %% [markdown]
# Whether it helps is a question for the record, below. The drift that it saves you have seen in lesson 06.

# %% [markdown]
# ## Batch size and weight decay
#
# Three knobs, five values each. One moves, the others stay where the dotted line is.
# These runs are from the record, with five seeds. A dot is one run, and the line goes through the means.

# %%
charts.knobs("digits-10")

# %%
from labkit.course import evidence

spreads = {
    name: evidence.estimate(f"step-size/digits-10/{knob}-far").mean
    for knob, name in {"rate": RATE, "batch": BATCH, "weight-decay": DECAY}.items()
}
learn.reveal("07-knob", max(spreads, key=spreads.get))

# %% [markdown]
# ## The map of rate and depth
#
# The best rate for the head alone need not be the best for the whole network. So we try them together.
# `sweep` trains every combination, in processes beside this one. The map fills in as runs finish.

# %%
base = labkit.Run(net, data, labkit.partial("head", epochs=3, batch_size=20))
tried = labkit.sweep(
    base,
    lr=[1e-4, 1e-3, 1e-2, 1e-1],
    trainable_from=["head", "layer4", "stem"],
    seed=range(2),
).run(progress=False)

# %% [markdown]
# Read it by rows. In each row there is a best rate, and accuracy falls to the right of it.
# The more of the network trains, the deeper it falls. Then look how far apart the rows are at their best.

# %%
summary = tried.summary()
best = summary.loc[summary.groupby("trainable_from")["mean"].idxmax()].set_index("trainable_from")
names = {"head": HEAD, "layer4": UPPER, "stem": WHOLE}
learn.reveal("07-depth", names[best.lr.idxmax()])

# %% [markdown]
# ## What would happen?
#
# The atlas is this map, recorded: rates, depths and numbers of labels, with five seeds each.
# Move a slider, and it says at once what to expect, as a curve with a band.
# Then run it for real, and see whether you land inside.

# %%
learn.atlas_card(data="digits", net="resnet10-glyphs")

# %% [markdown]
# ## The same on photographs
#
# Another network and other images have another curve. The finder takes less time than guessing.

# %%
photos = learn.photographs()
if photos is None:
    print("The photographs are not on this machine. To fetch them: labkit data fetch ants-bees")
else:
    photo_run = labkit.Run(labkit.load_backbone("resnet10"), photos, labkit.full(), seed=0)
    print(labkit.find_lr(photo_run, steps=40))

# %% [markdown]
# ## Your turn in the console
#
# The console opens with everything thawed, at a rate that works.
#
# 1. Find a rate that ruins the network within ten steps. Look at the drift: how far did the layers go?
# 2. Lower the rate again and wait. Does the accuracy come back?
# 3. Rewind to before the mistake, and press f: the finder names a rate. Which of the two saved the run?
#
# Below the sentence, the console says what recorded runs with these settings came to.

# %%
playground = labkit.Run(net, data, labkit.full(lr=1e-3, epochs=200, batch_size=20), seed=0)
labkit.console(playground)

# %% [markdown]
# ## Exercise 1 · Where it runs away
#
# {exercise:07-diverges}
#
# Two lists hold the rates of a range test, rising, and the loss after each. Return the first rate, beyond the lowest
# loss, at which the loss is above where it began, or no number at all. Return `None` where there is no such rate.


# %% tags=["stub"]
def diverges_at(rates, losses):
    """The first rate beyond the lowest loss whose loss is above losses[0] or not finite."""
    raise NotImplementedError


# %% tags=["solution"]
def diverges_at(rates, losses):
    """The first rate beyond the lowest loss whose loss is above losses[0] or not finite."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    lowest = losses.index(min(finite))
    for rate, loss in zip(rates[lowest:], losses[lowest:], strict=True):
        if loss > losses[0] or not math.isfinite(loss):
            return rate
    return None


# %%
learn.check("07-diverges", diverges_at)

# %% [markdown]
# ## Exercise 2 · A curve of your own
#
# {exercise:07-schedule}
#
# Write the rate of a step as a pure function. It rises in a straight line, from 0 at step 0 to `peak` at step
# `warmup`. From there it falls along half a cosine, to 0 at step `steps`. A `warmup` of 0 means none.


# %% tags=["stub"]
def rate_at(step, steps, peak, warmup):
    """The learning rate at a step, from 0 to `steps`."""
    raise NotImplementedError


# %% tags=["solution"]
def rate_at(step, steps, peak, warmup):
    """The learning rate at a step, from 0 to `steps`."""
    if step < warmup:
        return peak * step / warmup
    share = (step - warmup) / (steps - warmup)
    return peak * (1 + math.cos(math.pi * share)) / 2


# %%
learn.check("07-schedule", rate_at)

# %% [markdown]
# ## Exercise 3 · A rate for each stage
#
# {exercise:07-groups}
#
# Write what `lr_decay` does, as a list of groups that any PyTorch optimiser takes. The stages are the model's
# children, from input to output, and the last one is the head. The head gets `lr`, and each stage below it `decay`
# times the rate of the stage above. What lies below `trainable_from` is frozen and does not appear.


# %% tags=["stub"]
def rate_groups(model, lr, decay, trainable_from):
    """Optimiser groups, one a stage that trains: [{"params": ..., "lr": ...}, ...]."""
    return [{"params": model.parameters(), "lr": lr}]


# %% tags=["solution"]
def rate_groups(model, lr, decay, trainable_from):
    """Optimiser groups, one a stage that trains: [{"params": ..., "lr": ...}, ...]."""
    groups = []
    for name, stage in reversed(list(model.named_children())):
        groups.append({"params": list(stage.parameters()), "lr": lr})
        if name == trainable_from:
            break
        lr *= decay
    return groups


# %%
learn.check("07-groups", rate_groups)

# %% [markdown]
# ## What the evidence says
#
# From recorded runs, several seeds a setting, with 95 % intervals over seeds. A rule decides each claim. The
# three rules came with their records, so each was asked of five new seeds as well (lesson 01 says more).
#
# How far the layers below the head moved, as a share of their own length, and what accuracy came of it:
#
# | What trains | digits, layers moved | digits, accuracy | ants and bees, layers moved | ants and bees, accuracy |
# |---|---|---|---|---|
# | everything, at `1e-5` | {evidence:step-size/digits-10/rate-1e-05/drift} | {evidence:step-size/digits-10/rate-1e-05} | {evidence:step-size/ants-bees/rate-1e-05/drift} | {evidence:step-size/ants-bees/rate-1e-05} |
# | everything, at `1e-3` on digits and `3e-4` on ants and bees | {evidence:step-size/digits-10/rate-0.001/drift} | {evidence:step-size/digits-10/rate-0.001} | {evidence:step-size/ants-bees/rate-0.0003/drift} | {evidence:step-size/ants-bees/rate-0.0003} |
# | everything, at `0.1` | {evidence:step-size/digits-10/rate-0.1/drift} | {evidence:step-size/digits-10/rate-0.1} | {evidence:step-size/ants-bees/rate-0.1/drift} | {evidence:step-size/ants-bees/rate-0.1} |
# | the same from scratch | {evidence:step-size/digits-10/from-scratch-0.1/drift} | {evidence:step-size/digits-10/from-scratch-0.1} | {evidence:step-size/ants-bees/from-scratch-0.1/drift} | {evidence:step-size/ants-bees/from-scratch-0.1} |
# | head alone | {evidence:step-size/digits-10/head-alone/drift} | {evidence:step-size/digits-10/head-alone} | {evidence:step-size/ants-bees/head-alone/drift} | {evidence:step-size/ants-bees/head-alone} |
#
# - **A small rate preserves what was learned, a large one destroys it: {verdict:5}.** At the small rate the layers
#   stay where they were. At the large one accuracy falls below the head alone, which moves no layer at all.
# - **To preserve is not to learn.** At the small rate the new head hardly learns either.
# - **Is anything left after the large rate?** Compare with from scratch at that rate. On digits the pre-trained start
#   still makes {evidence:step-size/digits-10/rate-0.1 against step-size/digits-10/from-scratch-0.1}.
#   (These runs let the rate fall to zero in the end. Those further up did not.)
#   On ants and bees it makes {evidence:step-size/ants-bees/rate-0.1 against step-size/ants-bees/from-scratch-0.1}, and that interval holds zero.

# %% [markdown]
# ### Which knob matters most?
#
# The best value less the worst, seed by seed, while the other two knobs stay. *Near* is three values over about a
# tenfold. *Far* is five over a hundredfold, or over all that the data allow.
#
# | Over | digits, near | digits, far | ants and bees, near | ants and bees, far |
# |---|---|---|---|---|
# | learning rates | {evidence:step-size/digits-10/rate-near} | {evidence:step-size/digits-10/rate-far} | {evidence:step-size/ants-bees-layer4/rate-near} | {evidence:step-size/ants-bees-layer4/rate-far} |
# | batch sizes | {evidence:step-size/digits-10/batch-near} | {evidence:step-size/digits-10/batch-far} | {evidence:step-size/ants-bees-layer4/batch-near} | {evidence:step-size/ants-bees-layer4/batch-far} |
# | weight decays | {evidence:step-size/digits-10/weight-decay-near} | {evidence:step-size/digits-10/weight-decay-far} | {evidence:step-size/ants-bees-layer4/weight-decay-near} | {evidence:step-size/ants-bees-layer4/weight-decay-far} |
#
# - **The learning rate matters more than batch size and weight decay: {verdict:15}.** Weight decay did next to
#   nothing anywhere. On ants and bees the rate outdid the batch size too.
# - **On digits it did not.** Near the usual values, rates less batch sizes make
#   {evidence:step-size/digits-10/rate-near against step-size/digits-10/batch-near}. Far from them they make
#   {evidence:step-size/digits-10/rate-far against step-size/digits-10/batch-far}.
# - **Batch size is not innocent.** With the epochs held, a larger batch takes fewer steps. Part of its spread is that.

# %% [markdown]
# ### One rate, or one for each stage?
#
# Everything trains. Each stage has half the rate of the one above it, or all have the same.
#
# | task | one rate | half for each stage down | difference |
# |---|---|---|---|
# | digits, three labels a class | {evidence:types/digits-3/full} | {evidence:discriminative/digits-3/full-rates-decaying} | {evidence:discriminative/digits-3/full-rates-decaying against types/digits-3/full} |
# | digits, ten labels a class | {evidence:types/digits-10/full} | {evidence:discriminative/digits-10/full-rates-decaying} | {evidence:discriminative/digits-10/full-rates-decaying against types/digits-10/full} |
# | ants and bees | {evidence:types/ants-bees/full} | {evidence:types/ants-bees/full-rates-decaying} | {evidence:types/ants-bees/full-rates-decaying against types/ants-bees/full} |
#
# - **Discriminative rates beat one rate: {verdict:18}.** Every interval in the last column holds zero.
#   Each side ran at a rate of its own, chosen on other examples. Then a rate for each stage gained nothing that shows.
# - With the new seeds one of the three intervals leaves zero, on digits with three labels a class:
#   {confirmed:discriminative/digits-3/full-rates-decaying against types/digits-3/full}. It is a point. Of twenty
#   intervals that should hold zero, one does not by chance.
# - It is one number more to choose. On a more distant task it may yet pay: try it, with seeds.

# %% [markdown]
# ## Quiz
#
# Your first choice counts. Every option answers with a reason, so go on choosing until it is right.

# %%
learn.quiz("07")

# %% [markdown]
# ## Pitfalls
#
# - **The rate of a tutorial.** It belongs to another network, another batch size and another optimiser.
# - **The rate at the lowest loss of a range test.** That is the edge. Stay well to the left of it.
# - **Lowering the rate of a ruined run.** The weights are elsewhere by now. Rewind.
# - **A schedule that counts its own calls.** After a rewind it is out of step. Make it a function of the step.
# - **Comparing methods at one rate.** The rate suits one of them. Tune each, or compare maps.

# %% [markdown]
# ## Summary
#
# - A rate has a floor below which nothing is learned, and a cliff beyond which more is lost than learned. Look for both.
# - The range test shows them in less than a minute.
# - Warm-up and schedules change the rate over time, as pure functions of the step.
# - A rate for each stage is worth a try and not worth a belief. In our runs it gained nothing.
# - The best rate depends on the depth that trains, so try them together.
#
# Your guesses so far:

# %%
learn.score()

# %% [markdown]
# ## References
#
# - Smith, L. N. (2017). Cyclical learning rates for training neural networks. *WACV*. The range test.
# - Loshchilov, I., & Hutter, F. (2017). SGDR: Stochastic gradient descent with warm restarts. *ICLR*. The cosine.
# - Goyal, P., Dollár, P., Girshick, R., Noordhuis, P., Wesolowski, L., Kyrola, A., Tulloch, A., Jia, Y., & He, K.
#   (2017). Accurate, large minibatch SGD: Training ImageNet in 1 hour. arXiv:1706.02677. Warm-up.
# - Howard, J., & Ruder, S. (2018). Universal language model fine-tuning for text classification. *ACL*.
#   Discriminative rates.
# - Loshchilov, I., & Hutter, F. (2019). Decoupled weight decay regularization. *ICLR*. The optimiser used here.
