# %% [markdown]
# # 09 · Overfitting, underfitting, augmentation: when do I stop?
#
# - **You will be able to:** read a pair of curves, stop a run in time, and say what augmentation and weight decay did to it.
# - **Time:** 45 minutes, of which the machine works for about one.
# - **Memory:** below 1.4 GB.
# - **Builds on:** lessons 05, 06 and 07.

# %% [markdown]
# ## The question
#
# A hundred handwritten digits, ten of each. The labels were typed in a hurry, and some of them are wrong.
# Two people fine-tune the same network on them and leave it running over night.
#
# In the morning every training image is right. One ships the model of the morning.
# The other ships the one that was saved after a few minutes. Which of the two is better?
# And could anyone have known it in the evening?

# %% [markdown]
# ## Predict
#
# Three guesses. The first two differ in the labels alone.

# %%
from labkit import learn

LAST, SAME, BEST = "the last, by a point or more", "about the same", "the best, by a point or more"

learn.predict(
    "09-morning",
    "Some labels are wrong, and the learning rate stays as it is. The epoch with the lowest validation loss, "
    "or the last of twenty: which is right more often on new digits?",
    choices=(LAST, SAME, BEST),
)

# %%
learn.predict(
    "09-evening",
    "The same question with the same digits, but now every label is right. Which one?",
    choices=(LAST, SAME, BEST),
)

# %%
TRAINING, VALIDATION = "training", "validation"

learn.predict(
    "09-above",
    "Training images are strongly changed at random, validation images never. "
    "Which of the two accuracies is higher at the end?",
    choices=(TRAINING, VALIDATION),
)

# %% [markdown]
# ## The idea in plain PyTorch
#
# A network that goes on learning has two things to learn: what digits look like, and which label each image has.
# The first serves new images. The second serves nobody. The validation split shows when the first is done.
#
# So train an epoch, ask the validation split, and remember the weights where its loss was lowest.
# Stop when some epochs in a row were no better. Their number is the patience.

# %%
import copy

import torch
from torch import nn

import labkit
from labkit.records.sabotage import bugs

clean = labkit.load_data("digits").subset(per_class=10)
data = bugs.shuffle_labels(clean, share=0.3, seed=0)  # three labels in ten, drawn at random
wrong = int((data.train.labels != clean.train.labels).sum())
print(f"{wrong} of {len(data.train)} labels are wrong")

net = labkit.load_backbone("resnet10-glyphs")
model = net.build(len(data.classes), seed=0)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
chance = torch.Generator().manual_seed(0)
watched, answers = data.valid.batch(range(len(data.valid)))

lowest, best, patience = float("inf"), 0, 3
for epoch in range(1, 21):
    model.train()
    for indices in torch.randperm(len(data.train), generator=chance).split(20):
        images, labels = data.train.batch(indices)
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    model.eval()
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model(watched), answers).item()
    if loss < lowest:
        lowest, best = loss, epoch
        kept = copy.deepcopy(model.state_dict())
    print(f"epoch {epoch:2}   validation loss {loss:.2f}   {'kept' if best == epoch else ''}")
    if epoch - best >= patience:
        break

model.load_state_dict(kept)
print(f"back to epoch {best}")

# %% [markdown]
# Three lines do the work: remember, compare, go back. The copy must be a deep one. `state_dict()` hands out the very
# tensors that the next step will change.
#
# This is early stopping (Prechelt, 1998). It needs a validation split that nobody trains on, and a little patience.

# %% [markdown]
# ## The same through labkit
#
# First three runs to look at, all on the hurried labels. One may move only its head, on a backbone that knows nothing.
# One learns everything by heart. One is given changed images in every epoch, so that learning by heart is hard.

# %%
from labkit import insight

del model, optimizer, kept  # a run brings its own
under = labkit.feature_extraction(
    lr=1e-3, epochs=20, batch_size=20, pretrained=False, name="underfitting"
)
over = labkit.full(lr=1e-3, epochs=20, batch_size=20, name="overfitting")
fitted = over.with_(augment="strong", schedule="cosine", name="fitted")

runs = [labkit.Run(net, data, plan, seed=0).fit() for plan in (under, fitted, over)]
labkit.compare(runs)

