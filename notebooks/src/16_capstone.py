# %% [markdown]
# # 16 · Capstone: can I do it on my own data?
#
# - **You will be able to:** take a folder of images to a network you can hand over, within a budget, with a number you can defend.
# - **Time:** 60 minutes, of which the machine works for about one.
# - **Memory:** below 1.4 GB.
# - **Builds on:** lessons 03, 05, 07 and 11.

# %% [markdown]
# ## The question
#
# You have a folder of images that nobody has trained on before, and a machine that is paid by the second.
# On Friday three people call. The first asks how good it is. The second asks how you know.
# The third wants to use it where there is no Python notebook, no labkit and perhaps no torch.
#
# You have all the parts by now. Can you put them together, once, in the right order, and sign the result?

# %% [markdown]
# ## Predict
#
# Three guesses: about a budget, about the examiner, and about the parcel you send.

# %%
from labkit import learn

HEAD, UPPER, WHOLE = "the head alone", "layer4 and head", "everything"
NEITHER = "no difference shows"

learn.predict(
    "16-plan",
    "Some hundred labelled digits. Three plans may each spend the same few processor seconds, and then they are cut "
    "wherever they are. Which is ahead on validation, beyond the 95 % intervals of the others?",
    choices=(HEAD, UPPER, WHOLE, NEITHER),
)

# %%
BELOW, INSIDE, ABOVE = "below it", "inside it", "above it"

learn.predict(
    "16-test",
    "The plan that did best on validation is trained, and the test split is opened once. "
    "Where does its accuracy lie, seen from the 95 % interval of the validation accuracy?",
    choices=(BELOW, INSIDE, ABOVE),
)

# %%
NONE, SOME, MANY = "none of them", "one or two", "more than two"

learn.predict(
    "16-parcel",
    "The network is written to a file, and another program reads it. "
    "Of a hundred validation images, how many get another class there?",
    choices=(NONE, SOME, MANY),
)

# %% [markdown]
# ## The idea in plain PyTorch
#
# An epoch is no price. Of one plan it costs ten times what it costs of another, and on another machine yet another sum.
# Seconds of the processor are a price. So the loop asks the clock before each step, and stops when they are spent.

# %%
import time

import torch
from torch import nn

import labkit

digits = labkit.load_data("digits").subset(per_class=50)
model = labkit.load_backbone("resnet10-glyphs").build(len(digits.classes), seed=0).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
chance = torch.Generator().manual_seed(0)

BUDGET = 1.0  # seconds of the processor
by_the_wall, began, steps = time.perf_counter(), time.process_time(), 0
while time.process_time() - began < BUDGET:
    images, labels = digits.train.batch(torch.randperm(len(digits.train), generator=chance)[:20])
    nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()
    optimizer.zero_grad()
    steps += 1

print(f"{steps} steps for {time.process_time() - began:.2f} processor seconds")
print(f"by the clock on the wall: {time.perf_counter() - by_the_wall:.2f} seconds")

# %% [markdown]
# The two clocks differ. On two threads the processor's runs twice as fast, and while the machine is busy with other
# things it stands still. `process_time` counts what was used. That is what a bill counts.
#
# Run the cell again, and it may make another number of steps. So a budget breaks a promise: the same cell, another
# network. Somebody must write down where the cut was.

# %% [markdown]
# ## The same through labkit
#
# A run takes a budget. Between two steps the engine looks whether it is spent, and then the run ends where it is.

# %%
del model, optimizer
net = labkit.load_backbone("resnet10-glyphs")
plan = labkit.full(lr=1e-3, epochs=1000, batch_size=20)
run = labkit.Run(net, digits, plan, seed=0, budget=1).fit()
print(run)
print(run.budget, "and ended by the", run.ended_by)
print(run.log)

# %% [markdown]
# The cut is in the log, with its step. So a replay asks no clock. It ends at the same step, with the same bits.

# %%
again = run.replay()
ours, theirs = run.model.state_dict(), again.model.state_dict()
differ = sum(not torch.equal(ours[name], theirs[name]) for name in ours)
print(f"replayed to step {again.step_number}: {differ} of {len(ours)} tensors differ")
del run, again

