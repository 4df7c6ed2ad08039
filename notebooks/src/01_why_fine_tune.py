# %% [markdown]
# # 01 · Why fine-tune?
#
# - **You will be able to:** say what a pre-trained start buys, in four currencies, and measure it on a task of your own.
# - **Time:** 45 minutes, of which the machine works for about one.
# - **Memory:** below 1.4 GB.
# - **Builds on:** lesson 00.

# %% [markdown]
# ## The question
#
# A museum wants its handwritten inventory numbers read by a machine. Two offers lie on the table.
#
# One firm trains a network for this museum alone, from random weights. It asks for a thousand labelled digits.
# The other takes a network that has learned letters somewhere else, and fine-tunes it. It asks for thirty.
#
# Somebody has to sit down and type the labels. Each of them is paid for.
# What does such a start really buy? And is there anything that it does not buy?

# %% [markdown]
# ## Predict
#
# Two guesses, both about digits. The answers come from recorded runs.

# %%
from labkit import learn

learn.predict(
    "01-labels",
    "A pre-trained network is fine-tuned with 3 labels a class. With how many labels a class is "
    "training from scratch as accurate?",
    choices=("fewer than 6", "6 to 20", "more than 20"),
)

# %%
learn.predict(
    "01-steps",
    "Ten labels a class. From scratch ends with some accuracy. How many times as many steps does it "
    "take to get there as fine-tuning does?",
    choices=("less than twice as many", "2 to 10 times as many", "more than 10 times as many"),
)

# %% [markdown]
# ## The idea in plain PyTorch
#
# One training loop, run twice. Nothing differs but the weights below the head, and the rate that suits each.
# Even the random head is the same, because it is drawn from the same seed.

# %%
import torch
from torch import nn

import labkit

data = labkit.load_data("digits").subset(per_class=10)
net = labkit.load_backbone("resnet10-glyphs")
unseen, truth = data.valid.batch(range(len(data.valid)))


def accuracy(model):
    """The share of the validation digits that the model gets right."""
    model.eval()
    with torch.no_grad():
        return int((model(unseen).argmax(dim=1) == truth).sum()) / len(truth)


