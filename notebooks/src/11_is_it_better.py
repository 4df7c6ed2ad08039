# %% [markdown]
# # 11 · Evaluate and iterate: is it really better?
#
# - **You will be able to:** say how sure a number is, compare two ways fairly, and see what kind of mistakes are left.
# - **Time:** 50 minutes, of which the machine works for about one.
# - **Memory:** below 1.4 GB.
# - **Builds on:** lessons 05, 07 and 09.

# %% [markdown]
# ## The question
#
# A machine sorts parcels by a handwritten digit. Somebody changes a setting, trains again, and validation accuracy
# rises by one point. The change goes live on Monday. A month later as many parcels go astray as before,
# and nearly all of them belong to one district.
#
# The number was right. Someone had measured it, and nobody had lied.
# Then what should have been asked before Monday?

# %% [markdown]
# ## Predict
#
# Three guesses. The first two are about choosing, the third is about the network's own opinion.

# %%
from labkit import learn

COIN, MOSTLY, NEARLY = (
    "about half the time",
    "about seven times in ten",
    "nine times in ten or more",
)

learn.predict(
    "11-one-seed",
    "One way to train is better than another by about one point, on average. Each is trained once, and fifty "
    "images judge. How often has the better one more right answers?",
    choices=(COIN, MOSTLY, NEARLY),
)

# %%
WORSE, SAME, BETTER = (
    "clearly worse than it looked",
    "about as good",
    "clearly better than it looked",
)

learn.predict(
    "11-best",
    "Two dozen networks are judged by the same forty images, and the best is taken. How does it do on other images?",
    choices=(WORSE, SAME, BETTER),
)

# %%
LOW, HALF, HIGH = "below 40 %", "from 40 to 70 %", "above 70 %"

learn.predict(
    "11-sure",
    "A fine-tuned network takes a digit for another one. How sure was it of its wrong answers, on average?",
    choices=(LOW, HALF, HIGH),
)

# %% [markdown]
# ## The idea in plain PyTorch
#
# An accuracy is a count: so many right, of so many. Other images would have given another count.
# How different it might have been can be asked of the images at hand.
#
# First a head, trained on what a frozen backbone makes of a hundred digits. The test split goes behind a seal, and
# stays there until the end of the lesson.

# %%
import torch
from torch import nn

import labkit

sealed = learn.seal(labkit.load_data("digits", seed=11))
data = sealed.data.subset(per_class=10)
net = labkit.load_backbone("resnet10-glyphs")
model = net.build(len(data.classes), seed=0).eval()


def describe(model, images):
    """The features of images (n, 3, h, w), a row each."""
    with torch.no_grad():
        for name, stage in model.named_children():
            if name != "head":
                images = stage(images)
    return images.mean((2, 3))


images, labels = data.train.batch(range(len(data.train)))
watched, truth = data.valid.batch(range(len(data.valid)))
learned, unseen = describe(model, images), describe(model, watched)

head = nn.Linear(learned.shape[1], len(data.classes))
optimizer = torch.optim.AdamW(head.parameters(), lr=0.01)
for _ in range(100):
    nn.functional.cross_entropy(head(learned), labels).backward()
    optimizer.step()
    optimizer.zero_grad()

right = head(unseen).argmax(1) == truth
print(f"{right.sum()} of {len(right)} right")

# %% [markdown]
# Now pretend that fewer images had been labelled. Draw from them again and again, as many as there are, with putting
# back. Each draw is a split that we might have had. This is the bootstrap (Efron, 1979).

# %%
chance = torch.Generator().manual_seed(0)
for count in (20, 100, len(right)):
    some = right[torch.randperm(len(right), generator=chance)[:count]].float()
    again = some[torch.randint(count, (2000, count), generator=chance)].mean(1)
    low, high = again.quantile(torch.tensor([0.025, 0.975])).tolist()
    print(
        f"{int(some.sum()):3} of {count:3} right: {some.mean():.1%}, and 95 % of draws {low:.1%} to {high:.1%}"
    )

# %% [markdown]
# The interval is what the number deserves. On a handful of images, one point more is less than one image more.
#
# Where all answers are right, each draw is all right too, and the bootstrap sees no doubt at all. There is a formula
# that does (Wilson, 1927). You will write it in the first exercise.