# %% [markdown]
# ## A folder of your own
#
# Here you bring your images: a folder with one folder a class inside, and some dozens of images in each.
# Put its path into the first line. With `None` the lesson makes a folder from digits, so that everything below runs.

# %%
from pathlib import Path

from PIL import Image

MINE = None  # such as "~/Pictures/leaves"
WORKSHOP = labkit.runtime.cache_dir() / "capstone"


def example_folder(place):
    """Digits as people keep images: a folder a class, a file an image. And one file that is none."""
    for image, label, name in zip(
        digits.train.images, digits.train.labels, digits.train.names, strict=True
    ):
        file = place / f"digit {digits.classes[label]}" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file)
    (place / "digit 3" / "holiday.png").write_text("This is a letter, not an image.")
    return place


folder = Path(MINE).expanduser() if MINE else example_folder(WORKSHOP / "my digits")
if MINE:
    net = labkit.load_backbone("resnet10")  # it knows photographs
    whole = labkit.load_data(folder, size=64, test=0.2)
else:
    whole = labkit.load_data(folder, size=32, test=0.2, flip=False)
print(whole)
whole.report.table()

# %% [markdown]
# Read the report first. What was left out, and why? Then look at some images, and ask who or what is on both sides of
# the split. labkit finds copies. It cannot know that two images show the same person.
#
# Now lock the test split away, before you have seen anything of it. What is left is all that you may work with.

# %%
sealed = learn.seal(whole)
data = sealed.data
print(sealed)
print(
    f"left to work with: {len(data.train)} train, {len(data.valid)} validate, {len(data.test)} test"
)

# %% [markdown]
# ## Choose a plan within a budget
#
# Three plans, the same seed, the same seconds. Each has more epochs than it can pay for.

# %%
SECONDS = 2.5
types = {HEAD: ("head", 0.01), UPPER: ("layer4", 1e-3), WHOLE: ("all", 1e-3)}

tried = {}
for name, (depth, lr) in types.items():
    plan = labkit.partial(depth, lr=lr, epochs=1000, batch_size=20)
    run = labkit.Run(net, data, plan, seed=0, budget=SECONDS).fit()
    tried[name] = run.evaluate("valid")
    print(f"{name:16} {run.step_number:4} steps, {run.epoch:3} epochs   {tried[name]}")
del run


# %%
def is_ahead(name):
    """Whether a plan lies above the intervals of all others."""
    others = [tried[other] for other in tried if other != name]
    return all(tried[name].accuracy > other.interval[1] for other in others)


ahead = [name for name in tried if is_ahead(name)]
learn.reveal("16-plan", ahead[0] if ahead else NEITHER)

# %% [markdown]
# Compare the steps. A frozen part is computed once, so the head alone pays for many more steps than the others.
# Whether steps are worth anything is another matter, and the intervals say how sure you can be of the order.
# Where no difference shows, take what is cheapest. It is also the one that forgets least and is trained again fastest.
#
# This was a trial, and a cut plan is no good plan. Its rate never came down, and its last epoch was left half done.
# So the real run gets a plan that ends by itself, well within what you can pay.
#
# One thing more. What the clock has cut may come out otherwise tomorrow, and the choice with it. So write your choice
# down: put a name in place of what is computed here.

# %%
chosen = ahead[0] if ahead else HEAD
depth, lr = types[chosen]
plan = labkit.partial(depth, lr=lr, epochs=8, batch_size=20, schedule="cosine", warmup=0.1)
final = labkit.Run(net, data, plan, seed=0, budget=60, name="the one I sign").fit()
print(final)
print(f"ended by the {final.ended_by}; {final.budget}")
labkit.compare([final])

# %% [markdown]
# ## Open the test split, once
#
# So far every look was at validation, and validation has chosen the plan. It can no longer judge it fairly.
# Look once more at what is wrong and at what is uncertain, while you may still change something.

# %%
labkit.worst_images(final, count=6)

