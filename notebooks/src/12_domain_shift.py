# %% [markdown]
# # 12 · Domain shift: what if my images look different?
#
# - **You will be able to:** measure what a shift costs, adapt a network to it without a single label, and say when that will fail.
# - **Time:** 45 minutes, of which the machine works for about one.
# - **Memory:** below 1.4 GB.
# - **Builds on:** lessons 05 and 06.

# %% [markdown]
# ## The question
#
# A clinic has a network that reads its images well. In spring it buys a new scanner.
# The patients are the same and so are the diseases. To a person the new images look a little paler.
#
# Nobody changed the network. Are its answers as good as before?
# There are thousands of new images, and not one of them has a label yet.
# If the answers are worse, does the clinic have to start over? And how could anybody know?

# %% [markdown]
# ## Predict
#
# Three guesses. All three networks have learned from images as they are, and are asked about others.

# %%
from labkit import learn

LITTLE, MUCH, MOST = "less than 5 points", "5 to 30 points", "more than 30 points"

learn.predict(
    "12-pale",
    "Digits are washed out until little contrast is left. You can still read every one of them. "
    "How much accuracy does the network lose?",
    choices=(LITTLE, MUCH, MOST),
)

# %%
BLUR, PALE, NEGATIVE = "out of focus", "washed out", "a negative, like an X-ray"

learn.predict(
    "12-which",
    "The network may look at other shifted digits, without labels, and may change no weight. "
    "For which of three shifts does that bring back the most accuracy?",
    choices=(BLUR, PALE, NEGATIVE),
)

# %%
GOOD, LESS, HARM = "about as much as of all classes", "less, but some", "it does harm"

learn.predict(
    "12-one-class",
    "The washed out digits that it may look at are all of one class. How much does looking help with all ten?",
    choices=(GOOD, LESS, HARM),
)

# %% [markdown]
# ## The idea in plain PyTorch
#
# First a network that reads digits. It never sees anything but digits as they are.

# %%
import torch
from torch import nn

import labkit

data = labkit.load_data("digits").subset(per_class=10)
net = labkit.load_backbone("resnet10-glyphs")
model = net.build(len(data.classes), seed=0)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
chance = torch.Generator().manual_seed(0)

for _ in range(8):
    for indices in torch.randperm(len(data.train), generator=chance).split(20):
        images, labels = data.train.batch(indices)
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

# %% [markdown]
# Now the new scanner. It pulls every pixel towards the grey of its image.


