# %% [markdown]
# # 02 · The pre-trained model: what does it already know?
#
# - **You will be able to:** look inside a network before you train it, tell a related source from an unrelated one, and get answers without a label.
# - **Time:** 45 minutes, of which the machine works for about one.
# - **Memory:** below 1.4 GB.
# - **Builds on:** lessons 00 and 01.

# %% [markdown]
# ## The question
#
# You read handwritten forms, and two pre-trained networks are on offer. They have the same stages.
# One has learned from eighty thousand photographs of two hundred kinds of things. The other has seen the letters of some
# printed fonts, drawn and distorted by a program.
#
# A colleague says: take the photographs, more is better. The choice fixes what all later training starts from.
# Labels cost money, and you have thirty. Can you find out what a network knows before you spend them?

# %% [markdown]
# ## Predict
#
# Three guesses. No network in them is trained on a digit, not even its head.

# %%
from labkit import learn

FEW, SOME, MOST = "less than a quarter", "a quarter to three quarters", "more than three quarters"

learn.predict(
    "02-zero-shot",
    "The network of letters may answer o for 0, l for 1, z for 2, and so on. "
    "What share of handwritten digits does it name rightly?",
    choices=(FEW, SOME, MOST),
)

# %%
PIXELS, LETTERS, PHOTOGRAPHS = "bare pixels", "letters", "photographs"

learn.predict(
    "02-neighbours",
    "For each digit we look up the one most like it: by its pixels, by the features of letters, or by those of "
    "photographs. Which way finds the same digit most often?",
    choices=(PIXELS, LETTERS, PHOTOGRAPHS),
)

# %%
EARLY, MIDDLE, LATE = "the stem or layer1", "layer2 or layer3", "layer4"

learn.predict(
    "02-alike",
    "Both networks look at the same digits. At which stage do they see them most alike?",
    choices=(EARLY, MIDDLE, LATE),
)

# %% [markdown]
# ## The idea in plain PyTorch
#
# A network is a chain of stages, and each stage hands the next one a stack of maps. We stop before the head and look.
# The shape of the stack tells a story: channels, places down, places across.

# %%
import torch

import labkit

data = labkit.load_data("digits").subset(per_class=3)
letters = labkit.load_backbone("resnet10-glyphs")
model = letters.build(len(data.classes), seed=0).eval()

maps, truth = data.valid.batch(range(len(data.valid)))
print(f"{'input':7}", tuple(maps.shape[1:]))
with torch.no_grad():
    for name, stage in model.named_children():
        if name != "head":
            maps = stage(maps)
            print(f"{name:7}", tuple(maps.shape[1:]))

# %% [markdown]
# Places become fewer and channels more. Early maps say *where*, and something simple. Late maps say *what*, and hardly where.
#
# The weights come with a head of their own, made for letters. Nobody says it may not be asked about digits.

# %%
with torch.no_grad():
    said = letters.head(maps).argmax(dim=1)

names = letters.card.classes
for digit in range(10):
    taken = said[truth == digit].bincount(minlength=len(names)).topk(3).indices.tolist()
    print(f"a {data.classes[digit]} is mostly taken for: {', '.join(names[i] for i in taken)}")

# %% [markdown]
# It answers with letters, because it has nothing else. Are they the letters that you would have chosen?
# Keep the question for later.

# %% [markdown]
# ## The same through labkit
#
# A run holds a network and data together. It need not be trained to be looked at.

# %%
photographs = labkit.load_backbone("resnet10")
plan = labkit.feature_extraction(lr=0.01, epochs=24, batch_size=6)
by_letters = labkit.Run(letters, data, plan, seed=0, name="letters")
by_photographs = labkit.Run(photographs, data, plan, seed=0, name="photographs")

labkit.journey(by_letters, 3)

# %%
labkit.journey(by_photographs, 3)

# %% [markdown]
# The first convolution reads colours, so its filters can be drawn as colours. Deeper ones read maps, and have none.
# These are the filters of the two networks. What did each of them have to tell apart?