# %% [markdown]
# Is that the network you would sign? Then open the split. After this cell no other run can be judged by it.
# The same run may be asked again, so that the notebook can be run twice.

# %%
try:
    judged = sealed.open(final)
    print(judged)
except labkit.LabkitError as refused:
    judged = None
    print(refused)

# %%
low, high = final.evaluate("valid").interval
found = sealed.opened
share = found["correct"] / found["count"]
learn.reveal("16-test", BELOW if share < low else ABOVE if share > high else INSIDE)

# %% [markdown]
# Each split has few images, so each number has a wide interval. A test accuracy a little lower is no surprise: the best
# of several looks better than it is. A test accuracy far lower says that validation was used up.

# %% [markdown]
# ## A report for the one who asks how you know
#
# One page: plan, data, curves, intervals, mistakes, cost, card, versions. It is one file that loads nothing.
# Open it in a browser. To have a PDF, print it from there.

# %%
report = labkit.report(final, WORKSHOP / "report.html", test=judged)
print(report)
report

# %% [markdown]
# ## A parcel for the one who wants to run it
#
# The weights go into a safetensors file, to the bit, and a model card lies beside it. It says what a network is, what
# it learned from, how well it does, and under which licence the data are (Mitchell et al., 2019).
#
# ONNX is for programs that know no torch. The file holds the computation itself. labkit compares it with torch on real
# images before it writes it, and refuses where a class differs.
#
# The last line writes a learner that fastai's `load_learner` opens without labkit. It is a pickle, and opening a pickle
# runs what is written in it, so open only your own. To have it, take the `#` away; fastai takes seconds to load.

# %%
try:
    parcel = labkit.export(final, WORKSHOP, test=judged)
except labkit.LabkitError as missing:
    print(missing)
    parcel = labkit.export(final, WORKSHOP, formats=["safetensors"], test=judged)
# print(labkit.export(final, WORKSHOP, formats=["safetensors", "fastai"], test=judged))
parcel

# %%
print(parcel.card)

# %% [markdown]
# Now be the other one. Read the parcel as a program would that has never seen this notebook, and count.

# %%
images, _ = data.valid.batch(range(len(data.valid)))
said = final.evaluate("valid").predictions

back = labkit.load_backbone(net.name, weights=WORKSHOP / "model.safetensors")
ours, theirs = final.model.state_dict(), back.trained().state_dict()
differ = sum(not torch.equal(ours[name], theirs[name]) for name in ours)
print(f"safetensors: {differ} of {len(ours)} tensors differ")
with torch.no_grad():
    scores = back.trained()(images)

if (WORKSHOP / "model.onnx") in parcel.files:
    import onnxruntime

    session = onnxruntime.InferenceSession(WORKSHOP / "model.onnx")
    scores = torch.from_numpy(session.run(["scores"], {"pictures": images.numpy()})[0])
    print("ONNX was read by onnxruntime, without torch")

others = int((scores.argmax(1) != said).sum())
print(f"{others} of {len(said)} validation images get another class")

# %%
learn.reveal("16-parcel", NONE if others == 0 else SOME if others < 3 else MANY)

# %% [markdown]
# A network in ONNX computes in another order and rounds in other places, so its probabilities differ far behind the
# point. A class differs where two are nearly alike, and that is rare. What goes wrong in practice lies elsewhere: the
# other program cuts, scales or normalises the image in another way. Our file normalises by itself, and takes pixels
# from 0 to 1.
#
# Where an image of a hundred does differ, look at the number format in the card. labkit trains in the one that is
# fastest on this machine. The parcel is in full precision.

# %% [markdown]
# ## Try it on an image
#
# A file in, classes out, and beside them where the network looks for the first one.

# %%
learn.classify(final, folder / data.valid.names[0], top=3)

# %% [markdown]
# The same as a panel. Choose an image from your disk, or drop one on it. Try one that belongs to no class at all:
# a face, a shoe, a blank page. What does the network say, and how sure is it?

# %%
learn.predict_panel(final)