# %%
def washed_out(images):
    """Images with little contrast left."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + 0.2 * (images - mean)


def share_right(model, images, labels):
    """How many of the images a model reads rightly, as a share."""
    model.eval()
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


images, labels = data.test.batch(range(len(data.test)))
before = share_right(model, images, labels)
after = share_right(model, washed_out(images), labels)
print(f"as they are {before:.0%}   washed out {after:.0%}")

# %%
learn.reveal("12-pale", before - after, bounds=(0.05, 0.3))

# %% [markdown]
# The strokes are all there. What the network makes of them is off, because of what it expects.
# A BatchNorm layer has stored a mean and a spread for each channel, as they were in training. In evaluation mode
# it subtracts the one and divides by the other. Of pale images both are wrong.
#
# But means and spreads need no labels. So show the network other pale digits, and let it store theirs.

# %%
pale, _ = data.valid.batch(range(len(data.valid)))  # other digits; their labels stay in the drawer

for layer in model.modules():
    if isinstance(layer, nn.BatchNorm2d):
        layer.reset_running_stats()
        layer.momentum = None  # a plain average over the batches that come
model.train()
with torch.no_grad():
    model(washed_out(pale))  # forward only: no weight moves

adapted = share_right(model, washed_out(images), labels)
print(f"washed out, after a look at others like them: {adapted:.0%}")
print(f"as they were before the new scanner:          {share_right(model, images, labels):.0%}")

# %% [markdown]
# This is adaptive batch normalisation (Li et al., 2016). One forward pass, no label, no gradient, no weight.
#
# Look at the second line, too. What fits the new scanner no longer fits the old one. The network is not better now,
# it is at home elsewhere.

# %% [markdown]
# ## The same through labkit
#
# `data.shift` makes any data set look otherwise: the same images, labels and splits, seen by another camera.
# There are six kinds, each from strength 0 to 1. The last two borrow the looks of medicine.

# %%
from labkit.course.lesson_12 import figures as shifting

del model, optimizer  # a run brings its own
photos = learn.photographs()
shown = photos or data
shifting.gallery(shown.valid, 0, shown.classes)

# %% [markdown]
# Cover the left column, and ask yourself how far to the right you can still name what you see.
# A `stain` says nothing about real tissue, and a `negative` is no X-ray. They stand in for a look.
#
# `insight.adapt` does what we just did, on a copy. The run itself stays as it is.

# %%
import pandas as pd

from labkit import insight
from labkit.data import KINDS

run = labkit.Run(net, data, labkit.full(lr=1e-3, epochs=8, batch_size=20), seed=0).fit()
print(run.evaluate("test"))

rows = []
for kind in KINDS:
    there = data.shift(kind)
    adapted = insight.adapt(run, there.valid)
    rows.append((kind, run.evaluate(there.test).accuracy, adapted.evaluate(there.test).accuracy))
table = pd.DataFrame(rows, columns=["shift", "as it is", "statistics of other shifted digits"])
table.style.format(precision=2).hide(axis="index")

# %% [markdown]
# Some shifts cost nearly nothing, some nearly everything. And looking helps with some and not with others.
# Before you read on, try to find out by yourself what those have in common that it helps with.

# %% [markdown]
# ## What a layer expects
#
# `insight.statistics_gap` compares what the layers are given with what they have stored. The line says how far the
# mean is off, in units of the stored spread. At zero the layers get what they expect.

# %%
from labkit.course import figures as charts

washed, negative = data.shift("contrast"), data.shift("negative")
gaps = {
    "as they are": insight.statistics_gap(run, "test"),
    "washed out": insight.statistics_gap(run, washed.test),
    "negative": insight.statistics_gap(run, negative.test),
    "negative, adapted": insight.statistics_gap(insight.adapt(run, negative.valid), negative.test),
}
charts.by_stage(
    {name: gap["offset"].to_dict() for name, gap in gaps.items()},
    "mean is off by (% of the stored spread)",
)

# %% [markdown]
# So a shift can be seen **without any label**. That is the alarm which the clinic did not have.
#
# After adapting the gap is closed, for the negative as well. Yet the accuracy has not come back as it did for the
# washed out digits. A mean and a spread say nothing about shape. Where strokes have turned from bright to dark, the
# filters below still look for bright ones, and no average can tell them otherwise.

# %% [markdown]
# ## How many images, and which?
#
# How many pale images does it take? From recorded runs, with more and more of them to look at. The dashed line is the
# network as it is. The bands are 95 % intervals over seeds.

# %%
shifting.amounts()

# %% [markdown]
# A handful does most of it. Each image has many places, and at every place a channel gives a number. So the
# statistics of two images come from hundreds of numbers in the lower layers.
#
# The other line lets the old statistics keep a say, as if they came from sixteen images themselves (Schneider et al.,
# 2020). That is meant for few images. Here it does harm where images are few, because the old statistics are the very
# thing that is wrong. It is an insurance, and pays where the images are odd.
#
# Now a subtler danger. The images come as the day brings them. What if they are all of one kind?

# %%
zeros = (washed.valid.labels == 0).nonzero().flatten()
looks = {
    "no look at all": run,
    "digits of all classes": insight.adapt(run, washed.valid, count=len(zeros)),
    "zeros alone": insight.adapt(run, washed.valid.take(zeros)),
    "zeros, old ones count for 16": insight.adapt(run, washed.valid.take(zeros), prior=16),
}
for name, who in looks.items():
    seen = who.evaluate(washed.test)
    is_zero = seen.targets == 0
    found = (seen.predictions == 0)[is_zero].float().mean()
    print(f"{name:30} {seen.accuracy:4.0%} right   {found:4.0%} of the zeros found")

# %% [markdown]
# What all zeros have in common becomes the mean, and the mean is subtracted. So zeros lose what makes them zeros.
# The method takes every difference for the scanner's doing. When the *patients* differ, it takes that away as well.
#
# Images whose classes come in other shares than before have a **label shift**. Adapting statistics mistakes it for a
# domain shift, and nothing warns you.

# %%
from labkit.course import evidence

key = "domain-shift/digits-10/clean"
one, mixed, none = (
    evidence.estimate(f"{key}/{name}").mean for name in ("one-class", "mixed", "contrast")
)
outcome = HARM if one < none else GOOD if one > mixed - 0.02 else LESS
learn.reveal("12-one-class", outcome)

# %% [markdown]
# ## A few labels
#
# Somebody labels three new images of each class. Now the weights may move. `insight.carried_on` lets a new run begin
# where the old one is, head and all. For comparison, another one begins at the pre-trained weights.

# %%
few = labkit.load_data("digits").subset(per_class=3, seed=1).shift("negative")
plan = labkit.full(lr=1e-3, epochs=8, batch_size=20)

print("as it is         ", run.evaluate(few.test))
print("statistics alone ", insight.adapt(run, few.valid).evaluate(few.test))
for name, start in {"begun afresh": net, "trained on": insight.carried_on(run)}.items():
    labelled = labkit.Run(start, few, plan, seed=0)
    print(f"{name:17}", labelled.fit().evaluate(few.test))
print("on, then adapted ", insight.adapt(labelled, few.valid).evaluate(few.test))

# %% [markdown]
# And what has become of the digits as they were?

# %%
print("before", run.evaluate("test"))
print("now   ", labelled.evaluate(data.test))
del labelled, start, few, looks, adapted, who  # networks that are not needed should not take memory

# %% [markdown]
# ## The same on photographs
#
# Ants and bees, in the light of the same shifts.

# %%
if photos is None:
    print("The photographs are not on this machine. To fetch them: labkit data fetch ants-bees")
else:
    photo_net = labkit.load_backbone("resnet10")
    plan = labkit.partial("layer4", lr=1e-3, epochs=4)
    photo_run = labkit.Run(photo_net, photos, plan, seed=0).fit()
    print(f"{'as they are':12}", photo_run.evaluate("valid"))
    for kind in ("contrast", "stain"):
        there = photos.shift(kind)
        print(f"{kind:12}", photo_run.evaluate(there.valid))
        adapted = insight.adapt(photo_run, there.train, count=64)
        print(f"{'  adapted':12}", adapted.evaluate(there.valid))
    del photo_run, adapted, there

# %% [markdown]
# ## Your turn in the console
#
# The console opens on the network that reads digits, and on negatives that have labels.
#
# 1. Set the rate to its smallest value before you start, so that no weight really moves. Train for a few epochs.
#    The accuracy changes all the same. What is it that moves?
# 2. Rewind to step 0. Set the frozen depth to the head, and train at the usual rate. What keeps it from getting far?
# 3. Rewind once more, thaw everything, and find the rate at which negatives are learned best.

# %%
playground = labkit.Run(
    insight.carried_on(run), negative, labkit.full(lr=1e-3, epochs=200, batch_size=20), seed=0
)
labkit.console(playground)

# %% [markdown]
# ## Exercise 1 · New statistics, and no weight moves
#
# {exercise:12-adapt}
#
# Make the lines from above into a function that can be trusted with any model. It gives every BatchNorm layer the
# statistics of all `images` together. It leaves the rest as it was: weights, momentum, gradients, and the model in
# evaluation mode.


# %% tags=["stub"]
def adapt(model, images):
    """Let the BatchNorm layers of a model take their statistics from images (n, 3, h, w)."""
    model.train()
    model(images)


# %% tags=["solution"]
def adapt(model, images):
    """Let the BatchNorm layers of a model take their statistics from images (n, 3, h, w)."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 1.0
    model.train()
    with torch.no_grad():
        model(images)
    model.eval()
    for layer, momentum in zip(layers, before, strict=True):
        layer.momentum = momentum


