# %% [markdown]
# # 15 · The same in fastai
#
# - **You will be able to:** say what `fine_tune` does, line by line, do the same with a plan of your own, and find what a framework decides for you.
# - **Time:** 45 minutes, of which the machine works for about one.
# - **Memory:** below 1.4 GB.
# - **Builds on:** lessons 05, 07 and 08. It needs fastai, which `make lab` installs and Colab and Binder bring.

# %% [markdown]
# ## The question
#
# A team writes one line, `learn.fine_tune(5)`, and the result is good. Then a reviewer asks three questions.
# At which learning rate did the first layers train? Which numbers were frozen, and when? How long was an epoch?
#
# Nobody on the team can answer. Everything was decided, and none of it by them.
# What does `fine_tune` do for me, and which of it matters?

# %% [markdown]
# ## Predict
#
# Three guesses. The first is about the word *frozen*.

# %%
from labkit import learn

NOTHING, STATISTICS, BOTH = (
    "nothing",
    "statistics of BatchNorm",
    "statistics and weights of BatchNorm",
)

learn.predict(
    "15-frozen",
    "fine_tune begins with a frozen epoch: everything below the head is frozen. "
    "Which numbers below the head change in that epoch?",
    choices=(NOTHING, STATISTICS, BOTH),
)

# %%
learn.predict(
    "15-rate",
    "You call fine_tune with base_lr=0.002. "
    "What is the largest rate of the first layers once everything is thawed?",
    choices=("0.002", "0.001", "0.0001", "0.00001"),
)

# %%
AHEAD, SAME, BEHIND = "fine_tune is ahead", "no difference shows", "the plan is ahead"

learn.predict(
    "15-match",
    "A plan of two phases has the depths, the rates and roughly the schedules of fine_tune, and nothing else of it. "
    "Digits, ten labels a class, five seeds: how do they compare?",
    choices=(AHEAD, SAME, BEHIND),
)

# %% [markdown]
# ## The idea in plain PyTorch and fastai
#
# A `Learner` holds three things: the data, a PyTorch model, and the loss. It owns the training loop.
# Our network and our digits go in as they are. The splitter says what counts as a stage.

# %%
import inspect
import warnings

import labkit

warnings.simplefilter("ignore", FutureWarning)  # fastai uses what torch is about to drop

from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy

from labkit.bridges import fastai as bridge

data = labkit.load_data("digits").subset(per_class=10)
net = labkit.load_backbone("resnet10-glyphs")
loaders = bridge.dataloaders(data, batch_size=20)

learner = Learner(
    loaders,
    net.build(len(data.classes), seed=0),
    loss_func=CrossEntropyLossFlat(),
    metrics=accuracy,
    splitter=bridge.by_stage,
)
with learner.no_bar(), learner.no_logging():
    learner.fine_tune(4)
    loss, share = learner.validate()
print(f"fine_tune(4): {share:.1%} of the validation images are right")

# %% [markdown]
# That is the whole of it, and it works. Now look inside. fastai is open, so ask it for its own lines.

# %%
print(inspect.getsource(Learner.fine_tune))

# %% [markdown]
# Five lines, and six decisions. Read them once more, slowly:
#
# 1. `freeze()`: all groups but the last.
# 2. `fit_one_cycle(freeze_epochs, slice(base_lr), pct_start=0.99)`: one epoch, whose rate rises nearly to its end.
# 3. `base_lr /= 2`: from here on, half of what you asked for.
# 4. `unfreeze()`: everything.
# 5. `slice(base_lr/lr_mult, base_lr)`: a rate for each stage, the first at a hundredth of the head's.
# 6. `pct_start=0.3, div=5.0`: up for a while, then down along a cosine.

# %% [markdown]
# ## Taken apart
#
# To be sure, watch it instead of reading it. `bridge.fits` gives a recipe a Learner whose `fit` only takes notes.
# Nothing trains.

# %%
import pandas as pd

found = bridge.fits(learner, lambda learner: learner.fine_tune(4))
table = pd.DataFrame(
    {
        "fit": ["first", "second"],
        "epochs": [fit.epochs for fit in found],
        "trains from": [fit.trainable_from for fit in found],
        "largest rate, head": [f"{fit.lr:.1e}" for fit in found],
        "largest rate, first stage": [f"{fit.lowest_lr:.1e}" for fit in found],
        "rises until": [f"{fit.peak:.0%} of it" for fit in found],
    }
)
table.style.hide(axis="index")

# %%
first_layers = found[1].lowest_lr
learn.reveal("15-rate", f"{first_layers:.5f}".rstrip("0"))