# %% [markdown]
# Read the dashed line and the solid one of the same colour together.
#
# - **Underfitting:** both are poor, and close together. There is too little that may learn, or it learns too slowly.
# - **Overfitting:** training goes on getting better, validation loss turns and rises.
# - **Fitted:** validation is as good as it gets, and stays there.
#
# The coach reads the same curves. It knows no more than you do, but it never gets tired.

# %%
for run in runs:
    print(f"{run.name:12}  {insight.diagnose(run)}\n")

# %%
from labkit.tuning import EpochDone

last = [event for _, event in runs[1].journal.since() if isinstance(event, EpochDone)][-1]
above = last.valid_correct / last.valid_count > last.train_correct / last.train_count
learn.reveal("09-above", VALIDATION if above else TRAINING)

# %% [markdown]
# With augmentation the training curve is about harder images than the validation curve, and here also about wrong
# labels. So the two may cross, and nothing is wrong. To learn what the network knows of its training images, ask it
# about the images as they are:

# %%
for run in runs:
    train, valid = run.evaluate("train"), run.evaluate("valid")
    print(f"{run.name:12}  training {train.accuracy:.0%}   validation {valid.accuracy:.0%}")

# %% [markdown]
# ## Early stopping through labkit
#
# A run tells every event as it happens, and it can be rewound. That is all early stopping needs.


# %%
def fit_patiently(run, patience=3):
    """Train until the validation loss has not been lower for `patience` epochs, then be where it was lowest."""
    best = None
    for event in run.events():
        if not isinstance(event, EpochDone):
            continue
        if best is None or event.valid_loss < best.valid_loss:
            best = event
        elif event.epoch - best.epoch >= patience:
            break
    return run.rewind(best.step)


stopped = fit_patiently(labkit.Run(net, data, over, seed=0, name="stopped in time"))
for run in (stopped, runs[2]):
    print(f"{run.name:16} {run.epoch:2} epochs   {run.evaluate('test')}")
del run, runs, stopped  # networks that are not needed should not take memory

# %% [markdown]
# The weights are those of the best epoch, and so is everything else: the optimiser, the order of the images, the
# history. One may go on from there, with other settings.
#
# The accuracies are of the **test split**. The validation split has chosen the epoch, so it can no longer judge it.
# Why that is so takes no network to see.

# %% [markdown]
# ## The luck of the best
#
# Twenty epochs, all equally good. Each is asked about a few images. How good does the best of them look?

# %%
TRUE = 0.9
chance = torch.Generator().manual_seed(0)
for count in (20, 100, 359):
    looks = torch.binomial(
        torch.full((1000, 20), float(count)), torch.full((1000, 20), TRUE), generator=chance
    )
    seen = (looks / count).max(dim=1).values.mean()
    print(f"{count:3} images: the best of twenty looks {seen:.1%} right, and is {TRUE:.0%} right")

# %% [markdown]
# The best of many looks better than it is, and the fewer images there are to watch, the more so.
# Two remedies: a test split that has chosen nothing, and a validation split that is not tiny.

# %% [markdown]
# ## Augmentation: more images from the same ones
#
# A shifted three is still a three. Whoever learns it by heart in one place does not know it in the next.
# labkit has two levels, and draws anew for every image in every epoch.

# %%
from labkit.course.lesson_09 import figures as stopping

photos = learn.photographs()
shown = photos or clean
stopping.views(shown.train, [0, len(shown.train) - 1], shown.classes)

# %% [markdown]
# Look whether you could still name each image. If you could not, neither can the network, and the label is wrong by
# our own doing. What is harmless depends on the task: a mirrored bee is a bee, a mirrored digit is none. So the
# card of a data set says whether it may be mirrored, and `digits` says no.
#
# What it does to the curves, from recorded runs with some wrong labels: the line goes through the means of five
# seeds, and the band is the 95 % interval.

# %%
stopping.courses("digits-10-wrong-labels")

# %% [markdown]
# Compare the two panels. What makes the training curve worse may make the validation curve better.

# %% [markdown]
# ## Weight decay
#
# Weight decay pulls every weight towards zero, a little at each step. In AdamW that little is the rate times the
# decay. So one can tell without any run what it does to a weight that no gradient holds.