# %% [markdown]
# ## The same through labkit
#
# `evaluate` counts over the whole split, and gives Wilson's interval. Two ways to train, one seed each:

# %%
import pandas as pd

from labkit import insight

del model, head, optimizer, images, watched, learned, unseen
HEAD, UPPER = "head alone", "layer4 and head"
plans = {
    HEAD: labkit.feature_extraction(lr=1e-2, epochs=6, batch_size=20),
    UPPER: labkit.partial("layer4", lr=1e-3, epochs=6, batch_size=20),
}
runs = {name: labkit.Run(net, data, plan, seed=0, name=name).fit() for name, plan in plans.items()}
seen = {name: run.evaluate("valid") for name, run in runs.items()}
for name, found in seen.items():
    print(f"{name:16} {found}")

# %% [markdown]
# The two intervals overlap. Does that mean that nothing is known? Not quite. Both networks saw the same images, and
# most of these say nothing: both are right, or both are wrong. What counts are the images on which they differ.

# %%
told = {
    name: ["right" if one else "wrong" for one in found.predictions == found.targets]
    for name, found in seen.items()
}
table = pd.crosstab(pd.Series(told[HEAD]), pd.Series(told[UPPER]))
table.index = [f"{HEAD}: {one}" for one in table.index]
table.columns = [f"{UPPER}: {one}" for one in table.columns]
table

# %% [markdown]
# Two cells decide: right by one and wrong by the other (McNemar, 1947). If both ways were equally good, each such image
# would be the toss of a coin. How often do so many tosses come out as unevenly as that?

# %%
from scipy.stats import binomtest

first, second = (found.predictions == found.targets for found in seen.values())
gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
odds = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
print(
    f"{gained} images gained, {lost} lost. By tossing coins it would be as uneven {odds:.1%} of the time."
)

# %% [markdown]
# That is about these two networks. It says nothing about the next two, trained by the same two ways.
# For that one needs seeds.

# %% [markdown]
# ## Several seeds, in pairs
#
# Another seed is another head to begin with and another order of images. Here it also draws another hundred labels.
# Lucky labels help both ways. So compare within a seed, and what the two share falls out.

# %%
from labkit.course.lesson_11 import figures as judging


def accuracies(plan):
    """Validation accuracy by seed; each seed draws labels of its own."""
    found = {}
    for seed in range(5):
        drawn = sealed.data.subset(per_class=10, seed=seed)
        found[seed] = labkit.Run(net, drawn, plan, seed=seed).fit().evaluate("valid").accuracy
    return found


by_seed = {name: accuracies(plan) for name, plan in plans.items()}
judging.pairs(by_seed[UPPER], by_seed[HEAD], (UPPER, HEAD))

# %% [markdown]
# On the right are two intervals of the same difference. One knows which accuracies belong together, the other does not.
# Where the lines on the left are nearly parallel, knowing it makes the interval narrow. Where they cross at random, it
# gains nothing.
#
# An interval that holds zero does not say that both are equal. It says: not decided yet.

# %% [markdown]
# ## Better at what?
#
# One number for ten digits hides which of them go astray. A confusion matrix shows it: a row a digit, a column an
# answer.

# %%
from labkit.show import inside, predicted

predicted.plot_confusion(runs[UPPER])

# %% [markdown]
# Read it row by row, and look at the counts before the shares. With a few dozen images a class, each share has a wide
# interval of its own. They are in the table below the picture.
#
# Now to Monday. A change can win five sixes, lose four nines, and look like a small gain.
# So compare the matrices of both networks, cell by cell:

# %%
before, after = (
    insight.confusion(run).table.set_index(["true", "predicted"])["count"] for run in runs.values()
)
change = after.sub(before, fill_value=0).astype(int)
change = change[change != 0].sort_values().rename("change in images").reset_index()
change[change["true"] != change["predicted"]].style.hide(axis="index")

# %% [markdown]
# ## How sure is it?
#
# A network gives each answer a probability. If that can be believed, the machine can hand the doubtful parcels to a
# person. So sort the answers by how sure the network was, and count how many of each bin are right.