# %% [markdown]
# `base_lr` is the rate of one stage for one epoch. The first layers never come near it.
# In the first fit they are frozen, and yet the table gives them a rate. Keep that in mind.

# %% [markdown]
# ## Frozen, says who?
#
# Only the frozen epoch, and then our audit. `Steered` puts any Learner where a run of ours would stand.

# %%
from labkit.show import figures


def frozen_epoch(learner):
    """What fine_tune does before it thaws."""
    learner.freeze()
    learner.fit_one_cycle(1, slice(2e-3), pct_start=0.99)


held = bridge.Steered(
    bridge.learner(net, data, batch_size=20), frozen_epoch, data=data, name="frozen epoch"
).fit()
figures.plot_audit(held)

# %%
rows = [row for row in held.audit().rows if row.stage != "head"]
weights = any(row.tensors_changed for row in rows)
statistics = any(row.buffers_changed for row in rows)
learn.reveal("15-frozen", BOTH if weights else STATISTICS if statistics else NOTHING)

# %% [markdown]
# This is no accident. A Learner has `train_bn=True`: BatchNorm is trained in frozen stages, weights and all.
# There lies the use of the rate in the table. `slice(lr)` gives a tenth of it to all groups but the last.
#
# One can say no to it, and then audit again.

# %%
from fastai.callback.training import BnFreeze

told = {
    "as it comes": {},
    "train_bn=False": {"train_bn": False},
    "train_bn=False and BnFreeze": {"train_bn": False, "cbs": BnFreeze()},
}
for name, options in told.items():
    made = bridge.learner(net, data, batch_size=20, **options)
    rows = bridge.Steered(made, frozen_epoch, data=data).fit().audit().rows[:-1]
    print(
        f"{name:28} below the head: {sum(row.tensors_changed for row in rows):2} weight tensors and "
        f"{sum(row.buffers_changed for row in rows):2} buffers changed"
    )
del held, made

# %% [markdown]
# Whether BatchNorm should move is a matter of taste, and of measurement. But it is not what *frozen* says.

# %% [markdown]
# ## The same through labkit
#
# Depths, rates and schedules are all that a plan of ours needs. Two phases say it.
# Our schedules rise in a straight line and from zero, and a warm-up takes nine tenths of a phase at most.

# %%
decay = 0.01 ** (1 / (len(net.stages) - 1))
plan = labkit.Plan(
    "our plan",
    (
        labkit.Phase("head", lr=2e-3, epochs=1, schedule="cosine", warmup=0.9),
        labkit.Phase("all", lr=1e-3, epochs=4, lr_decay=decay, schedule="cosine", warmup=0.3),
    ),
    batch_size=20,
)
run = labkit.Run(net, data, plan, seed=0)
theirs = bridge.fine_tuned(net, data, plan.with_(name="fine_tune"), seed=0).fit()

# %%
from labkit.course.lesson_15 import figures as recipes
from labkit.tuning import StepDone

steps = len(loaders.train)  # an epoch
ours = []
for event in run.events():
    if isinstance(event, StepDone):
        trains = net.stages[net.stages.index(event.trainable_from) :]
        groups = {group["name"]: group["lr"] for group in run.optimizer.param_groups}
        ours.append({name: groups[name] if name in trains else float("nan") for name in groups})

courses = {}
for stage in ("head", "stem"):
    courses[f"{stage}, fine_tune"] = [
        fit.rates(step / (fit.epochs * steps))[stage]
        for fit in found
        for step in range(fit.epochs * steps)
    ]
    courses[f"{stage}, our plan"] = [rates[stage] for rates in ours]
recipes.rates(courses, turn=steps)

# %% [markdown]
# The curves are close and not the same. fastai bends its rise and ends a little higher, and its frozen stem has a rate.
# There is more that no curve shows. Its optimiser looks back less far, its momentum goes down as the rate goes up,
# and weight decay spares BatchNorm and biases.
#
# Does it matter? One seed each, side by side:

# %%
labkit.compare([run, theirs])

# %% [markdown]
# One seed decides nothing. The record has five, and asked the same.

# %%
from labkit.course import evidence

gap = evidence.estimate("fine-tune/digits-10/fine_tune", "fine-tune/digits-10/our-plan")
del run, theirs
learn.reveal("15-match", AHEAD if gap.low > 0 else BEHIND if gap.high < 0 else SAME)

# %% [markdown]
# ## What else was decided
#
# Three more choices, made before `fine_tune` is even called. The first: how many images make an epoch?
# By default fastai takes batches of 64, and leaves out the last one when it is short.

# %%
default = loaders.train.new(bs=64, drop_last=True)
left_out = len(data.train) - 64 * len(default)
print(f"{len(data.train)} images: {len(default)} step an epoch, {left_out} images left out of it")