def train(model, lr, epochs=5):
    """The usual loop; returns the accuracy before training and after each epoch."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    chance = torch.Generator().manual_seed(0)
    curve = [accuracy(model)]
    for _ in range(epochs):
        model.train()
        for indices in torch.randperm(len(data.train), generator=chance).split(20):
            images, labels = data.train.batch(indices)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        curve.append(accuracy(model))
    return curve


curves = {
    "pre-trained": train(net.build(10, seed=0), lr=1e-3),
    "random": train(net.build(10, seed=0, pretrained=False), lr=3e-3),
}
for name, curve in curves.items():
    for epoch, share in enumerate(curve):
        print(f"{name:12} epoch {epoch}  {share:4.0%}  {'▬' * round(40 * share)}")

# %% [markdown]
# Both begin by guessing, because neither head has learned a digit yet.
# After one epoch one of them reads, and the other one still guesses for the most part.
#
# So the head start is not knowledge of digits. It is a set of features in which digits are easy to tell apart.

# %% [markdown]
# ## The same through labkit
#
# `full` begins from pre-trained weights, `from_scratch` from random ones. All else is a plan like any other.

# %%
from labkit.show import figures

shared = {"epochs": 6, "batch_size": 20}
tuned = labkit.Run(net, data, labkit.full(lr=1e-3, **shared), seed=0, name="fine-tuned").fit()
fresh = labkit.Run(
    net, data, labkit.from_scratch(lr=3e-3, **shared), seed=0, name="from scratch"
).fit()
figures.plot_history([tuned, fresh])

# %%
print("fine-tuned:  ", tuned.evaluate("valid"))
print("from scratch:", fresh.evaluate("valid"))
del tuned, fresh  # a network that is not needed should not take memory

# %% [markdown]
# Look at the dashed lines, too. Both learn their hundred training digits by heart.
# What differs is how much of it holds for digits that they have not seen.
#
# That was one seed. From here on the pictures show recorded runs, with five seeds each.

# %% [markdown]
# ## First currency: accuracy
#
# The same labels, the same epochs. How accurate is each in the end? A dot is one run, and all panels have one scale.

# %%
from labkit.course.lesson_01 import figures as head_start

head_start.accuracy()

# %% [markdown]
# Read the three panels of digits in order. With more labels the gap closes.
# With three labels a class the head start makes
# {evidence:head-start/digits-3/fine-tuned against head-start/digits-3/from-scratch}. With fifty it makes
# {evidence:head-start/digits-50/fine-tuned against head-start/digits-50/from-scratch}.
#
# So whoever asks how much pre-training gains must also say with how many labels.

# %% [markdown]
# ## Second currency: labels
#
# Turn the question round. Hold the accuracy, and ask for labels. In the picture that leads to the right.
# The arrow begins at the fewest labels, fine-tuned. It ends where training from scratch is as accurate.

# %%
head_start.labels()

# %%
learn.reveal("01-labels", head_start.labels_to_match(3), bounds=(6, 20))

# %% [markdown]
# Every label along the arrow is one that somebody would have to give. This is the currency in which most people pay,
# because images are cheap and labels are not.

# %% [markdown]
# ## Third currency: steps
#
# Now hold the labels, and look at the time. The dotted line is what training from scratch ends with.
# A diamond marks the step at which each start first had as much.

# %%
head_start.steps()

# %%
from labkit.course import evidence

slow, quick = (
    evidence.estimate(f"head-start/digits-10/{way}-to-scratch").mean
    for way in ("from-scratch", "fine-tuned")
)
learn.reveal("01-steps", slow / quick, bounds=(2, 10))

# %% [markdown]
# Compare the whole curves, not only the diamonds. After its first epoch fine-tuning has done most of its work.
# From scratch is half-way at best.

# %% [markdown]
# ## Fourth currency: seconds
#
# Steps are not what a bill shows. It shows machine time. Here is what the processor needed to the same dotted line.

# %%
head_start.seconds()

# %% [markdown]
# Everything trains in both, so a step costs the same, and the seconds follow the steps.
# Freeze some stages, and a step becomes cheaper as well. That is a lever of its own, in lesson 05.
#
# A fifth currency is missing here: energy. Nobody measured it in these runs. Lesson 13 will.

# %% [markdown]
# ## Would training longer do?
#
# From scratch is behind. Perhaps all it needs is time? Here it trains four times as long.

# %%
head_start.steps(longer=True)

# %% [markdown]
# It does not catch up. It has learned its few examples long ago, and more passes over them teach it nothing new.
# With few labels the shortage is not one of time. Pre-training brings what the labels cannot: having seen more.
#
# With plenty of labels that is different. Then training from scratch often arrives at the same place, only later
# (He et al., 2019).

# %% [markdown]
# ## Who paid for the head start?
#
# So far pre-training was free. Somebody did it for us. The card of the weights tells what they did.

# %%
recipe = net.card.recipe
looked = recipe["epochs"] * recipe["steps_per_epoch"] * recipe["batch_size"]
saved = (slow - quick) * 20  # twenty images a step
print(f"pre-training looked at an image {looked:,} times")
print(f"fine-tuning saves about {saved:,.0f} looks, each time digits are learned")
print(f"so the looks come back after about {looked / saved:,.0f} such tasks")

# %% [markdown]
# For one small task, pre-training to save machine time is a poor bargain. It pays in three cases:
# somebody has paid already, many tasks share it, or what you lack is not machine time but labels.
#
# The third case is the usual one. Even four times the steps from scratch did not reach what fine-tuning ended with.

# %% [markdown]
# ## The same on photographs
#
# Ants and bees, and a network that has seen photographs of other things.

# %%
photos = learn.photographs()
if photos is None:
    print("The photographs are not on this machine. To fetch them: labkit data fetch ants-bees")
else:
    photo_net = labkit.load_backbone("resnet10")
    for plan in (labkit.full(lr=3e-4, epochs=4), labkit.from_scratch(lr=1e-3, epochs=4)):
        photo_run = labkit.Run(photo_net, photos, plan, seed=0).fit()
        print(f"{plan.name:12}", photo_run.evaluate("valid"))
        del photo_run

# %% [markdown]
# ## Your turn in the console
#
# The console opens on fine-tuning. A head start can be thrown away, and you will do that.
#
# 1. Run it. After how many steps are nine of ten validation digits right?
# 2. Rewind to step 0. Find a learning rate that throws the head start away, so that the curve looks like from scratch.
# 3. Rewind once more, and freeze all but the head. Try the same rate. What is left of the head start now?

# %%
playground = labkit.Run(net, data, labkit.full(lr=1e-3, epochs=200, batch_size=20), seed=0)
labkit.console(playground)

# %% [markdown]
# ## Exercise 1 · When was it there?
#
# {exercise:01-steps-to}
#
# `run.history` is a table with a row for each training step and for each look at the validation split.
# The first look is at step 0, before any training. Return the step of the first look with an accuracy of `goal` or
# more. Return `None` if there is no such look. Do not count on the rows being in order.


# %% tags=["stub"]
def steps_to(history, goal):
    """The step at which the validation accuracy is first `goal` or more, or None."""
    raise NotImplementedError


# %% tags=["solution"]
def steps_to(history, goal):
    """The step at which the validation accuracy is first `goal` or more, or None."""
    reached = history[(history.split == "valid") & (history.accuracy >= goal)]
    return None if reached.empty else int(reached.step.min())


# %%
learn.check("01-steps-to", steps_to)

# %% [markdown]
# ## Exercise 2 · Is the difference there?
#
# {exercise:01-labels-saved}
#
# Did the labels that were saved cost accuracy? Recorded runs can tell, if one subtracts in the right order.
# Runs with one seed share their digits and their order, so they have good or bad luck together.
# Subtract seed by seed, and the shared luck is gone.
#
# `rows` has a row for each run, with `key`, `seed` and `accuracy`. Return three numbers: by how much `ours` is more
# accurate than `theirs` on the mean, and the lower and upper end of its 95 % interval. Use the seeds that both have.

# %%
from scipy.stats import t

rows = evidence.rows("fewer-labels")
rows[["key", "seed", "accuracy"]].head(7)


# %% tags=["stub"]
def gain(rows, ours, theirs):
    """Mean, low and high of the accuracy of `ours` less that of `theirs`, paired by seed."""
    raise NotImplementedError


# %% tags=["solution"]
def gain(rows, ours, theirs):
    """Mean, low and high of the accuracy of `ours` less that of `theirs`, paired by seed."""
    mine, other = (rows[rows.key == key].set_index("seed").accuracy for key in (ours, theirs))
    difference = (mine - other).dropna()
    n = len(difference)
    half = t.ppf(0.975, n - 1) * difference.std() / n**0.5
    return difference.mean(), difference.mean() - half, difference.mean() + half


# %%
learn.check("01-labels-saved", gain)

# %% [markdown]
# ## What the evidence says
#
# From recorded runs, five seeds a setting, with 95 % intervals over seeds. Everything trains, from either start, each
# at a rate that was chosen on other examples. A rule decides each claim.
#
# A rule is worth most where it was written before the runs. Of the twenty claims of this course the history of its
# code shows that for eleven. For the other nine, rule and record came together, and nobody can see which was first.
# So those nine were asked again, with five seeds that were new, by the rule as it stood. Both answers are given.
#
# ### Accuracy
#
# | After the same epochs | fine-tuned | from scratch | difference |
# |---|---|---|---|
# | digits, three labels a class | {evidence:head-start/digits-3/fine-tuned} | {evidence:head-start/digits-3/from-scratch} | {evidence:head-start/digits-3/fine-tuned against head-start/digits-3/from-scratch} |
# | digits, ten labels a class | {evidence:head-start/digits-10/fine-tuned} | {evidence:head-start/digits-10/from-scratch} | {evidence:head-start/digits-10/fine-tuned against head-start/digits-10/from-scratch} |
# | digits, fifty labels a class | {evidence:head-start/digits-50/fine-tuned} | {evidence:head-start/digits-50/from-scratch} | {evidence:head-start/digits-50/fine-tuned against head-start/digits-50/from-scratch} |
# | ants and bees | {evidence:head-start/ants-bees/fine-tuned} | {evidence:head-start/ants-bees/from-scratch} | {evidence:head-start/ants-bees/fine-tuned against head-start/ants-bees/from-scratch} |
#
# - **Pre-trained is more accurate on small data: {verdict:3}.**

# %% [markdown]
# ### Labels
#
# That two accuracies are equal cannot be shown. But one can show that the one is hardly below the other.
# The rule allows one point: less than four of the digits that were counted, and less than two of the photographs.
# So the lower end of the last column must lie above minus one.
#
# | Fine-tuned with half the labels | fine-tuned, half | from scratch, all | difference |
# |---|---|---|---|
# | digits, five labels a class against ten | {evidence:fewer-labels/digits-5/fine-tuned} | {evidence:fewer-labels/digits-10/from-scratch} | {evidence:fewer-labels/digits-5/fine-tuned against fewer-labels/digits-10/from-scratch} |
# | digits, ten against twenty | {evidence:fewer-labels/digits-10/fine-tuned} | {evidence:fewer-labels/digits-20/from-scratch} | {evidence:fewer-labels/digits-10/fine-tuned against fewer-labels/digits-20/from-scratch} |
# | digits, fifty against a hundred | {evidence:fewer-labels/digits-50/fine-tuned} | {evidence:fewer-labels/digits-100/from-scratch} | {evidence:fewer-labels/digits-50/fine-tuned against fewer-labels/digits-100/from-scratch} |
# | ants and bees, sixty a class against all | {evidence:fewer-labels/ants-bees-60/fine-tuned} | {evidence:fewer-labels/ants-bees-120/from-scratch} | {evidence:fewer-labels/ants-bees-60/fine-tuned against fewer-labels/ants-bees-120/from-scratch} |
#
# - **Pre-trained needs fewer labels for equal accuracy: {verdict:2}.**
# - **Look twice at the third row.** There both are near the ceiling, and a point is much of what is left.
#   Half of the labels did as well as all of them, and no better.
# - **How far does it go?** The rule does not ask, but the record answers. Three labels a class, fine-tuned, against ten
#   from scratch make {evidence:fewer-labels/digits-3/fine-tuned against fewer-labels/digits-10/from-scratch}.
#   Thirty photographs a class against all make
#   {evidence:fewer-labels/ants-bees-30/fine-tuned against fewer-labels/ants-bees-120/from-scratch}.

# %% [markdown]
# ### Steps and seconds
#
# | Until what from scratch ends with | fine-tuned | from scratch | difference |
# |---|---|---|---|
# | digits, steps | {evidence:head-start/digits-10/fine-tuned-to-scratch} | {evidence:head-start/digits-10/from-scratch-to-scratch} | {evidence:head-start/digits-10/fine-tuned-to-scratch against head-start/digits-10/from-scratch-to-scratch} |
# | ants and bees, steps | {evidence:head-start/ants-bees/fine-tuned-to-scratch} | {evidence:head-start/ants-bees/from-scratch-to-scratch} | {evidence:head-start/ants-bees/fine-tuned-to-scratch against head-start/ants-bees/from-scratch-to-scratch} |
# | digits, processor time | {evidence:head-start/digits-10/fine-tuned-to-scratch/seconds} | {evidence:head-start/digits-10/from-scratch-to-scratch/seconds} | {evidence:head-start/digits-10/fine-tuned-to-scratch/seconds against head-start/digits-10/from-scratch-to-scratch/seconds} |
# | ants and bees, processor time | {evidence:head-start/ants-bees/fine-tuned-to-scratch/seconds} | {evidence:head-start/ants-bees/from-scratch-to-scratch/seconds} | {evidence:head-start/ants-bees/fine-tuned-to-scratch/seconds against head-start/ants-bees/from-scratch-to-scratch/seconds} |
#
# - **Pre-trained converges in fewer steps: {verdict:1}.**
# - **It costs less compute to a given accuracy: {verdict:4}.**
# - **What the new seeds changed.** On digits they say the same:
#   {confirmed:head-start/digits-10/fine-tuned-to-scratch against head-start/digits-10/from-scratch-to-scratch}. On ants
#   and bees fine-tuned was ahead with each of the five. But from scratch took very different numbers of steps,
#   so the interval is wide: {confirmed:head-start/ants-bees/fine-tuned-to-scratch against head-start/ants-bees/from-scratch-to-scratch}.
#   It holds zero, and the rule says no. A rule that is kept only when it pleases is no rule.
# - **Fine-tuning costs a fraction of training from scratch: {verdict:14}.** The other way round, from scratch never
#   reached what fine-tuning ends with, on either data set, in four times the steps. The rule leaves out
#   what pre-training itself has cost. You have seen above how much that is.

# %% [markdown]
# ## Quiz
#
# Your first choice counts. Every option answers with a reason, so go on choosing until it is right.

# %%
learn.quiz("01")

# %% [markdown]
# ## Pitfalls
#
# - **Leaving out who paid.** Say whether the cost of pre-training is in your number. Both answers are honest.
# - **Leaving out where it comes from.** Letters are close to digits. What a start buys is the price of one source.
#   Lesson 02 tries others.
# - **A lame opponent.** From scratch at the small rate of fine-tuning looks hopeless. Tune both, or the
#   comparison is about rates.
# - **Choosing the goal afterwards.** With a high goal from scratch never arrives, with a low one both are there at once.
#   Choose it before the runs.
# - **Reading "no difference" as "equal".** A wide interval around zero shows neither. Say how much you would forgive.

# %% [markdown]
# ## Summary
#
# - A pre-trained start buys accuracy, labels, steps and seconds. Which of them counts is for you to say.
# - The fewer labels there are, the more it buys. With plenty, what is left is mostly time.
# - Training longer from scratch is no substitute, as long as labels are what is short.
# - It was paid for by someone, on another task.
#
# Lesson 02 goes on from here. What does such a network know before anyone trains it, and does the other task matter?
#
# Your guesses so far:

# %%
learn.score()

# %% [markdown]
# ## References
#
# - Yosinski, J., Clune, J., Bengio, Y., & Lipson, H. (2014). How transferable are features in deep neural
#   networks? *Advances in Neural Information Processing Systems 27*.
# - Kornblith, S., Shlens, J., & Le, Q. V. (2019). Do better ImageNet models transfer better? *CVPR*.
# - He, K., Girshick, R., & Dollár, P. (2019). Rethinking ImageNet pre-training. *ICCV*. From scratch arrives too, with
#   enough data and time.
# - Raghu, M., Zhang, C., Kleinberg, J., & Bengio, S. (2019). Transfusion: Understanding transfer learning for medical
#   imaging. *Advances in Neural Information Processing Systems 32*. Where a distant source buys little.
# - Piaggio, G., Elbourne, D. R., Pocock, S. J., Evans, S. J. W., & Altman, D. G. (2012). Reporting of noninferiority
#   and equivalence randomized trials. *JAMA, 308*(24), 2594–2604. How to show that something is no worse.
# - Student (1908). The probable error of a mean. *Biometrika, 6*(1), 1–25. The interval over seeds.