# %%
predicted.plot_calibration(runs[UPPER])

# %% [markdown]
# On the dashed line a network is as sure as it is right. Below the line it claims too much, above it too little. The
# lower panel says how many answers stand behind each point, and most of them lie at the far right.

# %%
found = seen[UPPER]
wrong = found.predictions != found.targets
sure = found.probabilities[wrong].amax(1).mean().item()
learn.reveal("11-sure", sure, bounds=(0.4, 0.7))

# %% [markdown]
# One number mends most of it. All scores are divided by a temperature, which makes the probabilities softer or sharper
# and leaves every answer as it is (Guo and others, 2017). It is fitted on validation. So validation cannot say how well
# it works, and we keep that question for the end.

# %%
temperature = insight.fit_temperature(runs[UPPER])
print(
    f"temperature {temperature.value:.2f}, fitted on {temperature.count} images of {temperature.split}"
)

# %% [markdown]
# ## The most wrong images
#
# No table replaces looking. These are the images whose true class got the least probability.

# %%
photos = learn.photographs()
if photos is None:
    judged = runs[UPPER]
    print("The photographs are not on this machine. To fetch them: labkit data fetch ants-bees")
else:
    plan = labkit.partial("layer4", lr=3e-4, epochs=4)
    judged = labkit.Run(labkit.load_backbone("resnet10"), photos, plan, seed=0).fit()
    print(judged.evaluate("valid"))

# %%
predicted.worst_images(judged, 12)

# %% [markdown]
# Ask of each image: would you have known it? Is the label right? What do the mistakes have in common?
# Of the photographs, for instance: what do those that were taken for bees show beside the animal?
# It may be a wrong label, a thing too small to see, or a background that belongs to the other class.
# Each asks for another remedy, and none of them for another learning rate.

# %% [markdown]
# ## Where did it look?
#
# Grad-CAM asks in which places of a picture the score of a class would rise most (Selvaraju and others, 2017).
# Here are the first six of those mistakes, and what spoke for the wrong answer.

# %%
mistakes = [guess.index for guess in insight.worst(judged.evaluate("valid"), 6)]
inside.plot_grad_cam(judged, mistakes)

# %% [markdown]
# A bright place says where, not why. Some such maps hardly change when the network is replaced by a random one
# (Adebayo and others, 2018). Take them as a question to look into. Where the light lies on a blossom and not on the
# animal, look for bees without a blossom, and for ants on one.

# %% [markdown]
# ## The best of many
#
# Now iterate: try things, keep the best, try again. Suppose that only forty images are there to choose by, as in
# many a small project. We hold the other validation images back, to see what nobody in such a project sees.

# %%
from dataclasses import replace

del judged
order = torch.randperm(len(data.valid), generator=torch.Generator().manual_seed(0))
few, held_back = (data.valid.take(part.sort().values) for part in (order[:40], order[40:]))

rows = []
for lr in (3e-3, 1e-2, 3e-2):
    plan = labkit.feature_extraction(lr=lr, epochs=6, batch_size=20)
    for seed in range(8):
        drawn = replace(sealed.data.subset(per_class=10, seed=seed), valid=few)
        run = labkit.Run(net, drawn, plan, seed=seed).fit()
        results = run.evaluate("valid").accuracy, run.evaluate(held_back).accuracy
        rows.append((f"rate {lr:g}, seed {seed}", *results))

LOOKED, WAS = "on the 40 that choose", f"on {len(held_back)} others"
tried = pd.DataFrame(rows, columns=["candidate", LOOKED, WAS])
tried = tried.sort_values(LOOKED, ascending=False, ignore_index=True)
tried.head(6).style.format({LOOKED: "{:.1%}", WAS: "{:.1%}"}).hide(axis="index")

# %%
print(
    f"mean of all candidates: {tried[LOOKED].mean():.1%} on the 40, {tried[WAS].mean():.1%} on the others"
)
best = tried.iloc[0]
learn.reveal("11-best", best[WAS] - best[LOOKED], bounds=(-0.02, 0.02))

# %% [markdown]
# The best of many is partly good and partly lucky. The choice keeps the luck, and new images do not.
# More images to choose by, and means over seeds in place of single runs, leave less room for luck.
# But whatever has chosen looks better than it is.