# %%
labkit.filters(by_letters)

# %%
labkit.filters(by_photographs)

# %% [markdown]
# Photographs have left edges in grey, and patches of colour. Letters are grey: nothing there ever had to tell one colour
# from another. So the colours in the filters of letters are mostly the noise that they began with.

# %% [markdown]
# ## What does it find alike?
#
# Here is a test that needs no head. Average each map over its places: that gives the features of an image.
# Then ask which other image has features in the most similar direction. The measure is the cosine similarity.
# First the network of letters, then that of photographs.

# %%
labkit.neighbours(by_letters, images=[0, 1, 2, 3], count=6)

# %%
labkit.neighbours(by_photographs, images=[0, 1, 2, 3], count=6)

# %% [markdown]
# Four digits are an anecdote. Take all of the validation split, and every stage.
# For each digit, is its nearest neighbour the same digit? Bare pixels are the baseline: they are a network with no stages.

# %%
from collections import OrderedDict

from torch import nn

from labkit import insight
from labkit.course import figures as charts


def bare(num_classes):
    """No network at all: the pixels in a row, and a head on them."""
    head = nn.Linear(3 * 32 * 32, num_classes)
    return nn.Sequential(OrderedDict(pixels=nn.Flatten(), head=head))


pixels = labkit.Backbone.from_module(bare, ("pixels", "head"), PIXELS)
by_pixels = labkit.Run(pixels, data, plan, seed=0, name=PIXELS)

same_digit = {
    run.name: {
        stage: insight.neighbours(run, stage, count=1).agreement for stage in run.stages[:-1]
    }
    for run in (by_letters, by_photographs, by_pixels)
}
level = {PIXELS: same_digit.pop(PIXELS)["pixels"]}
charts.by_stage(same_digit, "nearest neighbour of the same class (%)", levels=level)

# %%
found = {name: curve["layer4"] for name, curve in same_digit.items()} | level
learn.reveal("02-neighbours", max(found, key=found.get))

# %% [markdown]
# Read the early stages with care. Their features are means over all places, and what they know lies in the places.

# %% [markdown]
# ## Two upbringings
#
# Do the two networks see the same things? Centred kernel alignment compares what two stages make of the same images.
# It is 1 where they agree on which images are alike, and around 0 where they have nothing in common.

# %%
alike = insight.similarity(by_letters, by_photographs, stages=letters.stages[:-1])
labkit.similarity(alike)

# %%
most = alike.table.set_index("stage").cka.idxmax()
parts = dict.fromkeys(("stem", "layer1"), EARLY) | dict.fromkeys(("layer2", "layer3"), MIDDLE)
learn.reveal("02-alike", parts.get(most, LATE))

# %% [markdown]
# ## An answer without any label
#
# The old head knows letters, we want digits. So we say by hand which letters mean which digit.
# The list is from the spelling in which people once wrote words with digits. It was written before anyone saw an answer.

# %%
import pandas as pd

from labkit.insight.zero_shot import LETTERS_FOR_DIGITS

meant = {digit: " ".join(some) for digit, some in LETTERS_FOR_DIGITS.items()}
pd.Series(meant, name="meant by").rename_axis("digit").to_frame().T

# %% [markdown]
# The head gives each letter a probability. Those that mean the same digit are added up. All others are left out.
# This is a zero-shot baseline: not one label of the new task is used.

# %%
asked = insight.zero_shot(letters, data.valid, LETTERS_FOR_DIGITS)
print(asked)
learn.reveal("02-zero-shot", asked.accuracy, bounds=(0.25, 0.75))

# %%
from labkit.show import figures

figures.images(data.valid, insight.worst(asked, 12), data.classes)

# %% [markdown]
# Which digits suffer? Those for which no letter stands up.

# %%
right = asked.predictions == asked.targets
share = {name: float(right[truth == i].float().mean()) for i, name in enumerate(data.classes)}
pd.Series(share, name="named rightly").rename_axis("digit").to_frame().T.map("{:.0%}".format)