# %%
learn.check("12-adapt", adapt)

# %% [markdown]
# ## Exercise 2 · A say for the old statistics
#
# {exercise:12-blend}
#
# Two tensors hold a statistic for each channel: the stored one, and that of a number of new images. The stored one
# counts for `prior` images. Return what both come to together.


# %% tags=["stub"]
def blend(old, new, images, prior):
    """A statistic for each channel, of `prior` old images and so many new ones."""
    return (old + new) / 2


# %% tags=["solution"]
def blend(old, new, images, prior):
    """A statistic for each channel, of `prior` old images and so many new ones."""
    return (prior * old + images * new) / (prior + images)


# %%
learn.check("12-blend", blend)

# %% [markdown]
# ## Exercise 3 · How many images are enough?
#
# {exercise:12-enough}
#
# `before` holds the accuracy of the network as it is, one a seed. `after` maps numbers of images to the accuracies
# after adapting to so many, in the same order of seeds. Return the smallest number **from which on** adapting helps
# for sure: the 95 % interval of the gain lies above zero. Return `None` where there is none.
# `insight.mean_interval(numbers)` gives the interval of a mean, with its ends `low` and `high`.


# %% tags=["stub"]
def enough(before, after):
    """The smallest number of images from which on adapting surely helps."""
    raise NotImplementedError