# %% [markdown]
# ## Open it once
#
# So the last number comes from images that have chosen nothing. Ours have been behind a seal since the first cell:
# `sealed.data` has no test split to stumble over. First we choose, by the means over seeds. Then we open.

# %%
means = {name: sum(found.values()) / len(found) for name, found in by_seed.items()}
choice = max(means, key=means.get)
final = sealed.open(runs[choice])
print(f"chosen: {choice}\n{final}")

# %% [markdown]
# That is the number to report, with its interval. Also ask it the question that we kept: does the temperature that was
# fitted on validation help on images it never saw?

# %%
predicted.plot_calibration(
    insight.calibration(final),
    insight.calibration(final, temperature=insight.fit_temperature(runs[choice])),
)

# %% [markdown]
# And the other network? Just to know? That is how a test split becomes a validation split.

# %%
from labkit.errors import SealError

other = next(name for name in runs if name != choice)
try:
    sealed.open(runs[other])
except SealError as refusal:
    print(refusal)

# %% [markdown]
# The seal goes by the images themselves, and remembers in your progress file. A new kernel does not mend it. The same
# run may be asked again, so you can run this notebook twice. If you change a plan above and come back here, you
# will be refused, and rightly so.

# %% [markdown]
# ## Your turn in the console
#
# The console opens on `layer4` and the head. Below its curves it offers to look closer.
#
# 1. Run it for some epochs and pause. Look closer at which class is taken for which, and write the mistakes down.
# 2. Branch from an early step, and change something. Go on until a branch beats the first run. How many did it take?
# 3. Look at the same table for that branch. Which mistakes are gone, and which are new?
# 4. Would you ship that branch? Say what you would have to do first.

# %%
playground = labkit.Run(
    net, data, labkit.partial("layer4", lr=1e-3, epochs=200, batch_size=20), seed=0
)
labkit.console(playground)

# %% [markdown]
# ## Exercise 1 · An accuracy with its interval
#
# {exercise:11-count}
#
# A split comes in batches, and each gives a pair: how many were right, of how many images. Return three numbers: the
# accuracy over all images, and the lower and the upper end of Wilson's 95 % interval. With $p$ for the accuracy, $n$
# for the number of images and $z = 1.96$, the ends are
#
# $$\frac{p + \frac{z^2}{2n} \pm z\,\sqrt{\frac{p(1-p)}{n} + \frac{z^2}{4n^2}}}{1 + \frac{z^2}{n}}$$


# %% tags=["stub"]
def score(batches):
    """(accuracy, low, high) over all batches of (right, images)."""
    raise NotImplementedError


# %% tags=["solution"]
def score(batches):
    """(accuracy, low, high) over all batches of (right, images)."""
    right, n = (sum(column) for column in zip(*batches, strict=True))
    p, z = right / n, 1.96
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5 / (1 + z**2 / n)
    return p, centre - half, centre + half


# %%
learn.check("11-count", score)

# %% [markdown]
# ## Exercise 2 · A difference, seed by seed
#
# {exercise:11-paired}
#
# Two dictionaries map seeds to accuracies. Return three numbers: the mean difference, ours less theirs, and both ends
# of its 95 % interval. Pair by seed, and leave out seeds that only one side has. `stdtrit(n - 1, 0.975)` from
# `scipy.special` is the quantile of Student's t for `n` differences.


# %% tags=["stub"]
def difference(ours, theirs):
    """(mean, low, high) of ours less theirs, in pairs."""
    raise NotImplementedError


# %% tags=["solution"]
def difference(ours, theirs):
    """(mean, low, high) of ours less theirs, in pairs."""
    from statistics import fmean, stdev

    from scipy.special import stdtrit

    gaps = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    half = stdtrit(len(gaps) - 1, 0.975) * stdev(gaps) / len(gaps) ** 0.5
    return fmean(gaps), fmean(gaps) - half, fmean(gaps) + half


# %%
learn.check("11-paired", difference)

# %% [markdown]
# ## Exercise 3 · Choose, then open
#
# {exercise:11-once}
#
# `candidates` maps a name to validation accuracies, one a seed. `open_test(name)` opens the test split for a candidate
# and gives its test accuracy. Choose the candidate with the highest mean. Return its name and the accuracy that you
# would report.