# %% [markdown]
# It has no word for "none of these". A softmax shares out all it has, whatever it is shown. Whoever uses your network
# will show it such images on the first day, so write into the card what it was made for.

# %% [markdown]
# ## The same on photographs
#
# Ants and bees, with the backbone that knows photographs. Where does the network look?

# %%
photos = learn.photographs()
if photos is None:
    shown = None
    print("The photographs are not on this machine. To fetch them: labkit data fetch ants-bees")
else:
    plan = labkit.feature_extraction(lr=0.01, epochs=5)
    photo_run = labkit.Run(labkit.load_backbone("resnet10"), photos, plan, seed=0, budget=20).fit()
    print(photo_run.evaluate("valid"), "for", f"{photo_run.budget.spent:.1f} processor seconds")
    shown = labkit.grad_cam(photo_run, images=[0, 1, 2, 90, 91, 92])
shown

# %% [markdown]
# ## Your turn in the console
#
# The console opens on your folder, with sixty processor seconds. The line at the top tells how many are spent.
#
# 1. Train for a few epochs, pause, and wait. Do seconds go by while nothing trains?
# 2. Rewind to an early step and train on. Did you get the seconds back? Then branch: whose seconds does a branch spend?
# 3. Freeze more, and watch how fast the seconds go now. How good can you become on validation before the last one?

# %%
playground = labkit.Run(
    net, data, labkit.full(lr=1e-3, epochs=200, batch_size=20), seed=0, budget=60
)
labkit.console(playground)

# %% [markdown]
# ## Exercise 1 · A loop that keeps to a budget
#
# {exercise:16-budget}
#
# Call `step()` while fewer than `seconds` are spent, and return how many steps you took. `clock()` tells seconds, and
# nobody says where it begins. A step that has begun is finished.


# %% tags=["stub"]
def spend(step, clock, seconds):
    """Take steps within a budget; returns how many."""
    raise NotImplementedError


# %% tags=["solution"]
def spend(step, clock, seconds):
    """Take steps within a budget; returns how many."""
    began, steps = clock(), 0
    while clock() - began < seconds:
        step()
        steps += 1
    return steps


# %%
learn.check("16-budget", spend)

# %% [markdown]
# ## Exercise 2 · An answer that people can read
#
# {exercise:16-top}
#
# A network gives `scores`, one a class. Return the `count` likeliest classes as pairs of name and probability, the
# likeliest first. Where more are asked for than there are, give those there are.


# %% tags=["stub"]
def likeliest(scores, classes, count):
    """Pairs (name, probability), the likeliest first."""
    raise NotImplementedError


# %% tags=["solution"]
def likeliest(scores, classes, count):
    """Pairs (name, probability), the likeliest first."""
    shares, places = scores.softmax(dim=0).topk(min(count, len(classes)))
    pairs = zip(places.tolist(), shares.tolist(), strict=True)
    return [(classes[place], share) for place, share in pairs]


# %%
learn.check("16-top", likeliest)

# %% [markdown]
# ## Exercise 3 · How far two answers are apart
#
# {exercise:16-same}
#
# Two programs ran the same network. Both give probabilities for the same images, of the shape (images, classes).
# Return the largest difference as one number. Where one of them is not a number, return `math.inf`.


# %% tags=["stub"]
def largest_difference(ours, theirs):
    """How far two sets of probabilities are apart, at most."""
    return (ours - theirs).max().item()


# %% tags=["solution"]
import math


def largest_difference(ours, theirs):
    """How far two sets of probabilities are apart, at most."""
    apart = (ours - theirs).abs()
    return apart.max().item() if torch.isfinite(apart).all() else math.inf


# %%
learn.check("16-same", largest_difference)