# %% tags=["solution"]
def enough(before, after):
    """The smallest number of images from which on adapting surely helps."""
    found = None
    for count in sorted(after, reverse=True):
        gains = [ours - theirs for ours, theirs in zip(after[count], before, strict=True)]
        if insight.mean_interval(gains).low <= 0:
            break
        found = count
    return found


# %%
learn.check("12-enough", enough)

# %% [markdown]
# ## What the evidence says
#
# Recorded runs on digits, and on ants and bees, several seeds each, with 95 % intervals over seeds. A network was
# trained once on images as they are, then asked about shifted ones. The rule was written before the runs.
#
# The images that were looked at, and those that got labels, are never among the ones counted.

# %%
shifting.recovered()

# %%
gains = {
    name: evidence.estimate(f"{key}/{kind}-adapted", f"{key}/{kind}").mean
    for kind, name in {"blur": BLUR, "contrast": PALE, "negative": NEGATIVE}.items()
}
learn.reveal("12-which", max(gains, key=gains.get))

# %% [markdown]
# | Digits, full strength | as it is | against images as they are | statistics, gain | a few labels, gain |
# |---|---|---|---|---|
# | noise | {evidence:domain-shift/digits-10/clean/noise} | {evidence:domain-shift/digits-10/clean/noise against domain-shift/digits-10/clean} | {evidence:domain-shift/digits-10/clean/noise-adapted against domain-shift/digits-10/clean/noise} | {evidence:domain-shift/digits-10/clean/noise-labels against domain-shift/digits-10/clean/noise} |
# | blur | {evidence:domain-shift/digits-10/clean/blur} | {evidence:domain-shift/digits-10/clean/blur against domain-shift/digits-10/clean} | {evidence:domain-shift/digits-10/clean/blur-adapted against domain-shift/digits-10/clean/blur} | {evidence:domain-shift/digits-10/clean/blur-labels against domain-shift/digits-10/clean/blur} |
# | contrast | {evidence:domain-shift/digits-10/clean/contrast} | {evidence:domain-shift/digits-10/clean/contrast against domain-shift/digits-10/clean} | {evidence:domain-shift/digits-10/clean/contrast-adapted against domain-shift/digits-10/clean/contrast} | {evidence:domain-shift/digits-10/clean/contrast-labels against domain-shift/digits-10/clean/contrast} |
# | dark | {evidence:domain-shift/digits-10/clean/dark} | {evidence:domain-shift/digits-10/clean/dark against domain-shift/digits-10/clean} | {evidence:domain-shift/digits-10/clean/dark-adapted against domain-shift/digits-10/clean/dark} | {evidence:domain-shift/digits-10/clean/dark-labels against domain-shift/digits-10/clean/dark} |
# | negative | {evidence:domain-shift/digits-10/clean/negative} | {evidence:domain-shift/digits-10/clean/negative against domain-shift/digits-10/clean} | {evidence:domain-shift/digits-10/clean/negative-adapted against domain-shift/digits-10/clean/negative} | {evidence:domain-shift/digits-10/clean/negative-labels against domain-shift/digits-10/clean/negative} |
# | stain | {evidence:domain-shift/digits-10/clean/stain} | {evidence:domain-shift/digits-10/clean/stain against domain-shift/digits-10/clean} | {evidence:domain-shift/digits-10/clean/stain-adapted against domain-shift/digits-10/clean/stain} | {evidence:domain-shift/digits-10/clean/stain-labels against domain-shift/digits-10/clean/stain} |
#
# | Ants and bees, full strength | as it is | against images as they are | statistics, gain | a few labels, gain |
# |---|---|---|---|---|
# | noise | {evidence:domain-shift/ants-bees/clean/noise} | {evidence:domain-shift/ants-bees/clean/noise against domain-shift/ants-bees/clean} | {evidence:domain-shift/ants-bees/clean/noise-adapted against domain-shift/ants-bees/clean/noise} | {evidence:domain-shift/ants-bees/clean/noise-labels against domain-shift/ants-bees/clean/noise} |
# | blur | {evidence:domain-shift/ants-bees/clean/blur} | {evidence:domain-shift/ants-bees/clean/blur against domain-shift/ants-bees/clean} | {evidence:domain-shift/ants-bees/clean/blur-adapted against domain-shift/ants-bees/clean/blur} | {evidence:domain-shift/ants-bees/clean/blur-labels against domain-shift/ants-bees/clean/blur} |
# | contrast | {evidence:domain-shift/ants-bees/clean/contrast} | {evidence:domain-shift/ants-bees/clean/contrast against domain-shift/ants-bees/clean} | {evidence:domain-shift/ants-bees/clean/contrast-adapted against domain-shift/ants-bees/clean/contrast} | {evidence:domain-shift/ants-bees/clean/contrast-labels against domain-shift/ants-bees/clean/contrast} |
# | dark | {evidence:domain-shift/ants-bees/clean/dark} | {evidence:domain-shift/ants-bees/clean/dark against domain-shift/ants-bees/clean} | {evidence:domain-shift/ants-bees/clean/dark-adapted against domain-shift/ants-bees/clean/dark} | {evidence:domain-shift/ants-bees/clean/dark-labels against domain-shift/ants-bees/clean/dark} |
# | negative | {evidence:domain-shift/ants-bees/clean/negative} | {evidence:domain-shift/ants-bees/clean/negative against domain-shift/ants-bees/clean} | {evidence:domain-shift/ants-bees/clean/negative-adapted against domain-shift/ants-bees/clean/negative} | {evidence:domain-shift/ants-bees/clean/negative-labels against domain-shift/ants-bees/clean/negative} |
# | stain | {evidence:domain-shift/ants-bees/clean/stain} | {evidence:domain-shift/ants-bees/clean/stain against domain-shift/ants-bees/clean} | {evidence:domain-shift/ants-bees/clean/stain-adapted against domain-shift/ants-bees/clean/stain} | {evidence:domain-shift/ants-bees/clean/stain-labels against domain-shift/ants-bees/clean/stain} |

