# %% [markdown]
# # 08 · Gradual unfreezing: in what order?
#
# - **You will be able to:** thaw a network stage by stage, say what that saves, and measure what it forgets.
# - **Time:** 40 minutes, of which the machine works for about one.
# - **Memory:** below 1.4 GB.
# - **Builds on:** lessons 05, 06 and 07.

# %% [markdown]
# ## The question
#
# A network sorts letters in a post office. Now it is to read digits as well, and the letters keep coming.
#
# The manual says: do not thaw everything at once. Begin with the head, wait, thaw the stage below it, wait again.
# That takes six phases where one would do, and each is a chance to make a mistake.
# The manual promises two things for it: the letters are not forgotten, and the digits are read better.
#
# Does it keep its promises?

# %% [markdown]
# ## Predict
#
# Two guesses, one for each promise. In both cases everything is thawed in the end, and the epochs are as many.

# %%
from labkit import learn

STEPWISE, AT_ONCE, EQUAL = "stage by stage", "all at once", "no difference that shows"

learn.predict(
    "08-remember",
    "A network that knows letters learns digits. Which order remembers more letters?",
    choices=(STEPWISE, AT_ONCE, EQUAL),
)

# %%
learn.predict(
    "08-reach",
    "And which order reads more digits rightly?",
    choices=(STEPWISE, AT_ONCE, EQUAL),
)

# %% [markdown]
# ## The idea in plain PyTorch
#
# A new head knows nothing, so its first gradients point nowhere in particular. They would shake all that lies below.
# So the head learns first. Then the stage below it may follow, and so on down to the input.
#
# Each thaw takes three things, as in lesson 05: a gradient, training mode, and an optimiser that knows of the stage.

# %%
import torch
from torch import nn

import labkit

data = labkit.load_data("digits").subset(per_class=10)
net = labkit.load_backbone("resnet10-glyphs")
model = net.build(len(data.classes), seed=0).eval().requires_grad_(False)
optimizer = torch.optim.AdamW(model.head.parameters(), lr=1e-3)
chance = torch.Generator().manual_seed(0)

for name, stage in reversed(list(model.named_children())):
    stage.requires_grad_(True)
    stage.train()
    if name != "head":  # the optimiser has had that one from the start
        optimizer.add_param_group({"params": stage.parameters()})

    losses = []
    for rows in torch.randperm(len(data.train), generator=chance).split(20):
        images, labels = data.train.batch(rows)
        loss = nn.functional.cross_entropy(model(images), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    trains = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"{name:7} thaws: {trains:>9,} parameters train, loss {sum(losses) / len(losses):.2f}")

del model, optimizer  # a run brings its own

# %% [markdown]
# One epoch a phase, six phases. Most parameters lie in the upper stages, so the last thaws add few.

# %% [markdown]
# ## The same through labkit
#
# A plan is a tuple of phases. Each says from which stage on to train, how fast, and for how many epochs.
# `gradual` writes the phases for you.

# %%
from labkit.course.lesson_08 import figures as charts

shared = {"lr": 1e-3, "batch_size": 20}
stepwise = labkit.gradual(stages=len(net.stages), epochs=2, lr_decay=1.0, **shared)
for phase in stepwise.phases:
    print(f"from {net.stages[-phase.trainable_from]:7} on: {phase.epochs} epochs at {phase.lr:g}")

# %% [markdown]
# `trainable_from` counts the stages that train, from the head downward. A name such as `"layer4"` does as well.
#
# Both orders, epoch by epoch. They train for as long, or we would compare lengths.

# %%
orders = {AT_ONCE: labkit.full(epochs=12, **shared), STEPWISE: stepwise}
charts.phases(orders, net.stages)

# %% [markdown]
# Only the last two epochs look the same. Now train both, from the same seed.

# %%
from labkit.show import figures

runs = [labkit.Run(net, data, plan, seed=0, name=name).fit() for name, plan in orders.items()]
figures.plot_history(runs)

# %% [markdown]
# With one seed, on so few images, do not read much into the end of the curves. Look at how they begin.
# The stepwise run may only move its head at first, and that shows.

