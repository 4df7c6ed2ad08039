# %% [markdown]
# # 10 · Catastrophic forgetting: what did it cost the old task?
#
# - **You will be able to:** measure what a network forgot, say what decides it, and use four remedies.
# - **Time:** 45 minutes, of which the machine works for about one.
# - **Memory:** below 1.4 GB.
# - **Builds on:** lessons 05, 06 and 08.

# %% [markdown]
# ## The question
#
# A clinic's network reads scans of the chest. A second ward fine-tunes it for scans of the hand, and is content.
# The file is copied back, because it is the newer one. For three weeks nobody looks at a chest scan by eye.
#
# No test failed. The tests were about hands.
#
# How much of what a network knew is left, once it has learned something else? And what keeps it?

# %% [markdown]
# ## Predict
#
# Here the old task is to read printed letters, and the new one is to read handwritten digits.

# %%
from labkit import learn

MOST, HALF, NONE = "most of it", "about half of it", "next to nothing"

learn.predict(
    "10-aggressive",
    "Everything trains, at ten times the rate that suits it. How much of its skill with letters is left?",
    choices=(MOST, HALF, NONE),
)

# %%
NEITHER, ONE, BOTH = "good at neither", "good at one of the tasks", "good at both"

learn.predict(
    "10-between",
    "Everything trained, at a rate that suits it. Then each weight is set to the mean of before and after. "
    "Call a network good at a task if it has nine tenths of what the better of those two could do. "
    "How is the one in the middle?",
    choices=(NEITHER, ONE, BOTH),
)

# %% [markdown]
# ## The idea in plain PyTorch
#
# Fine-tuning replaces the head, and the old head is thrown away. We keep it.
# Put back on the layers as they are now, it can be asked the old questions at any time.

# %%
import torch
from torch import nn

import labkit
from labkit import insight

data = labkit.load_data("digits").subset(per_class=10)
net = labkit.load_backbone("resnet10-glyphs")
old_head = net.head
exam = insight.old_task(net, count=300)  # letters that no training has seen


def below_the_head(model, images):
    """What the head is given."""
    for name, stage in model.named_children():
        if name != "head":
            images = stage(images)
    return images


@torch.no_grad()
def right(model, head, questions):
    """The share of questions that the layers and a head together answer rightly."""
    model.eval()
    head.eval()
    correct = 0
    for rows in torch.arange(len(questions)).split(100):
        images, labels = questions.batch(rows)
        correct += (head(below_the_head(model, images)).argmax(dim=1) == labels).sum().item()
    return correct / len(questions)


def both(model):
    """How well a model does the old task and the new one."""
    return right(model, old_head, exam), right(model, model.head, data.valid)


model = net.build(len(data.classes), seed=0)
print("before: old {:.0%}, new {:.0%}".format(*both(model)))

# %% [markdown]
# Letters it reads, digits it does not: the new head has learned nothing yet.
#
# Now an ordinary training loop, at a rate that is somewhat too large. It has two doors, `extra` and `after`.
# Nothing comes in by them as yet. They are for the remedies.

# %%
RATE = 3e-3