# %% tags=["stub"]
def choose(candidates, open_test):
    """(name, accuracy to report) of the best candidate."""
    results = {name: open_test(name) for name in candidates}
    best = max(results, key=results.get)
    return best, results[best]


# %% tags=["solution"]
def choose(candidates, open_test):
    """(name, accuracy to report) of the best candidate."""
    means = {name: sum(seen) / len(seen) for name, seen in candidates.items()}
    best = max(means, key=means.get)
    return best, open_test(best)


# %%
learn.check("11-once", choose)

# %% [markdown]
# ## What the evidence says
#
# From recorded runs: two ways to train, three rates each, ten seeds, on two data sets. What each run answers is on
# record, image by image. So a choice by fewer images or seeds can be replayed as often as one likes.
#
# Two of those ways, on all images and seeds that there are:

# %%
judging.pairing().style.format({"correlation over seeds": "{:.2f}"}).hide(axis="index")

# %% [markdown]
# On digits it is known which one is better. How often does a comparison find that out? With one seed, whoever has more
# right answers is named. With five, someone is named when the 95 % interval of the paired difference does not hold zero.

# %%
judging.named("digits-10")

# %%
table = judging.comparisons("digits-10").set_index(["pictures", "seeds"])
learn.reveal("11-one-seed", float(table.loc[(50, 1), "first"]), bounds=(0.6, 0.85))

# %% [markdown]
# On ants and bees it is not known: the interval of all runs together holds zero. The same comparisons there:

# %%
judging.named("ants-bees")

# %% [markdown]
# - **One seed often names the worse one.** Look at the striped pieces of the upper three bars on digits. They hardly
#   shrink from fifty images to two hundred, for the seed is to blame as well as the images.
# - **Five seeds with an interval hardly ever name the worse one.** Mostly they name nobody. That is no failure: so
#   few runs and images do not decide so small a difference.
# - **Where nothing is known, one seed names somebody all the same.** The more images, the surer it sounds. The interval
#   mostly keeps silent, as it should.
# - **Do pairs help? It depends on what is shared.** On digits each seed draws labels of its own. Lucky labels help both
#   ways, and in pairs the interval is narrower. On ants and bees all seeds learn from the same photographs. There the
#   two had no luck in common, and pairs gained nothing.

# %% [markdown]
# ### How lucky is the best?
#
# Any of those runs is a candidate. Some images choose the best of them. How good did it look, and how good is it?

# %%
judging.luck("digits-10")

# %%
judging.luck("ants-bees")

# %% [markdown]
# - **The best looks better than it is, everywhere.** More candidates make it worse, more images make it better.
# - **Choosing is worth something all the same.** The lower line rises, too, but slowly. What was gained is a part of
#   what it looked like.