# %% [markdown]
# Now spend the thirty labels, three a class, on a new head. Nothing below it moves.

# %%
print("the old head, no label:     ", asked)
print("a new head, thirty labels:  ", by_letters.fit().evaluate("valid"))

# %% [markdown]
# The features were there all along. What was missing was someone to say what they are called.

# %% [markdown]
# ## Related, unrelated, or none
#
# The same thirty labels, four ways to describe a digit, and a new head on each. The fourth is a network that knows
# nothing: its weights are random. Each description has the rate that suits it, as on record.

# %%
from labkit.course import evidence

places = {s.plan.name: s.plan for s in evidence.find("source").settings if s.group == "digits-3"}
descriptions = {
    LETTERS: letters,
    PHOTOGRAPHS: photographs,
    "random network": labkit.load_backbone("resnet10", weights=None),
    PIXELS: pixels,
}
for name, net in descriptions.items():
    print(f"{name:15}", labkit.Run(net, data, places[name], seed=0).fit().evaluate("valid"))

# %% [markdown]
# One draw of thirty labels is one draw. These are the recorded runs: a dot is a seed, and seeds draw other labels.
# Mind the axes: each panel has a scale of its own.

# %%
TASKS = {
    "digits-3": "digits, 3 labels a class",
    "digits-10": "digits, 10 labels a class",
    "ants-bees": "ants and bees",
}
recorded = evidence.rows("source").rename(columns={"plan": "features of"}).replace({"group": TASKS})
figures.evidence(recorded, "accuracy", by="features of", panel="group", title="A head on features")

# %% [markdown]
# ## How far up is it general?
#
# People say that early layers are general and late ones are specific. Here is how to find out.
# Keep the stages up to one, frozen, and give all above it random weights. Train those. Then do so for the next stage.
#
# Where the two sources give the same, what was kept is general. Where they part, it is specific.
# The dotted line is a network in which nothing was kept.


# %%
def kept(group):
    """Recorded accuracy by the last stage that was kept, for both sources, and of nothing kept."""
    stages = ("layer1", "layer2", "layer3", "layer4")
    curves = {
        source: {
            stage: evidence.estimate(f"kept/{group}/{source}-up-to-{stage}") for stage in stages
        }
        for source in (LETTERS, PHOTOGRAPHS)
    }
    nothing = {"from scratch": evidence.estimate(f"kept/{group}/from-scratch")}
    return charts.by_stage(curves, "accuracy (%)", "kept frozen up to (stage)", nothing)


kept("digits-10")

# %% [markdown]
# The same for ants and bees. Now the photographs are the related source.

# %%
kept("ants-bees")

# %% [markdown]
# ## The same on photographs
#
# One of the two hundred old classes is a bee. None is an ant, so other small animals that crawl must stand in.

# %%
photos = learn.photographs()
if photos is None:
    print("The photographs are not on this machine. To fetch them: labkit data fetch ants-bees")
else:
    from labkit.insight.zero_shot import THINGS_FOR_INSECTS

    asked = insight.zero_shot(photographs, photos.valid, THINGS_FOR_INSECTS)
    print("the old head, no label:", asked)
    insects = labkit.Run(photographs, photos, labkit.feature_extraction(), name=PHOTOGRAPHS)
    same = insight.neighbours(insects, count=1).agreement
    print(f"nearest neighbour of the same class: {same:.0%}")

# %%
labkit.neighbours(insects, images=[2, 40, 90, 130], count=5) if photos else None

# %% [markdown]
# Look at what it finds alike. Often it is the flower, and not the insect on it.

# %% [markdown]
# ## Your turn in the console
#
# The console opens on the unrelated source: photographs, on digits, with only the head training.
#
# 1. Let it run until accuracy stands still. That is the ceiling of these features.
# 2. Thaw one stage after the other, from `layer4` downward, and wait each time. Where does the ceiling lift most?
# 3. Look at the drift. Is the stage that moved furthest also the one that helped most?
# 4. Find a learning rate that ruins it at that depth, then rewind. What did the network know that it lost?