# %% [markdown]
# ## What the evidence says
#
# A folder of your own is on no record. But each choice of this lesson rests on a claim that was put to a rule before
# the runs. Here they are in the order in which you need them.
#
# | The choice | The claim | The record says |
# |---|---|---|
# | look at the labels, or collect more | clean labels beat more labels | {verdict:11} |
# | begin from pre-trained weights | pre-trained is more accurate on small data | {verdict:3} |
# | of a related source | a related source transfers better | {verdict:10} |
# | head, upper stages or everything | which type wins depends on the amount of data | {verdict:13} |
# | find the rate before anything else | it matters more than batch size and weight decay | {verdict:15} |
# | augment | it reduces overfitting on small data | {verdict:7} |
# | watch validation | it picks a better model than training to the end | {verdict:8} |
# | pay for fine-tuning, not for training from scratch | it costs a fraction | {verdict:14} |
#
# - **Begin from pre-trained weights.** Everything trained, against from scratch:
#   {evidence:head-start/digits-10/fine-tuned against head-start/digits-10/from-scratch} on digits with ten labels a
#   class, and {evidence:head-start/ants-bees/fine-tuned against head-start/ants-bees/from-scratch} on ants and bees.
# - **Mend labels before you collect more.** Ten right labels a class of digits, against forty of which a fifth are
#   wrong, make {evidence:label-noise/digits/everything-10 against label-noise/digits/everything-40-wrong-0.2}. On ants
#   and bees the like makes
#   {evidence:label-noise/ants-bees/everything-30 against label-noise/ants-bees/everything-120-wrong-0.2}.
# - **Try the three types, the record does not choose for you.** Everything, against the head alone, makes
#   {evidence:amount/digits-50/full against amount/digits-50/linear-probe} with fifty labels a class of digits. On all
#   ants and bees it makes {evidence:amount/ants-bees-all/full against amount/ants-bees-all/linear-probe}.
#
# What is not on record here: your images. That is what the sealed split was for.

# %% [markdown]
# ## Quiz
#
# Your first choice counts. Every option answers with a reason, so go on choosing until it is right.

# %%
learn.quiz("16")

# %% [markdown]
# ## Pitfalls
#
# - **A schedule that never comes down.** A plan that the budget cuts ends at a high rate. Plan for what you can pay.
# - **Comparing by epochs.** An epoch of the head and an epoch of everything have different prices.
# - **Counting wall seconds.** They measure also what else the machine was doing.
# - **A second look at the test split.** The second run is chosen by it, and nothing is left to judge with.
# - **An export that nobody checked.** Compare on real images, and look at the largest difference, not at the mean.
# - **Preparing images twice.** A file that normalises by itself must not be given normalised images.
# - **A network without a card.** In a year nobody knows what it was made for, you included.

# %% [markdown]
# ## Summary
#
# - A folder, a report of its files, a sealed test split: in this order, before the first step.
# - A budget is seconds of the processor. The log says where it cut, so a replay needs no clock.
# - Choose on validation. Open the test split once, for the run you sign.
# - A report says what was done and how sure the numbers are. A card travels with the weights.
# - An export is checked on real images before anyone is given it.
# - The network answers for its classes only, and is sure about images it has never been meant for.
#
# This is the end of the part on images. Go back to any lesson with a folder of your own.
#
# Your guesses over the whole course:

# %%
learn.score()

# %% [markdown]
# And the way you came. What you left open is still there.

# %%
learn.course_map()

# %% [markdown]
# ## References
#
# - Mitchell, M., et al. (2019). Model cards for model reporting. *Conference on Fairness, Accountability, and Transparency*.
# - Gebru, T., et al. (2021). Datasheets for datasets. *Communications of the ACM*, 64(12).
# - Dodge, J., Gururangan, S., Card, D., Schwartz, R., & Smith, N. A. (2019). Show your work: Improved reporting of
#   experimental results. *EMNLP-IJCNLP*. Results as a function of the budget.
# - Schwartz, R., Dodge, J., Smith, N. A., & Etzioni, O. (2020). Green AI. *Communications of the ACM*, 63(12).
# - Selvaraju, R. R., et al. (2017). Grad-CAM: Visual explanations from deep networks via gradient-based localization.
#   *ICCV*.
# - Dwork, C., et al. (2015). The reusable holdout: Preserving validity in adaptive data analysis. *Science*, 349(6248).
# - Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference. *Journal of the American
#   Statistical Association*, 22(158).