# %% [markdown]
# ### How sure are they?
#
# Confidence is the mean probability of the answers that were given. The temperature was fitted on one half of the
# validation images, and all these numbers but the last are of the other half.
#
# | what trains | right | confidence | confidence less right | the same, at a fitted temperature | confidence when wrong |
# |---|---|---|---|---|---|
# | digits, `layer4` and head | {evidence:is-it-better/digits-10/layer4-0.001/right} | {evidence:is-it-better/digits-10/layer4-0.001/confidence} | {evidence:is-it-better/digits-10/layer4-0.001/confidence against is-it-better/digits-10/layer4-0.001/right} | {evidence:is-it-better/digits-10/layer4-0.001/confidence-scaled against is-it-better/digits-10/layer4-0.001/right} | {evidence:is-it-better/digits-10/layer4-0.001/sure-when-wrong} |
# | digits, head alone | {evidence:is-it-better/digits-10/head-0.01/right} | {evidence:is-it-better/digits-10/head-0.01/confidence} | {evidence:is-it-better/digits-10/head-0.01/confidence against is-it-better/digits-10/head-0.01/right} | {evidence:is-it-better/digits-10/head-0.01/confidence-scaled against is-it-better/digits-10/head-0.01/right} | {evidence:is-it-better/digits-10/head-0.01/sure-when-wrong} |
# | ants and bees, `layer4` and head | {evidence:is-it-better/ants-bees/layer4-0.0003/right} | {evidence:is-it-better/ants-bees/layer4-0.0003/confidence} | {evidence:is-it-better/ants-bees/layer4-0.0003/confidence against is-it-better/ants-bees/layer4-0.0003/right} | {evidence:is-it-better/ants-bees/layer4-0.0003/confidence-scaled against is-it-better/ants-bees/layer4-0.0003/right} | {evidence:is-it-better/ants-bees/layer4-0.0003/sure-when-wrong} |
# | ants and bees, head alone | {evidence:is-it-better/ants-bees/head-0.01/right} | {evidence:is-it-better/ants-bees/head-0.01/confidence} | {evidence:is-it-better/ants-bees/head-0.01/confidence against is-it-better/ants-bees/head-0.01/right} | {evidence:is-it-better/ants-bees/head-0.01/confidence-scaled against is-it-better/ants-bees/head-0.01/right} | {evidence:is-it-better/ants-bees/head-0.01/sure-when-wrong} |
#
# - **Fine-tuned networks are too sure: it depends.** On ants and bees both ways claimed more than they held. On digits
#   both claimed less.
# - **One temperature mends most of it.** It is least of a cure where a small half had to do for fitting.
# - **Wrong answers are not given in a low voice.** Look at the last column before you sort by confidence alone.

# %% [markdown]
# ## Quiz
#
# Your first choice counts. Every option answers with a reason, so go on choosing until it is right.

# %%
learn.quiz("11")

# %% [markdown]
# ## Pitfalls
#
# - **The mean of batch accuracies.** The short last batch weighs as much as a full one. Add up the counts.
# - **A number without its count.** Nine of ten and nine hundred of a thousand are the same share, and not the same news.
# - **The best seed.** Report the mean over seeds. The best one is luck, kept on purpose.
# - **Overlapping intervals taken for equality.** Look at the interval of the difference, in pairs.
# - **A test split opened for every candidate.** Then it is a second validation split.
# - **A map of light taken for a reason.** Grad-CAM shows a place. Why it matters is for you to find out.

# %% [markdown]
# ## Summary
#
# - An accuracy is a count, and comes with an interval.
# - Two networks: compare them on the same images. Two ways to train: compare them on the same seeds.
# - The best of many is partly lucky. Fewer images and more candidates mean more luck.
# - Look at the confusion matrix, at how sure the network is, and at its worst mistakes. The average hides all three.
# - The test split is opened once, for one network, after the choice.
#
# Your guesses so far:

# %%
learn.score()

# %% [markdown]
# ## References
#
# - Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference. *Journal of the American
#   Statistical Association 22*.
# - McNemar, Q. (1947). Note on the sampling error of the difference between correlated proportions or percentages.
#   *Psychometrika 12*.
# - Welch, B. L. (1947). The generalization of "Student's" problem when several different population variances are
#   involved. *Biometrika 34*.
# - Efron, B. (1979). Bootstrap methods: Another look at the jackknife. *The Annals of Statistics 7*.
# - Dietterich, T. G. (1998). Approximate statistical tests for comparing supervised classification learning algorithms.
#   *Neural Computation 10*.
# - Cawley, G. C., & Talbot, N. L. C. (2010). On over-fitting in model selection and subsequent selection bias in
#   performance evaluation. *Journal of Machine Learning Research 11*.
# - Guo, C., Pleiss, G., Sun, Y., & Weinberger, K. Q. (2017). On calibration of modern neural networks. *ICML*.
# - Selvaraju, R. R., Cogswell, M., Das, A., Vedantam, R., Parikh, D., & Batra, D. (2017). Grad-CAM: Visual explanations
#   from deep networks via gradient-based localization. *ICCV*.
# - Adebayo, J., Gilmer, J., Muelly, M., Goodfellow, I., Hardt, M., & Kim, B. (2018). Sanity checks for saliency maps.
#   *Advances in Neural Information Processing Systems 31*.
# - Bouthillier, X., Delaunay, P., Bronzi, M., et al. (2021). Accounting for variance in machine learning benchmarks.
#   *MLSys*.