# %% [markdown]
# The second: what is a head? Ours is one linear layer. `vision_learner` builds another one.


# %%
def size(module):
    """How many parameters a module has."""
    return sum(parameter.numel() for parameter in module.parameters())


theirs = bridge.their_head(net, len(data.classes))
print(f"our head:     {size(learner.model.head):>9,} parameters")
print(f"fastai's head {size(theirs):>9,} parameters")
print(", ".join(type(layer).__name__ for layer in theirs))

# %% [markdown]
# It pools twice, by maximum and by mean, and it has a hidden layer, dropout and BatchNorm of its own.
# Where labels are few, that is a much larger thing to teach.
#
# The third: what an image is. `vision_learner` normalises with the statistics of ImageNet, silently.
# Our networks do that in their stem. Done twice, it is the kind of mistake that lesson 14 is about.

# %% [markdown]
# ## There and back
#
# Data go both ways. Whatever fastai has loaded, from a folder or a table, becomes data of ours.

# %%
back = bridge.from_dataloaders(loaders, name="digits, back again")
print(back)
print("the same images:", bool((back.train.images == data.train.images).all()))

# %% [markdown]
# ## Your turn in the console
#
# This is fastai's loop. A callback stands between two of its batches, and carries out what the console asks.
#
# 1. Press *Run*. In the first epoch everything but the head is frozen. What does the drift say?
# 2. When the second phase has begun, set a rate a hundred times too large. Watch the stages at the bottom.
# 3. Try to rewind. The console says why it cannot. Whose loop is it? Press *Reset*, which can.
# 4. Pause after the thaw, freeze all but the head, and go on. Does the drift of the others stop?

# %%
playground = bridge.Steered(
    bridge.learner(net, data, batch_size=20),
    lambda learner: learner.fine_tune(40),
    data=data,
    name="fine_tune",
)
labkit.console(playground)

# %% [markdown]
# ## Exercise 1 · What a slice means
#
# {exercise:15-slice}
#
# Write what fastai makes of `slice(low, high)`: a list with the rate of every group, the first group first.
# From each group to the next the ratio is the same. Without a low end, given as `None`, the last group gets `high` and
# all others a tenth.


# %% tags=["stub"]
def slice_rates(low, high, groups):
    """The rate of every parameter group, from the first to the head."""
    raise NotImplementedError


# %% tags=["solution"]
def slice_rates(low, high, groups):
    """The rate of every parameter group, from the first to the head."""
    if low is None:
        return [high / 10] * (groups - 1) + [high]
    factor = (high / low) ** (1 / (groups - 1))
    return [low * factor**group for group in range(groups)]


# %%
learn.check("15-slice", slice_rates)

# %% [markdown]
# ## Exercise 2 · fine_tune as a plan
#
# {exercise:15-plan}
#
# Write the plan that does what `fine_tune(epochs, base_lr)` does, for a network of `stages` stages.
# Let the first phase rise over nine tenths of it, and the second as fastai's does. Then both fall along a cosine.


# %% tags=["stub"]
def fine_tune_plan(epochs, base_lr, stages):
    """A labkit.Plan with the depths, lengths, rates and schedules of fine_tune."""
    return labkit.full(lr=base_lr, epochs=epochs)


# %% tags=["solution"]
def fine_tune_plan(epochs, base_lr, stages):
    """A labkit.Plan with the depths, lengths, rates and schedules of fine_tune."""
    shape = {"schedule": "cosine"}
    head = labkit.Phase("head", base_lr, 1, warmup=0.9, **shape)
    decay = 0.01 ** (1 / (stages - 1))
    rest = labkit.Phase("all", base_lr / 2, epochs, lr_decay=decay, warmup=0.3, **shape)
    return labkit.Plan("fine_tune", (head, rest))


# %%
learn.check("15-plan", fine_tune_plan)

# %% [markdown]
# ## Exercise 3 · A freeze that holds
#
# {exercise:15-freeze}
#
# Make a fastai Learner of some loaders and a model, in which only the last child of the model ever changes.
# The check calls `fit` on it, and audits: no weight and no buffer below the head may move.


# %% tags=["stub"]
def frozen_learner(loaders, model):
    """A Learner that trains the head alone, whatever is called frozen elsewhere."""
    learner = Learner(loaders, model, loss_func=CrossEntropyLossFlat(), splitter=bridge.by_stage)
    learner.freeze()
    return learner


# %% tags=["solution"]
def frozen_learner(loaders, model):
    """A Learner that trains the head alone, whatever is called frozen elsewhere."""
    learner = Learner(
        loaders,
        model,
        loss_func=CrossEntropyLossFlat(),
        splitter=bridge.by_stage,
        train_bn=False,
        cbs=BnFreeze(),
    )
    learner.freeze()
    return learner