# %%
playground = labkit.Run(
    photographs, data, labkit.feature_extraction(lr=0.003, epochs=300, batch_size=6), seed=0
)
labkit.console(playground)

# %% [markdown]
# ## Exercise 1 · Who is most alike?
#
# {exercise:02-neighbours}
#
# Each row of `features` describes an image. Return the positions of the `k` rows whose direction is most like that of
# row `query`, the most alike first. The row itself is no neighbour of its own. Another row with the same numbers is.


# %% tags=["stub"]
def nearest(features, query, k):
    """Positions of the k rows of features (n, d) with the largest cosine to row `query`, without it."""
    raise NotImplementedError


# %% tags=["solution"]
def nearest(features, query, k):
    """Positions of the k rows of features (n, d) with the largest cosine to row `query`, without it."""
    directions = nn.functional.normalize(features)
    cosines = directions @ directions[query]
    cosines[query] = -2  # below anything that a cosine can be
    return cosines.topk(k).indices


# %%
learn.check("02-neighbours", nearest)

# %% [markdown]
# ## Exercise 2 · Old words for new things
#
# {exercise:02-translate}
#
# `scores` are what an old head gives, before any softmax: a row an image, a column an old class. `groups` lists, for
# each new class, the columns that mean it. Some columns are in no group. Return the probabilities of the new classes.
# Each row must sum to one.


# %% tags=["stub"]
def translate(scores, groups):
    """Probabilities of the new classes, (n, len(groups)), from scores (n, old classes)."""
    return torch.stack([scores[:, some].mean(dim=1) for some in groups], dim=1)


# %% tags=["solution"]
def translate(scores, groups):
    """Probabilities of the new classes, (n, len(groups)), from scores (n, old classes)."""
    old = scores.softmax(dim=1)
    new = torch.stack([old[:, some].sum(dim=1) for some in groups], dim=1)
    return new / new.sum(dim=1, keepdim=True)


# %%
learn.check("02-translate", translate)

# %% [markdown]
# ## Exercise 3 · One example to stand for all
#
# {exercise:02-prototypes}
#
# A prototype is the mean of the features of a class. Classify each row of `features` by the prototype whose direction
# is most like its own. Labels need not begin at 0, and no class between them need exist.


# %% tags=["stub"]
def by_prototype(train_features, train_labels, features):
    """The class of each row of features (m, d), by the nearest class mean of train_features (n, d)."""
    raise NotImplementedError


# %% tags=["solution"]
def by_prototype(train_features, train_labels, features):
    """The class of each row of features (m, d), by the nearest class mean of train_features (n, d)."""
    classes = train_labels.unique()
    means = torch.stack([train_features[train_labels == c].mean(dim=0) for c in classes])
    cosines = nn.functional.normalize(features) @ nn.functional.normalize(means).T
    return classes[cosines.argmax(dim=1)]


# %%
learn.check("02-prototypes", by_prototype)