# %% [markdown]
# ## What is forgotten
#
# The old head still exists. Put it back on the layers as they are now, and ask for letters.
# If the layers still make of a letter what they made of it before, the old head finds its way.

# %%
from labkit import insight
from labkit.show import forgotten

exam = insight.old_task(net, count=300)  # letters that no training has seen
forgotten.plot_forgetting(runs, exam, moments_at_most=7)

# %% [markdown]
# While only the head trains, nothing is forgotten: the layers below stand still.
# Then they may move, and some of the old knowledge goes. No loss mentions letters, so nothing holds it.
#
# Note what this measure says. It asks whether the *old head* still fits.
# Whether letters could be learned again quickly is another question. Lesson 10 is about what to do.

# %% [markdown]
# ## What it saves
#
# A frozen stage need not run again for every epoch. So the early phases cost next to nothing.

# %%
for run in runs:
    seconds = insight.epoch_seconds(run)["seconds"]
    print(f"{run.name:15} {seconds.sum():5.1f} s for {len(seconds)} epochs")
del runs, run  # networks that are not needed should not take memory

# %% [markdown]
# As long as a stage and all below it are frozen, what they make of an image can be kept and used again.
# That is a gain in time. The manual did not mention it.

# %% [markdown]
# ## Your turn in the console
#
# The console opens with the head alone. You are the plan: thaw when you think it is time.
#
# 1. Let the head learn until its curve is level. Then move the frozen depth down by one stage, and wait again.
# 2. Rewind to the start, and thaw everything in the very first epoch. Watch the drift of `stem`.
# 3. Branch from the moment at which the head was ready, and thaw everything there. Is the way in between needed?

# %%
playground = labkit.Run(net, data, labkit.feature_extraction(lr=1e-3, epochs=200, batch_size=20))
labkit.console(playground)

# %% [markdown]
# ## Exercise 1 · Who trains when?
#
# {exercise:08-who}
#
# A further stage thaws every `phase` epochs, from the head downward. Return the names of the stages that train in
# an epoch, in the order of the network. The first epoch is number 0, and in it the head trains alone.
# When nothing is left to thaw, everything trains.


# %% tags=["stub"]
def who_trains(stages, epoch, phase):
    """Names of the stages that train in that epoch; `stages` runs from input to head."""
    raise NotImplementedError