# %% [markdown]
# Accuracy as the shift grows, first on digits:

# %%
shifting.by_strength("digits-10")

# %%
shifting.by_strength("ants-bees")

# %% [markdown]
# - **A shifted domain lowers accuracy, and adapting recovers part of it: {verdict:16}.** The rule asks for both, of
#   every shift and on both data sets.
# - **The eye is no guide.** To wash out digits makes {evidence:domain-shift/digits-10/clean/contrast against domain-shift/digits-10/clean}.
#   To stain them violet makes {evidence:domain-shift/digits-10/clean/stain against domain-shift/digits-10/clean}.
#   To blur them makes {evidence:domain-shift/digits-10/clean/blur against domain-shift/digits-10/clean}, and that
#   interval holds zero. On ants and bees blur makes
#   {evidence:domain-shift/ants-bees/clean/blur against domain-shift/ants-bees/clean}.
# - **Statistics mend what a mean and a spread can mend.** Washed out digits, adapted, lie
#   {evidence:domain-shift/digits-10/clean/contrast-adapted against domain-shift/digits-10/clean} from digits as they are.
#   Of the negative, statistics bring back {evidence:domain-shift/digits-10/clean/negative-adapted against domain-shift/digits-10/clean/negative}.
# - **A few labels mend what statistics cannot.** Three labels a class bring back
#   {evidence:domain-shift/digits-10/clean/negative-labels against domain-shift/digits-10/clean/negative} on negatives of digits.
# - **Labels are not better everywhere.** On washed out ants and bees, ten labels a class less the statistics make
#   {evidence:domain-shift/ants-bees/clean/contrast-labels against domain-shift/ants-bees/clean/contrast-adapted}.
#   On digits they make {evidence:domain-shift/digits-10/clean/contrast-labels against domain-shift/digits-10/clean/contrast-adapted}.
# - **Adapting where nothing has shifted** changes accuracy on digits by
#   {evidence:domain-shift/digits-10/clean/adapted against domain-shift/digits-10/clean}, and on ants and bees by
#   {evidence:domain-shift/ants-bees/clean/adapted against domain-shift/ants-bees/clean}.
# - **Images of one class alone** still help, but less. Against as many of all classes they make
#   {evidence:domain-shift/digits-10/clean/one-class against domain-shift/digits-10/clean/mixed} on digits and
#   {evidence:domain-shift/ants-bees/clean/one-class against domain-shift/ants-bees/clean/mixed} on ants and bees. Where
#   the old statistics count for sixteen images, {evidence:domain-shift/digits-10/clean/one-class-prior against domain-shift/digits-10/clean/one-class}
#   of that comes back on digits.
# - **Is the old training still worth something?** On washed out ants and bees, training on, against beginning afresh with
#   the same labels, makes {evidence:domain-shift/ants-bees/clean/contrast-labels against domain-shift/ants-bees/clean/contrast-fresh}.
#   On noisy ones it makes {evidence:domain-shift/ants-bees/clean/noise-labels against domain-shift/ants-bees/clean/noise-fresh}.
#
# A guess at the washed out ants and bees, not a claim: twenty labelled images make six steps. In six steps the running
# statistics go not even half-way. Statistics first and labels afterwards may do better. Try it.