# %% [markdown]
# ## What the evidence says
#
# From recorded runs, five seeds a setting, with 95 % intervals over seeds. For each claim a rule was written before the
# runs, and the verdict is what the rule says. The meanings of the old classes were written down before them as well.
#
# A new head on features that stay frozen:
#
# | Description | digits, three labels a class | digits, ten labels a class | ants and bees |
# |---|---|---|---|
# | features from letters | {evidence:source/digits-3/letters} | {evidence:source/digits-10/letters} | {evidence:source/ants-bees/letters} |
# | features from photographs | {evidence:source/digits-3/photographs} | {evidence:source/digits-10/photographs} | {evidence:source/ants-bees/photographs} |
# | features of a random network | {evidence:source/digits-3/random-network} | {evidence:source/digits-10/random-network} | {evidence:source/ants-bees/random-network} |
# | bare pixels | {evidence:source/digits-3/bare-pixels} | {evidence:source/digits-10/bare-pixels} | {evidence:source/ants-bees/bare-pixels} |
# | related, against unrelated | {evidence:source/digits-3/letters against source/digits-3/photographs} | {evidence:source/digits-10/letters against source/digits-10/photographs} | {evidence:source/ants-bees/photographs against source/ants-bees/letters} |
# | unrelated, against bare pixels | {evidence:source/digits-3/photographs against source/digits-3/bare-pixels} | {evidence:source/digits-10/photographs against source/digits-10/bare-pixels} | {evidence:source/ants-bees/letters against source/ants-bees/bare-pixels} |
#
# - **A related source transfers better, and an unrelated one can hurt: {verdict:10}.** With ten labels a class on digits,
#   eighty thousand photographs do less than the bare pixels, which anyone has for nothing.
# - **An unrelated source was no better than none.** On digits with ten labels a class, photographs against a random
#   network make {evidence:source/digits-10/photographs against source/digits-10/random-network}. On ants and bees, letters
#   against it make {evidence:source/ants-bees/letters against source/ants-bees/random-network}.
# - With three labels a class, the interval between photographs and bare pixels holds zero. Thirty labels are few.

# %% [markdown]
# ### Early and late
#
# Stages up to one are kept from a source, frozen. All above begin at random and train.
#
# | Kept up to | digits, letters less photographs | ants and bees, photographs less letters |
# |---|---|---|
# | `layer1` | {evidence:kept/digits-10/letters-up-to-layer1 against kept/digits-10/photographs-up-to-layer1} | {evidence:kept/ants-bees/photographs-up-to-layer1 against kept/ants-bees/letters-up-to-layer1} |
# | `layer2` | {evidence:kept/digits-10/letters-up-to-layer2 against kept/digits-10/photographs-up-to-layer2} | {evidence:kept/ants-bees/photographs-up-to-layer2 against kept/ants-bees/letters-up-to-layer2} |
# | `layer3` | {evidence:kept/digits-10/letters-up-to-layer3 against kept/digits-10/photographs-up-to-layer3} | {evidence:kept/ants-bees/photographs-up-to-layer3 against kept/ants-bees/letters-up-to-layer3} |
# | `layer4` | {evidence:kept/digits-10/letters-up-to-layer4 against kept/digits-10/photographs-up-to-layer4} | {evidence:kept/ants-bees/photographs-up-to-layer4 against kept/ants-bees/letters-up-to-layer4} |
#
# - **Early layers are general, late ones specific: {verdict:12}.** Late ones are specific in both places.
# - **On digits early layers are general**, and middle ones too. Up to `layer3` either source will do.
#   At `layer2` the unrelated one is even a little ahead. `layer4` parts them.
# - **On ants and bees they are not.** The first two stages from letters are worth less than those from photographs.
#   The filters above suggest why: letters never had to learn a colour. That is a guess, and it could be tested.