# %%
for decay in (0.01, 0.1, 1.0):
    left = (1 - 1e-3 * decay) ** 100
    print(f"weight decay {decay:<4}   after a hundred steps at a rate of 0.001: {left:.1%} is left")

# %% [markdown]
# A fine-tuning of a hundred steps hardly notices the usual value. Weight decay was made for long training.
# The record below has a run with a hundred times as much.

# %% [markdown]
# ## The same on photographs
#
# Ants and bees, the upper stage and the head, with and without augmentation. The labels are as they came.

# %%
if photos is None:
    print("The photographs are not on this machine. To fetch them: labkit data fetch ants-bees")
else:
    photo_net = labkit.load_backbone("resnet10")
    for level in ("none", "strong"):
        plan = labkit.partial("layer4", lr=1e-3, epochs=5, augment=level)
        run = labkit.Run(photo_net, photos, plan, seed=0).fit()
        train, valid = run.evaluate("train"), run.evaluate("valid")
        print(f"{level:6}  training {train.accuracy:.0%}   validation {valid.accuracy:.0%}")
    del run

# %% [markdown]
# ## Your turn in the console
#
# The console opens on the hurried labels, with everything thawed and more epochs than anyone needs.
#
# 1. Let it train until the coach says that it overfits. Which epoch does it name?
# 2. Rewind to the step at which that epoch ended. Set the augmentation to strong, and go on. What becomes of the gap?
# 3. Rewind once more. Try a weight decay of 1 in place of augmentation. Which of the two would you keep?

# %%
playground = labkit.Run(net, data, labkit.full(lr=1e-3, epochs=200, batch_size=20), seed=0)
labkit.console(playground)

# %% [markdown]
# ## Exercise 1 · Weights that stay kept
#
# {exercise:09-keep}
#
# Write the function that early stopping calls at a new best epoch. It returns the state of a model, to be given to
# `model.load_state_dict` later. Training goes on meanwhile, and must not reach what you kept.


# %% tags=["stub"]
def remember(model):
    """The state of the model as it is now."""
    return model.state_dict()