# %% [markdown]
# ## Quiz
#
# Your first choice counts. Every option answers with a reason, so go on choosing until it is right.

# %%
learn.quiz("12")

# %% [markdown]
# ## Pitfalls
#
# - **Reporting accuracy on one scanner.** It holds for that scanner. Keep a test split for each place of use.
# - **Adapting to whatever comes next.** A batch of one class, or of one ward, has statistics of its own.
# - **Adapting to a handful.** How well it works depends on which images came first. Wait for more where you can.
# - **Adapting where nothing has shifted.** There is nothing to gain, and odd images can do harm. Measure the gap first.
# - **Adapting by training mode.** The answer to one image then depends on the others in the batch.
# - **Throwing the old statistics away.** The old scanner may come back. A copy costs next to nothing.

# %% [markdown]
# ## Summary
#
# - A shift that no person minds can ruin a network, because its layers expect what they saw in training.
# - The gap between expected and given statistics can be measured without labels.
# - Adapting statistics takes one forward pass. It mends what a mean and a spread can mend, and no more.
# - It needs images of all classes. Where they are odd, let the old statistics keep a say.
# - Where shape or colour has changed, it takes labels. A few go far when training goes on from what is there.
#
# Your guesses so far:

# %%
learn.score()

# %% [markdown]
# ## References
#
# - Ioffe, S., & Szegedy, C. (2015). Batch normalization: Accelerating deep network training by reducing internal
#   covariate shift. *ICML*.
# - Li, Y., Wang, N., Shi, J., Liu, J., & Hou, X. (2016). Revisiting batch normalization for practical domain
#   adaptation. arXiv:1603.04779. Adapting by statistics alone.
# - Zech, J. R., Badgeley, M. A., Liu, M., Costa, A. B., Titano, J. J., & Oermann, E. K. (2018). Variable
#   generalization performance of a deep learning model to detect pneumonia in chest radiographs: A cross-sectional
#   study. *PLoS Medicine 15*(11).
# - Lipton, Z. C., Wang, Y.-X., & Smola, A. J. (2018). Detecting and correcting for label shift with black box
#   predictors. *ICML*.
# - Hendrycks, D., & Dietterich, T. (2019). Benchmarking neural network robustness to common corruptions and
#   perturbations. *ICLR*.
# - Tellez, D., Litjens, G., Bándi, P., Bulten, W., Bokhorst, J.-M., Ciompi, F., & van der Laak, J. (2019). Quantifying
#   the effects of data augmentation and stain color normalization in convolutional neural networks for computational
#   pathology. *Medical Image Analysis 58*.
# - Schneider, S., Rusak, E., Eck, L., Bringmann, O., Brendel, W., & Bethge, M. (2020). Improving robustness against
#   common corruptions by covariate shift adaptation. *Advances in Neural Information Processing Systems 33*.
# - Nado, Z., Padhy, S., Sculley, D., D'Amour, A., Lakshminarayanan, B., & Snoek, J. (2020). Evaluating
#   prediction-time batch normalization for robustness under covariate shift. arXiv:2006.10963.