# %%
learn.check("15-freeze", frozen_learner)

# %% [markdown]
# ## What the evidence says
#
# From recorded runs, five seeds a setting, with 95 % intervals over seeds. fastai ran its own code, on the same
# labels and the same network. Nothing was tuned: the rate is fastai's default. The rule was written before the runs:
# the plan matches where the interval of the difference, paired by seed, holds zero.
#
# | way | digits, ten labels a class | ants and bees |
# |---|---|---|
# | our plan of two phases | {evidence:fine-tune/digits-10/our-plan} | {evidence:fine-tune/ants-bees/our-plan} |
# | fastai's `fine_tune` | {evidence:fine-tune/digits-10/fine_tune} | {evidence:fine-tune/ants-bees/fine_tune} |
# | `fine_tune`, less our plan | {evidence:fine-tune/digits-10/fine_tune against fine-tune/digits-10/our-plan} | {evidence:fine-tune/ants-bees/fine_tune against fine-tune/ants-bees/our-plan} |
#
# - **The plan matches `fine_tune`: supported.** Both intervals in the last row hold zero.
#   What the plan leaves out does not show here: momentum, the optimiser's constants, BatchNorm in frozen stages.
# - On ants and bees the interval is wider. It says less: a small difference either way could hide in it.
# - **fastai's own head did not help on digits.** Against `fine_tune` with our single layer it makes
#   {evidence:fine-tune/digits-10/fine_tune-its-own-head against fine-tune/digits-10/fine_tune}. Against our plan it makes
#   {evidence:fine-tune/digits-10/fine_tune-its-own-head against fine-tune/digits-10/our-plan}.

# %% [markdown]
# ### Which of its choices carry it?
#
# Digits, one choice undone at a time. Zero is our plan, a dot is a seed, and a diamond is the mean with its interval.

# %%
recipes.choices()

# %% [markdown]
# - **No choice carries it alone.** Without the frozen epoch it makes
#   {evidence:fine-tune/digits-10/without-the-frozen-epoch against fine-tune/digits-10/our-plan}. One rate for all stages
#   makes {evidence:fine-tune/digits-10/one-rate-for-all-stages against fine-tune/digits-10/our-plan}, and constant rates
#   make {evidence:fine-tune/digits-10/without-schedules against fine-tune/digits-10/our-plan}.
# - So the line works, and here many lines would. Digits are an easy task for a network that knows letters. On a harder
#   one a choice may matter: undo it, and count, with seeds.

# %% [markdown]
# ## Quiz
#
# Your first choice counts. Every option answers with a reason, so go on choosing until it is right.

# %%
learn.quiz("15")

# %% [markdown]
# ## Pitfalls
#
# - **Reporting `base_lr` as the learning rate.** It was the rate of the head, for one epoch, at its peak.
# - **Believing `freeze()`.** It leaves BatchNorm training. Audit what you call frozen.
# - **Small data and default loaders.** The short last batch is left out of every epoch, and others with it.
# - **Normalising twice.** Some networks do it themselves, and some frameworks do it for all.
# - **Freezing in the middle by hand.** Gradients of fastai are set to zero, not taken away, so weight decay goes on.
# - **Comparing tools by one run each.** They differ in the order of the images alone. Take seeds.

# %% [markdown]
# ## Summary
#
# - `fine_tune` is two fits: the head for an epoch, then everything, at half the rate and a hundredth of it at the bottom.
# - The same can be said in a plan of two phases, and then every choice has a name and can be changed.
# - A framework's defaults are decisions. Most are good. Know them before you report them.
# - Frozen, in fastai, does not include BatchNorm unless you ask for it twice.
# - A loop that somebody else holds can be watched and steered through a callback. It cannot be rewound.
#
# Your guesses so far:

# %%
learn.score()

# %% [markdown]
# ## References
#
# - Howard, J., & Gugger, S. (2020). fastai: A layered API for deep learning. *Information*, 11(2), 108.
# - Smith, L. N., & Topin, N. (2019). Super-convergence: Very fast training of neural networks using large learning
#   rates. *Artificial Intelligence and Machine Learning for Multi-Domain Operations Applications*, SPIE 11006.
#   One cycle.
# - Howard, J., & Ruder, S. (2018). Universal language model fine-tuning for text classification. *ACL*.
#   Discriminative rates, and the head first.
# - Ioffe, S., & Szegedy, C. (2015). Batch normalization: Accelerating deep network training by reducing internal
#   covariate shift. *ICML*.
# - Loshchilov, I., & Hutter, F. (2019). Decoupled weight decay regularization. *ICLR*.