# %% [markdown]
# ### Without labels, and with a few
#
# The old head with its new meanings, the nearest prototype, and everything trained.
#
# | task | old head, no label | nearest prototype | fine-tuned | fine-tuned, against old head |
# |---|---|---|---|---|
# | digits, one label a class | {evidence:zero-shot/digits-1/fine-tuned/zero-shot} | {evidence:zero-shot/digits-1/fine-tuned/prototypes} | {evidence:zero-shot/digits-1/fine-tuned} | {evidence:zero-shot/digits-1/fine-tuned against zero-shot/digits-1/fine-tuned/zero-shot} |
# | digits, three labels a class | {evidence:zero-shot/digits-3/fine-tuned/zero-shot} | {evidence:zero-shot/digits-3/fine-tuned/prototypes} | {evidence:zero-shot/digits-3/fine-tuned} | {evidence:zero-shot/digits-3/fine-tuned against zero-shot/digits-3/fine-tuned/zero-shot} |
# | ants and bees, ten labels a class | {evidence:zero-shot/ants-bees-10/fine-tuned/zero-shot} | {evidence:zero-shot/ants-bees-10/fine-tuned/prototypes} | {evidence:zero-shot/ants-bees-10/fine-tuned} | {evidence:zero-shot/ants-bees-10/fine-tuned against zero-shot/ants-bees-10/fine-tuned/zero-shot} |
# | ants and bees, forty labels a class | {evidence:zero-shot/ants-bees-40/fine-tuned/zero-shot} | {evidence:zero-shot/ants-bees-40/fine-tuned/prototypes} | {evidence:zero-shot/ants-bees-40/fine-tuned} | {evidence:zero-shot/ants-bees-40/fine-tuned against zero-shot/ants-bees-40/fine-tuned/zero-shot} |
#
# - **Fine-tuning beats a zero-shot baseline: {verdict:17}.** On digits one label a class is enough.
# - **On ants and bees it does not.** The old head has met bees in some hundred photographs. With ten labels a class
#   fine-tuning is worse, and with forty it has not been shown to be better. On all training photographs it makes
#   {evidence:head-start/ants-bees/fine-tuned against zero-shot/ants-bees-40/fine-tuned/zero-shot}.
#   (That comparison was not part of the rule.)
# - So ask the old head first. It costs nothing, and on ants and bees it was better than what ten labels a class bought.
# - The old head uses no label and no chance, so its interval over seeds has no width. Other images would still give
#   another number.

# %% [markdown]
# ## Quiz
#
# Your first choice counts. Every option answers with a reason, so go on choosing until it is right.

# %%
learn.quiz("02")

# %% [markdown]
# ## Pitfalls
#
# - **Judging a source by its size.** What it was made to tell apart matters more. Look at the nearest neighbours first.
# - **Choosing the meanings after seeing the answers.** Then the labels have been used, and the baseline flatters itself.
# - **Calling a prototype zero-shot.** It needs labels, if only a few. Say how many.
# - **Finding an image among its own neighbours.** Leave it out, or every network looks wise.
# - **Reading meaning into single channels.** Whoever looks at many will find one that fits any story.

# %% [markdown]
# ## Summary
#
# - A pre-trained network can be asked before it is trained: by its maps, by its neighbours, and by its old head.
# - Nearest neighbours show what features are worth, and need no training.
# - The old head can be worth more than a new one. Asking it costs nothing.
# - Whether a source helps depends on the target. Compare with bare pixels before you trust a name.
# - A baseline without labels is cheap. What you train should beat it.
#
# Lesson 04 trains a head on features, and lesson 05 decides which stages should move. Your guesses so far:

# %%
learn.score()

# %% [markdown]
# ## References
#
# - Yosinski, J., Clune, J., Bengio, Y., & Lipson, H. (2014). How transferable are features in deep neural
#   networks? *Advances in Neural Information Processing Systems 27*. Keeping stages up to one.
# - Zeiler, M. D., & Fergus, R. (2014). Visualizing and understanding convolutional networks. *ECCV*.
# - Kornblith, S., Norouzi, M., Lee, H., & Hinton, G. (2019). Similarity of neural network representations revisited.
#   *ICML*. Centred kernel alignment.
# - Raghu, M., Zhang, C., Kleinberg, J., & Bengio, S. (2019). Transfusion: Understanding transfer learning for medical
#   imaging. *Advances in Neural Information Processing Systems 32*. When the source is far away.
# - Wang, Z., Dai, Z., Póczos, B., & Carbonell, J. (2019). Characterizing and avoiding negative transfer. *CVPR*.
# - Larochelle, H., Erhan, D., & Bengio, Y. (2008). Zero-data learning of new tasks. *AAAI*.
# - Radford, A., Kim, J. W., Hallacy, C., et al. (2021). Learning transferable visual models from natural language
#   supervision. *ICML*. Zero-shot today: the classes are named in words.
# - Snell, J., Swersky, K., & Zemel, R. (2017). Prototypical networks for few-shot learning. *Advances in Neural
#   Information Processing Systems 30*.