# %% tags=["solution"]
def remember(model):
    """The state of the model as it is now."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


# %%
learn.check("09-keep", remember)

# %% [markdown]
# ## Exercise 2 · The epoch to go back to
#
# {exercise:09-patience}
#
# A list holds the validation loss after each epoch, from epoch 1 on. Training stops after `patience` epochs in a row
# without a new lowest loss, or at the end of the list. Return the epoch whose weights are kept.


# %% tags=["stub"]
def stop_epoch(losses, patience):
    """The epoch, counted from 1, to go back to."""
    raise NotImplementedError


# %% tags=["solution"]
def stop_epoch(losses, patience):
    """The epoch, counted from 1, to go back to."""
    best, lowest = 0, float("inf")
    for epoch, loss in enumerate(losses, 1):
        if loss < lowest:
            best, lowest = epoch, loss
        elif epoch - best >= patience:
            break
    return best


# %%
learn.check("09-patience", stop_epoch)

# %% [markdown]
# ## Exercise 3 · An augmentation that keeps the label
#
# {exercise:09-augment}
#
# Shift each image of a batch by whole pixels, at most `most` up or down and at most `most` left or right. Each image
# gets a shift of its own, drawn from the generator and from nothing else. Black, which is 0, comes in at the edge.


# %% tags=["stub"]
def shift(images, most, generator):
    """Images (n, c, h, w), each moved by its own whole number of pixels."""
    raise NotImplementedError


# %% tags=["solution"]
def shift(images, most, generator):
    """Images (n, c, h, w), each moved by its own whole number of pixels."""
    height, width = images.shape[-2:]
    padded = nn.functional.pad(images, (most, most, most, most))
    tops, lefts = torch.randint(2 * most + 1, (2, len(images)), generator=generator).tolist()
    windows = [
        image[:, top : top + height, left : left + width]
        for image, top, left in zip(padded, tops, lefts, strict=True)
    ]
    return torch.stack(windows)


# %%
learn.check("09-augment", shift)

# %% [markdown]
# ## What the evidence says
#
# From recorded runs, several seeds a setting, with 95 % intervals over seeds. Everything trains, far longer than it
# needs to. For both claims a rule was written before the runs, and the verdict is what the rule says.
#
# What the epoch with the lowest validation loss gains over the last one, on a test split that has chosen nothing:

# %%
stopping.picked()

# %%
from labkit.course import evidence

gains = {
    place: evidence.estimate(
        f"when-to-stop/{place}/constant-rate/by-loss", f"when-to-stop/{place}/constant-rate"
    ).mean
    for place in ("digits-10-wrong-labels", "digits-10")
}
learn.reveal("09-morning", gains["digits-10-wrong-labels"], bounds=(-0.01, 0.01))

# %%
learn.reveal("09-evening", gains["digits-10"], bounds=(-0.01, 0.01))

# %% [markdown]
# | Test accuracy | rate | last epoch | lowest validation loss | difference | most right on validation, difference |
# |---|---|---|---|---|---|
# | digits, three labels a class | falls to zero | {evidence:when-to-stop/digits-3/none} | {evidence:when-to-stop/digits-3/none/by-loss} | {evidence:when-to-stop/digits-3/none/by-loss against when-to-stop/digits-3/none} | {evidence:when-to-stop/digits-3/none/by-accuracy against when-to-stop/digits-3/none} |
# | | constant | {evidence:when-to-stop/digits-3/constant-rate} | {evidence:when-to-stop/digits-3/constant-rate/by-loss} | {evidence:when-to-stop/digits-3/constant-rate/by-loss against when-to-stop/digits-3/constant-rate} | {evidence:when-to-stop/digits-3/constant-rate/by-accuracy against when-to-stop/digits-3/constant-rate} |
# | digits, ten labels a class | falls to zero | {evidence:when-to-stop/digits-10/none} | {evidence:when-to-stop/digits-10/none/by-loss} | {evidence:when-to-stop/digits-10/none/by-loss against when-to-stop/digits-10/none} | {evidence:when-to-stop/digits-10/none/by-accuracy against when-to-stop/digits-10/none} |
# | | constant | {evidence:when-to-stop/digits-10/constant-rate} | {evidence:when-to-stop/digits-10/constant-rate/by-loss} | {evidence:when-to-stop/digits-10/constant-rate/by-loss against when-to-stop/digits-10/constant-rate} | {evidence:when-to-stop/digits-10/constant-rate/by-accuracy against when-to-stop/digits-10/constant-rate} |
# | the same, some labels wrong | falls to zero | {evidence:when-to-stop/digits-10-wrong-labels/none} | {evidence:when-to-stop/digits-10-wrong-labels/none/by-loss} | {evidence:when-to-stop/digits-10-wrong-labels/none/by-loss against when-to-stop/digits-10-wrong-labels/none} | {evidence:when-to-stop/digits-10-wrong-labels/none/by-accuracy against when-to-stop/digits-10-wrong-labels/none} |
# | | constant | {evidence:when-to-stop/digits-10-wrong-labels/constant-rate} | {evidence:when-to-stop/digits-10-wrong-labels/constant-rate/by-loss} | {evidence:when-to-stop/digits-10-wrong-labels/constant-rate/by-loss against when-to-stop/digits-10-wrong-labels/constant-rate} | {evidence:when-to-stop/digits-10-wrong-labels/constant-rate/by-accuracy against when-to-stop/digits-10-wrong-labels/constant-rate} |
# | the same, twenty images to watch | constant | {evidence:when-to-stop/digits-10-few-to-watch/constant-rate} | {evidence:when-to-stop/digits-10-few-to-watch/constant-rate/by-loss} | {evidence:when-to-stop/digits-10-few-to-watch/constant-rate/by-loss against when-to-stop/digits-10-few-to-watch/constant-rate} | {evidence:when-to-stop/digits-10-few-to-watch/constant-rate/by-accuracy against when-to-stop/digits-10-few-to-watch/constant-rate} |
# | ants and bees | falls to zero | {evidence:when-to-stop/ants-bees/none} | {evidence:when-to-stop/ants-bees/none/by-loss} | {evidence:when-to-stop/ants-bees/none/by-loss against when-to-stop/ants-bees/none} | {evidence:when-to-stop/ants-bees/none/by-accuracy against when-to-stop/ants-bees/none} |
# | | constant | {evidence:when-to-stop/ants-bees/constant-rate} | {evidence:when-to-stop/ants-bees/constant-rate/by-loss} | {evidence:when-to-stop/ants-bees/constant-rate/by-loss against when-to-stop/ants-bees/constant-rate} | {evidence:when-to-stop/ants-bees/constant-rate/by-accuracy against when-to-stop/ants-bees/constant-rate} |
#
# - **Watching validation picks a better model than training to the end: {verdict:8}.** It depends on the labels.
#   Where some were wrong, the best epoch beat the last one by far, at either rate.
# - **With right labels it gained nothing that shows, and it cost nothing that shows.** Nearly every training image was
#   learned by heart there too. That alone does no harm: all those intervals hold zero.
# - **A rate that falls to zero is no cure.** It leaves the network where learning by heart has brought it.
# - **Patience saves time.** With wrong labels, a patience of three ended the runs at a constant rate after
#   {evidence:when-to-stop/digits-10-wrong-labels/constant-rate/patient-epochs}, and their best was as good as the
#   best of all twenty: {evidence:when-to-stop/digits-10-wrong-labels/constant-rate/patient}.
# - **How many images must one watch?** Chosen by twenty of them, the best epoch gained
#   {evidence:when-to-stop/digits-10-few-to-watch/constant-rate/by-loss against when-to-stop/digits-10-few-to-watch/constant-rate}.
#   Chosen by all, it gained
#   {evidence:when-to-stop/digits-10-wrong-labels/constant-rate/by-loss against when-to-stop/digits-10-wrong-labels/constant-rate}.

# %% [markdown]
# ### Does augmentation reduce overfitting?
#
# The gap: accuracy on the training images as they are, less accuracy on validation, at the end.
#
# | Gap | no augmentation | light | strong | light, against none | strong, against none |
# |---|---|---|---|---|---|
# | digits, three labels a class | {evidence:when-to-stop/digits-3/none/gap} | {evidence:when-to-stop/digits-3/light/gap} | {evidence:when-to-stop/digits-3/strong/gap} | {evidence:when-to-stop/digits-3/light/gap against when-to-stop/digits-3/none/gap} | {evidence:when-to-stop/digits-3/strong/gap against when-to-stop/digits-3/none/gap} |
# | digits, ten labels a class | {evidence:when-to-stop/digits-10/none/gap} | {evidence:when-to-stop/digits-10/light/gap} | {evidence:when-to-stop/digits-10/strong/gap} | {evidence:when-to-stop/digits-10/light/gap against when-to-stop/digits-10/none/gap} | {evidence:when-to-stop/digits-10/strong/gap against when-to-stop/digits-10/none/gap} |
# | the same, some labels wrong | {evidence:when-to-stop/digits-10-wrong-labels/none/gap} | {evidence:when-to-stop/digits-10-wrong-labels/light/gap} | {evidence:when-to-stop/digits-10-wrong-labels/strong/gap} | {evidence:when-to-stop/digits-10-wrong-labels/light/gap against when-to-stop/digits-10-wrong-labels/none/gap} | {evidence:when-to-stop/digits-10-wrong-labels/strong/gap against when-to-stop/digits-10-wrong-labels/none/gap} |
# | ants and bees | {evidence:when-to-stop/ants-bees/none/gap} | {evidence:when-to-stop/ants-bees/light/gap} | {evidence:when-to-stop/ants-bees/strong/gap} | {evidence:when-to-stop/ants-bees/light/gap against when-to-stop/ants-bees/none/gap} | {evidence:when-to-stop/ants-bees/strong/gap against when-to-stop/ants-bees/none/gap} |
#
# A smaller gap is not yet a better network. So the same runs on the test split:
#
# | Test accuracy | no augmentation | light | strong | light, against none | strong, against none |
# |---|---|---|---|---|---|
# | digits, three labels a class | {evidence:when-to-stop/digits-3/none} | {evidence:when-to-stop/digits-3/light} | {evidence:when-to-stop/digits-3/strong} | {evidence:when-to-stop/digits-3/light against when-to-stop/digits-3/none} | {evidence:when-to-stop/digits-3/strong against when-to-stop/digits-3/none} |
# | digits, ten labels a class | {evidence:when-to-stop/digits-10/none} | {evidence:when-to-stop/digits-10/light} | {evidence:when-to-stop/digits-10/strong} | {evidence:when-to-stop/digits-10/light against when-to-stop/digits-10/none} | {evidence:when-to-stop/digits-10/strong against when-to-stop/digits-10/none} |
# | the same, some labels wrong | {evidence:when-to-stop/digits-10-wrong-labels/none} | {evidence:when-to-stop/digits-10-wrong-labels/light} | {evidence:when-to-stop/digits-10-wrong-labels/strong} | {evidence:when-to-stop/digits-10-wrong-labels/light against when-to-stop/digits-10-wrong-labels/none} | {evidence:when-to-stop/digits-10-wrong-labels/strong against when-to-stop/digits-10-wrong-labels/none} |
# | ants and bees | {evidence:when-to-stop/ants-bees/none} | {evidence:when-to-stop/ants-bees/light} | {evidence:when-to-stop/ants-bees/strong} | {evidence:when-to-stop/ants-bees/light against when-to-stop/ants-bees/none} | {evidence:when-to-stop/ants-bees/strong against when-to-stop/ants-bees/none} |
#
# - **Augmentation reduces overfitting on small data: {verdict:7}.** With some wrong labels, the strong level closed
#   most of the gap, and accuracy rose with it. Images that never look the same are hard to learn by heart.
# - **With right labels on digits it did not.** Every image was learned at every level, and new digits were right as
#   often as before.
# - **The light level is too light against wrong labels.** The gap there even grew.
# - **A smaller gap is not a better network.** On ants and bees the strong level made the gap smaller, and the network
#   worse. What it had not learned of the training images it did not know of new ones either.
# - **Weight decay.** A hundred times the usual value, with some wrong labels, changed the gap by
#   {evidence:when-to-stop/digits-10-wrong-labels/decay/gap against when-to-stop/digits-10-wrong-labels/none/gap}
#   and accuracy by {evidence:when-to-stop/digits-10-wrong-labels/decay against when-to-stop/digits-10-wrong-labels/none}.

# %% [markdown]
# ## Quiz
#
# Your first choice counts. Every option answers with a reason, so go on choosing until it is right.

# %%
learn.quiz("09")

# %% [markdown]
# ## Pitfalls
#
# - **Stopping at the first epoch that is no better.** Validation wanders. Give it patience.
# - **Keeping the last weights.** The run has stopped, but the weights are from after the best epoch. Go back.
# - **Keeping a name for the weights, not a copy.** They go on changing under your hands.
# - **Reporting the number that chose.** The best of many looks better than it is. Report a test split.
# - **Augmenting the validation images.** Then each epoch is asked something else.
# - **An augmentation that changes the answer.** A mirrored digit, a turned arrow, a cropped-out bee.

# %% [markdown]
# ## Summary
#
# - Underfitting: both curves are poor. Overfitting: training improves while validation loss rises.
# - Early stopping is three lines: remember the best, count the epochs since, go back.
# - It pays where there is something wrong to learn by heart. With right labels it gained nothing here.
# - What chose an epoch can no longer judge it.
# - Augmentation makes learning by heart harder, and sometimes learning, too. Judge it by validation, not by the gap.
# - Weight decay hardly acts within the few steps of a fine-tuning.
#
# In lesson 14, the clinic, the patients are runs whose curves often look sound, and nobody tells you what they have.
#
# Your guesses so far:

# %%
learn.score()

# %% [markdown]
# ## References
#
# - Prechelt, L. (1998). Early stopping, but when? In *Neural Networks: Tricks of the Trade*, Springer.
# - Caruana, R., Lawrence, S., & Giles, C. L. (2000). Overfitting in neural nets: Backpropagation, conjugate gradient,
#   and early stopping. *Advances in Neural Information Processing Systems 13*.
# - Cawley, G. C., & Talbot, N. L. C. (2010). On over-fitting in model selection and subsequent selection bias in
#   performance evaluation. *Journal of Machine Learning Research 11*.
# - Zhang, C., Bengio, S., Hardt, M., Recht, B., & Vinyals, O. (2017). Understanding deep learning requires rethinking
#   generalization. *ICLR*. Networks learn wrong labels by heart.
# - Shorten, C., & Khoshgoftaar, T. M. (2019). A survey on image data augmentation for deep learning. *Journal of Big
#   Data 6*.
# - Loshchilov, I., & Hutter, F. (2019). Decoupled weight decay regularization. *ICLR*. The optimiser used here.