# %% tags=["solution"]
def who_trains(stages, epoch, phase):
    """Names of the stages that train in that epoch; `stages` runs from input to head."""
    count = min(len(stages), 1 + epoch // phase)
    return list(stages[len(stages) - count :])


# %%
learn.check("08-who", who_trains)

# %% [markdown]
# ## Exercise 2 · Thaw the next one
#
# {exercise:08-next}
#
# The upper stages of a model train, the others are frozen. Write a function that thaws one more stage: the one right
# below those that train. It joins the optimiser with the rate `lr`, and the others keep theirs.
# Return its name, or `None` where nothing is frozen any more.


# %% tags=["stub"]
def thaw_next(model, optimizer, lr):
    """Let the highest frozen stage train at the rate `lr`; return its name, or None."""
    raise NotImplementedError


# %% tags=["solution"]
def thaw_next(model, optimizer, lr):
    """Let the highest frozen stage train at the rate `lr`; return its name, or None."""
    for name, stage in reversed(list(model.named_children())):
        if not any(parameter.requires_grad for parameter in stage.parameters()):
            stage.requires_grad_(True).train()
            optimizer.add_param_group({"params": stage.parameters(), "lr": lr})
            return name
    return None


# %%
learn.check("08-next", thaw_next)

# %% [markdown]
# ## Exercise 3 · Is the way in between needed?
#
# {exercise:08-two}
#
# Some go from the head straight to everything (Kumar and others, 2022). Write that plan: for half of the epochs the
# head alone, for the rest everything, both at the rate `lr`. Where the epochs are odd, either half may get one more.
#
# `labkit.Phase` takes the first stage that trains, `lr` and `epochs`; `"all"` means everything. `labkit.Plan` takes a
# name and `phases`, a tuple.


# %% tags=["stub"]
def head_first(lr, epochs):
    """A plan of two phases: the head alone, then everything."""
    return labkit.full(lr=lr, epochs=epochs)


# %% tags=["solution"]
def head_first(lr, epochs):
    """A plan of two phases: the head alone, then everything."""
    half = epochs // 2
    head = labkit.Phase("head", lr=lr, epochs=half)
    everything = labkit.Phase("all", lr=lr, epochs=epochs - half)
    return labkit.Plan("head first", phases=(head, everything))


# %%
learn.check("08-two", head_first)

# %% [markdown]
# ## What the evidence says
#
# From recorded runs, several seeds a setting, with 95 % intervals over seeds. The plain three are there, and three
# orders of thawing. All train for as many epochs, each at the rate that did best when tried on other examples.
#
# In the picture up means that more is left of the old task, and to the right that the new one is done better.
# *Gradual* is stage by stage.

# %%
from labkit.course.figures import kept

kept("gradual")

# %% [markdown]
# The same in numbers. What is left is asked with the old head: letters on the left, Tiny ImageNet on the right.
#
# | Order | letters left | digits | Tiny ImageNet left | ants and bees |
# |---|---|---|---|---|
# | head alone | {evidence:gradual/digits-10/head-alone/old} | {evidence:gradual/digits-10/head-alone} | {evidence:gradual/ants-bees/head-alone/old} | {evidence:gradual/ants-bees/head-alone} |
# | `layer4` and head | {evidence:gradual/digits-10/layer4-head/old} | {evidence:gradual/digits-10/layer4-head} | {evidence:gradual/ants-bees/layer4-head/old} | {evidence:gradual/ants-bees/layer4-head} |
# | everything at once | {evidence:gradual/digits-10/at-once/old} | {evidence:gradual/digits-10/at-once} | {evidence:gradual/ants-bees/at-once/old} | {evidence:gradual/ants-bees/at-once} |
# | the head first, then everything | {evidence:gradual/digits-10/head-first/old} | {evidence:gradual/digits-10/head-first} | {evidence:gradual/ants-bees/head-first/old} | {evidence:gradual/ants-bees/head-first} |
# | stage by stage | {evidence:gradual/digits-10/gradual/old} | {evidence:gradual/digits-10/gradual} | {evidence:gradual/ants-bees/gradual/old} | {evidence:gradual/ants-bees/gradual} |
# | stage by stage, rates decaying | {evidence:gradual/digits-10/gradual-rates-decaying/old} | {evidence:gradual/digits-10/gradual-rates-decaying} | {evidence:gradual/ants-bees/gradual-rates-decaying/old} | {evidence:gradual/ants-bees/gradual-rates-decaying} |
#
# And the orders of thawing against everything at once, paired by seed:
#
# | Order | letters left | digits | Tiny ImageNet left | ants and bees |
# |---|---|---|---|---|
# | the head first, then everything | {evidence:gradual/digits-10/head-first/old against gradual/digits-10/at-once/old} | {evidence:gradual/digits-10/head-first against gradual/digits-10/at-once} | {evidence:gradual/ants-bees/head-first/old against gradual/ants-bees/at-once/old} | {evidence:gradual/ants-bees/head-first against gradual/ants-bees/at-once} |
# | stage by stage | {evidence:gradual/digits-10/gradual/old against gradual/digits-10/at-once/old} | {evidence:gradual/digits-10/gradual against gradual/digits-10/at-once} | {evidence:gradual/ants-bees/gradual/old against gradual/ants-bees/at-once/old} | {evidence:gradual/ants-bees/gradual against gradual/ants-bees/at-once} |
# | stage by stage, rates decaying | {evidence:gradual/digits-10/gradual-rates-decaying/old against gradual/digits-10/at-once/old} | {evidence:gradual/digits-10/gradual-rates-decaying against gradual/digits-10/at-once} | {evidence:gradual/ants-bees/gradual-rates-decaying/old against gradual/ants-bees/at-once/old} | {evidence:gradual/ants-bees/gradual-rates-decaying against gradual/ants-bees/at-once} |
#
# - **Gradual unfreezing prevents forgetting, and helps accuracy: {verdict:6}.** The rule was written before the runs.
#   It asks both questions in both places, of the row *stage by stage*.
# - **Half of the promise is kept.** In both places it forgot less. In neither was the new task done better: those two
#   intervals hold zero. With decaying rates, ants and bees were even told apart less well.
# - **"Prevents" is too strong a word.** Against the head alone, which forgets nothing, old knowledge differs by
#   {evidence:gradual/digits-10/gradual/old against gradual/digits-10/head-alone/old} on letters and by
#   {evidence:gradual/ants-bees/gradual/old against gradual/ants-bees/head-alone/old} on Tiny ImageNet.
# - **Part of it is the first phase.** The head first, and then everything in one go, takes two phases and not six.
#   In what is left of the old task, its row lies between everything at once and stage by stage.
# - **One phase can do as much.** `layer4` and head, against stage by stage, differs in old knowledge by
#   {evidence:gradual/digits-10/layer4-head/old against gradual/digits-10/gradual/old} and by
#   {evidence:gradual/ants-bees/layer4-head/old against gradual/ants-bees/gradual/old}, in the new task by
#   {evidence:gradual/digits-10/layer4-head against gradual/digits-10/gradual} and by
#   {evidence:gradual/ants-bees/layer4-head against gradual/ants-bees/gradual}.
#   Stages that never move cannot be forgotten, in whatever order the others thaw.
#
# So it helps where everything has to move in the end and the old task matters. It does not help where only the new task
# counts, and it is not needed where a few stages are enough.

# %%
from labkit.course import evidence


def ahead(key):
    """Which order the record puts ahead, stage by stage or all at once."""
    gap = evidence.estimate(f"gradual/digits-10/gradual{key}", f"gradual/digits-10/at-once{key}")
    return STEPWISE if gap.low > 0 else AT_ONCE if gap.high < 0 else EQUAL


learn.reveal("08-remember", ahead("/old"))

# %%
learn.reveal("08-reach", ahead(""))

# %% [markdown]
# ## Quiz
#
# Your first choice counts. Every option answers with a reason, so go on choosing until it is right.

# %%
learn.quiz("08")

# %% [markdown]
# ## Pitfalls
#
# - **More epochs for the gradual run.** Phases add up. Compare orders that train for as long, or you compare lengths.
# - **An optimiser that was made once.** It moves what it was given then. Hand it each stage as it thaws.
# - **A schedule that restarts unseen.** Each phase of a plan has its own warm-up and its own fall.
# - **Trusting the word "prevents".** What is thawed can be forgotten. Only what stays frozen is safe.

# %% [markdown]
# ## Summary
#
# - Gradual unfreezing is a list of phases, from the head downward.
# - It saves time, because frozen stages need not run again.
# - In our runs it forgot less than everything at once, and did the new task no better.
# - To freeze for good kept as much of the old task, with a single phase.
# - If the old task must live on, measure it. Keep a set of old questions, and ask them after every change.
#
# Your guesses so far:

# %%
learn.score()

# %% [markdown]
# ## References
#
# - Howard, J., & Ruder, S. (2018). Universal language model fine-tuning for text classification. *ACL*.
#   The origin of gradual unfreezing.
# - Felbo, B., Mislove, A., Søgaard, A., Rahwan, I., & Lehmann, S. (2017). Using millions of emoji occurrences to learn
#   any-domain representations for detecting sentiment, emotion and sarcasm. *EMNLP*. One stage at a time.
# - Kumar, A., Raghunathan, A., Jones, R., Ma, T., & Liang, P. (2022). Fine-tuning can distort pretrained features and
#   underperform out-of-distribution. *ICLR*. Head first, then everything.
# - McCloskey, M., & Cohen, N. J. (1989). Catastrophic interference in connectionist networks: The sequential learning
#   problem. *Psychology of Learning and Motivation, 24*.