def train(extra=lambda model: 0.0, after=lambda model: None, epochs=6):
    """Fine-tune everything. `extra` is added to the loss of a step, `after` is called when the step is done."""
    model = net.build(len(data.classes), seed=0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    chance = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for rows in torch.randperm(len(data.train), generator=chance).split(20):
            images, labels = data.train.batch(rows)
            loss = nn.functional.cross_entropy(model(images), labels) + extra(model)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            after(model)
    return model


plain = both(train())
print("after:  old {:.0%}, new {:.0%}".format(*plain))

# %% [markdown]
# The loss never mentioned letters, so nothing held them. That is all there is to catastrophic forgetting
# (McCloskey and Cohen, 1989).

# %% [markdown]
# ## The same through labkit
#
# `insight.remembered(run)` asks a run the old questions, as it is now. Here are three rates, epoch by epoch.

# %%
from labkit.course import figures as charts
from labkit.show import forgotten

rates = {"gentle (1e-4)": 1e-4, "usual (1e-3)": 1e-3, "aggressive (1e-2)": 1e-2}
runs = [
    labkit.Run(net, data, labkit.full(lr=lr, epochs=6, batch_size=20), seed=0, name=name).fit()
    for name, lr in rates.items()
]
forgotten.plot_forgetting(runs, exam)

# %% [markdown]
# The panel on the right is the one that everybody looks at. The panel on the left is the bill.

# %% [markdown]
# ## Remedy 1 · Move less
#
# A smaller rate, and frozen stages. You know both. They cost nothing, so they come first.

# %%
import pandas as pd


def asked(run):
    """How well a run does the old task and the new one."""
    return insight.remembered(run, exam).accuracy, run.evaluate("valid").accuracy


def table(ways):
    """What came of the ways so far, a row each."""
    return pd.DataFrame([(way, *pair) for way, pair in ways.items()], columns=["way", "old", "new"])


ways = {run.name: asked(run) for run in runs}
for depth, lr in {"layer4": 1e-3, "head": 1e-2}.items():
    plan = labkit.partial(depth, lr=lr, epochs=6, batch_size=20)
    run = labkit.Run(net, data, plan, seed=0).fit()
    ways[f"from {depth} on"] = asked(run)
gentle, usual, aggressive = runs
del runs, run  # networks that are not needed should not take memory
table(ways).style.format({"old": "{:.0%}", "new": "{:.0%}"}).hide(axis="index")

# %% [markdown]
# What is frozen forgets nothing. But what is frozen learns nothing either, and on another task than ours that may
# cost more.
#
# And what of the gentle run? Its weights hardly moved. But BatchNorm follows the images at any rate, as in lesson 05.
# Put its statistics back to where they were, keep the weights, and ask again.

# %%
model = net.build(len(data.classes), seed=0)
before, after = model.state_dict(), gentle.model.state_dict()
model.load_state_dict({n: before[n] if "running" in n else after[n] for n in after})
put_back = both(model)
print("gentle: old {:.0%}, new {:.0%}".format(*ways["gentle (1e-4)"]))
print("its statistics put back: old {:.0%}, new {:.0%}".format(*put_back))
del gentle, model, before, after

# %% [markdown]
# Much of what a gentle rate forgets is in the statistics, not in the weights. It is not lost, only measured otherwise.

# %% [markdown]
# ## Remedy 2 · Hold on to the start
#
# Weight decay pulls weights towards zero, a little after each step. Zero is not where the knowledge lies.
# It lies where the weights began. So pull them there instead.

# %%
start = net.build(len(data.classes), seed=0).state_dict()


@torch.no_grad()
def pull_back(model, share=0.05):
    """Move each weight below the head a small share of the way back to where it began."""
    for name, parameter in model.named_parameters():
        if not name.startswith("head."):
            parameter.lerp_(start[name], share)


ways["too large (3e-3)"] = plain
ways["the same, held"] = held = both(train(after=pull_back))
print("held: old {:.0%}, new {:.0%}".format(*held))

# %% [markdown]
# Written as a term of the loss, this is L2-SP (Li and others, 2018). SP stands for starting point.
# You write that term in exercise 2. Only the share is to choose: with 0 nothing is held, with 1 nothing moves.
#
# In a plan of labkit it is `hold`. The share of a step is `hold` times the rate, as it is with weight decay.

# %%
plan = labkit.full(lr=RATE, epochs=6, batch_size=20, hold=0.05 / RATE)
run = labkit.Run(net, data, plan, seed=0).fit()
print("held, through labkit: old {:.0%}, new {:.0%}".format(*asked(run)))
del run

# %% [markdown]
# ## Remedy 3 · Rehearse
#
# If some of the old data is at hand, there is another way: keep asking. Each step gets a few letters beside the digits.
#
# The old head takes part, but the optimiser does not have it. It stays as it was, and the layers must go on fitting it.

# %%
revision = insight.old_examples(net, count=300)  # none of the letters of the exam
chance = torch.Generator().manual_seed(1)


def rehearse(model):
    """The loss on twenty old examples, under the old head."""
    images, labels = revision.batch(torch.randint(len(revision), (20,), generator=chance))
    return nn.functional.cross_entropy(old_head(below_the_head(model, images)), labels)


ways["the same, rehearsing"] = rehearsed = both(train(extra=rehearse))
print("rehearsing: old {:.0%}, new {:.0%}".format(*rehearsed))

# %% [markdown]
# Through labkit the old examples come with the data, and `rehearse` is the weight of their loss.
# BatchNorm is in eval mode while they pass, so their statistics do not mix with those of the digits.

# %%
plan = labkit.full(lr=RATE, epochs=3, batch_size=20, rehearse=1)
run = labkit.Run(net, data.with_old(revision), plan, seed=0).fit()
print("rehearsing, half as long: old {:.0%}, new {:.0%}".format(*asked(run)))
del run

# %% [markdown]
# ## Remedy 4 · Go back halfway
#
# The last remedy comes after the training. Draw a straight line from the weights before to the weights after.
# Every point on it is a network. This is called weight interpolation (Wortsman and others, 2022).
# `insight.between` asks some of those networks, and here is a picture of it.

# %%
forgotten.plot_between([usual, aggressive], (0, 0.125, 0.25, 0.5, 0.75, 1), exam)

# %%
from labkit.course import evidence

HOME = "forgetting/digits-10"


def recorded(key):
    """The mean over the seeds of a recorded number."""
    return evidence.estimate(f"{HOME}/{key}").mean


known = recorded("head-alone/old")  # frozen layers know what they knew before
good = (recorded("usual/halfway-old") >= 0.9 * known) + (
    recorded("usual/halfway-new") >= 0.9 * recorded("usual")
)
learn.reveal("10-between", (NEITHER, ONE, BOTH)[good])

# %% [markdown]
# On the left there is a stretch where the network does both. On the right there is none.
#
# That it works at all is odd. The mean of two networks that were trained apart can usually do nothing.
# These two share a start, and the one on the left has not gone far from it (Frankle and others, 2020).

# %% [markdown]
# ## All of them in one picture
#
# Up means that more is left, and to the right that more was learned.

# %%
middle = insight.between(usual, [0.5], exam)
ways["usual, halfway back"] = middle["old"].item(), middle["new"].item()
forgotten.frontier(table(ways))

# %%
del usual, aggressive

# %% [markdown]
# One seed, so the order of close points is chance. The far ones are not.

# %% [markdown]
# ## Your turn in the console
#
# The console shows how far each stage has drifted. Learn to guess from that what is forgotten.
# Then choose *What is left of the old task* under *Look closer at*, and see how good your guess was.
#
# 1. Let it train, and note the drift of the stages.
# 2. Multiply the rate by ten for a few steps. Which stage leaves first?
# 3. Rewind, freeze everything up to `layer3`, and use the large rate again. What can still be forgotten?
# 4. Rewind once more, thaw all, and set *Pull to the start* to 100. How far does each stage get now?

# %%
playground = labkit.Run(net, data, labkit.full(lr=1e-3, epochs=200, batch_size=20), seed=0)
labkit.console(playground)

# %% [markdown]
# ## Exercise 1 · Halfway
#
# {exercise:10-mix}
#
# Two dictionaries hold the tensors of a network, before and after. Return a new one, a share of the way from the first
# to the second. A share of 0 is the first, a share of 1 the second. Statistics of BatchNorm take part like weights.
# Counters of whole numbers cannot lie in between: take those of the second.


# %% tags=["stub"]
def mix(before, after, share):
    """A state dictionary between two others."""
    raise NotImplementedError


# %% tags=["solution"]
def mix(before, after, share):
    """A state dictionary between two others."""
    mixed = {}
    for name, end in after.items():
        floating = end.is_floating_point()
        mixed[name] = before[name].lerp(end, share) if floating else end.clone()
    return mixed


# %%
learn.check("10-mix", mix)

# %% [markdown]
# ## Exercise 2 · A pull towards the start
#
# {exercise:10-pull}
#
# Write L2-SP as its authors did, as a term that is added to the loss. `start` holds the tensors with which the network
# began. Return half the strength times the squared distance from there, over all parameters below the head.
# The head is new, so it has no start worth keeping.
#
# When it is right, try it: `both(train(extra=lambda model: pull(model, start, 3.0)))`.


# %% tags=["stub"]
def pull(model, start, strength):
    """strength / 2 * ||parameters - start||^2, without the stage called `head`."""
    raise NotImplementedError


# %% tags=["solution"]
def pull(model, start, strength):
    """strength / 2 * ||parameters - start||^2, without the stage called `head`."""
    total = 0.0
    for name, parameter in model.named_parameters():
        if not name.startswith("head."):
            total = total + (parameter - start[name]).square().sum()
    return strength / 2 * total


# %%
learn.check("10-pull", pull)

# %% [markdown]
# ## Exercise 3 · Which way would you take?
#
# {exercise:10-choose}
#
# `ways` maps a name to two accuracies: on the old task and on the new one. A way is good enough if its new accuracy is
# at most `margin` below the best new accuracy of all. Of those that are good enough, return the name of the one that
# has most left of the old task.


# %% tags=["stub"]
def choose(ways, margin):
    """The name of the way that keeps most among those that learn well enough."""
    return max(ways, key=lambda name: ways[name][1])


# %% tags=["solution"]
def choose(ways, margin):
    """The name of the way that keeps most among those that learn well enough."""
    best = max(new for old, new in ways.values())
    enough = [name for name, (old, new) in ways.items() if new >= best - margin]
    return max(enough, key=lambda name: ways[name][0])


# %%
learn.check("10-choose", choose)

# %% [markdown]
# ## What the evidence says
#
# From recorded runs, several seeds a setting, with 95 % intervals over seeds. The rule was written before the runs.

# %%
charts.kept("forgetting")

# %% [markdown]
# The same in numbers. The old task is asked with the old head.
#
# | What trains, at which rate | letters left | digits | Tiny ImageNet left | ants and bees |
# |---|---|---|---|---|
# | head alone | {evidence:forgetting/digits-10/head-alone/old} | {evidence:forgetting/digits-10/head-alone} | {evidence:forgetting/ants-bees/head-alone/old} | {evidence:forgetting/ants-bees/head-alone} |
# | `layer4` and head | {evidence:forgetting/digits-10/layer4-head/old} | {evidence:forgetting/digits-10/layer4-head} | {evidence:forgetting/ants-bees/layer4-head/old} | {evidence:forgetting/ants-bees/layer4-head} |
# | everything, a tenth of the usual rate | {evidence:forgetting/digits-10/gentle/old} | {evidence:forgetting/digits-10/gentle} | {evidence:forgetting/ants-bees/gentle/old} | {evidence:forgetting/ants-bees/gentle} |
# | everything, the usual rate | {evidence:forgetting/digits-10/usual/old} | {evidence:forgetting/digits-10/usual} | {evidence:forgetting/ants-bees/usual/old} | {evidence:forgetting/ants-bees/usual} |
# | the same, held to the start | {evidence:forgetting/digits-10/usual-held/old} | {evidence:forgetting/digits-10/usual-held} | {evidence:forgetting/ants-bees/usual-held/old} | {evidence:forgetting/ants-bees/usual-held} |
# | the same, rehearsing | {evidence:forgetting/digits-10/usual-rehearsing/old} | {evidence:forgetting/digits-10/usual-rehearsing} | {evidence:forgetting/ants-bees/usual-rehearsing/old} | {evidence:forgetting/ants-bees/usual-rehearsing} |
# | the same, rates decaying | {evidence:forgetting/digits-10/usual-rates-decaying/old} | {evidence:forgetting/digits-10/usual-rates-decaying} | {evidence:forgetting/ants-bees/usual-rates-decaying/old} | {evidence:forgetting/ants-bees/usual-rates-decaying} |
# | everything, ten times the usual rate | {evidence:forgetting/digits-10/aggressive/old} | {evidence:forgetting/digits-10/aggressive} | {evidence:forgetting/ants-bees/aggressive/old} | {evidence:forgetting/ants-bees/aggressive} |
# | the usual rate, then halfway back | {evidence:forgetting/digits-10/usual/halfway-old} | {evidence:forgetting/digits-10/usual/halfway-new} | {evidence:forgetting/ants-bees/usual/halfway-old} | {evidence:forgetting/ants-bees/usual/halfway-new} |
# | ten times the usual rate, then halfway back | {evidence:forgetting/digits-10/aggressive/halfway-old} | {evidence:forgetting/digits-10/aggressive/halfway-new} | {evidence:forgetting/ants-bees/aggressive/halfway-old} | {evidence:forgetting/ants-bees/aggressive/halfway-new} |
#
# - **Aggressive fine-tuning forgets the old task: {verdict:9}.** At ten times the usual rate, against the usual one and
#   paired by seed, old knowledge differs by
#   {evidence:forgetting/digits-10/aggressive/old against forgetting/digits-10/usual/old} on letters and by
#   {evidence:forgetting/ants-bees/aggressive/old against forgetting/ants-bees/usual/old} on Tiny ImageNet.
# - **It bought nothing.** The new task differs by {evidence:forgetting/digits-10/aggressive against forgetting/digits-10/usual} on digits
#   and by {evidence:forgetting/ants-bees/aggressive against forgetting/ants-bees/usual} on ants and bees.
# - **Head alone forgets nothing, and here it cost little.** Against everything at the usual rate, the new task differs by
#   {evidence:forgetting/digits-10/head-alone against forgetting/digits-10/usual} and by {evidence:forgetting/ants-bees/head-alone against forgetting/ants-bees/usual}.
#   Both new tasks are close to the old ones. Nothing here tells of tasks that lie further away.
# - **A gentle rate is no safe place.** On ants and bees a tenth of the usual rate learned less: against the usual one,
#   the new task differs by {evidence:forgetting/ants-bees/gentle against forgetting/ants-bees/usual}. It forgot nearly as
#   much: old knowledge differs by {evidence:forgetting/ants-bees/gentle/old against forgetting/ants-bees/usual/old}.
#   In a run that we opened, all of that was the work of BatchNorm. With its statistics put back to where they were, the
#   old head knew as much as before.
# - **Thawing stage by stage** is the subject of lesson 08. Everything moves in the end, and somewhat less is forgotten.
# - **Holding on works on weights, and not on statistics.** Against the usual run it changes old knowledge by
#   {evidence:forgetting/digits-10/usual-held/old against forgetting/digits-10/usual/old} on letters, and digits by
#   {evidence:forgetting/digits-10/usual-held against forgetting/digits-10/usual}. On Tiny ImageNet it saved little,
#   {evidence:forgetting/ants-bees/usual-held/old against forgetting/ants-bees/usual/old}, and ants and bees paid for it:
#   {evidence:forgetting/ants-bees/usual-held against forgetting/ants-bees/usual}. How strongly to hold was chosen on digits alone.
# - **Rehearsing keeps more where statistics forget, and has a price.** It changes old knowledge by
#   {evidence:forgetting/digits-10/usual-rehearsing/old against forgetting/digits-10/usual/old} on letters and by
#   {evidence:forgetting/ants-bees/usual-rehearsing/old against forgetting/ants-bees/usual/old} on Tiny ImageNet. The new task
#   changes by {evidence:forgetting/digits-10/usual-rehearsing against forgetting/digits-10/usual} and by
#   {evidence:forgetting/ants-bees/usual-rehearsing against forgetting/ants-bees/usual}. Each step also sees twice as many images.
# - **Going halfway back is nearly free.** After the usual rate it changes old knowledge by
#   {evidence:forgetting/digits-10/usual/halfway-old against forgetting/digits-10/usual/old} and by
#   {evidence:forgetting/ants-bees/usual/halfway-old against forgetting/ants-bees/usual/old}, the new task by
#   {evidence:forgetting/digits-10/usual/halfway-new against forgetting/digits-10/usual} and by
#   {evidence:forgetting/ants-bees/usual/halfway-new against forgetting/ants-bees/usual}. It needs no old data and no training.
# - **From too far away it does not lead back.** After ten times the rate, the network halfway is still a poor reader of
#   the old task.

# %%
left = recorded("aggressive/old")
learn.reveal("10-aggressive", MOST if left > 2 / 3 * known else HALF if left > known / 3 else NONE)

# %% [markdown]
# ## Quiz
#
# Your first choice counts. Every option answers with a reason, so go on choosing until it is right.

# %%
learn.quiz("10")

# %% [markdown]
# ## Pitfalls
#
# - **No old questions in the tests.** Forgetting is silent. What is not asked is not noticed.
# - **Calling a small drift harmless.** A network can forget much on a short way, in the wrong direction.
# - **Rehearsing with the exam.** The old examples that train must not be those that judge.
# - **Mixing networks that do not share a start.** The line between them leads through nothing.

# %% [markdown]
# ## Summary
#
# - A loss that does not mention the old task does not protect it.
# - The old head is the cheapest witness. Keep it, with a set of old questions.
# - Freeze what you can, and use the smallest rate that learns. Then hold on, rehearse, or go back part of the way.
# - A frozen stage forgets nothing. Everything else is a matter of degree.
#
# Your guesses so far:

# %%
learn.score()

# %% [markdown]
# ## References
#
# - McCloskey, M., & Cohen, N. J. (1989). Catastrophic interference in connectionist networks: The sequential learning
#   problem. *Psychology of Learning and Motivation, 24*.
# - Loshchilov, I., & Hutter, F. (2019). Decoupled weight decay regularization. *ICLR*. A pull beside the loss, not in it.
# - Li, X., Grandvalet, Y., & Davoine, F. (2018). Explicit inductive bias for transfer learning with convolutional
#   networks. *ICML*. The origin of L2-SP.
# - Robins, A. (1995). Catastrophic forgetting, rehearsal and pseudorehearsal. *Connection Science, 7*(2).
# - Wortsman, M., et al. (2022). Robust fine-tuning of zero-shot models. *CVPR*. Between old and new weights.
# - Frankle, J., Dziugaite, G. K., Roy, D. M., & Carbin, M. (2020). Linear mode connectivity and the lottery ticket
#   hypothesis. *ICML*. When the line between two networks is passable.
# - Kirkpatrick, J., et al. (2017). Overcoming catastrophic forgetting in neural networks. *PNAS, 114*(13).
