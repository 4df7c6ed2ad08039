# %% [markdown]
# # 00 · Start here
#
# - **You will be able to:** see whether your machine works, watch a network learn, and change how it learns while it does.
# - **Time:** 25 minutes, of which the machine works for less than one.
# - **Memory:** below 1.4 GB.
# - **Builds on:** Python, and having met neural networks once.

# %% [markdown]
# ## The question
#
# You have thirty handwritten digits with their labels, three of each kind. You have no graphics card.
# A colleague says: give up, networks need thousands of images.
#
# If she is right, you save yourself an afternoon. If she is wrong, you save yourself a budget.
# In a minute you will know, because you will try it.

# %% [markdown]
# ## Predict
#
# Our network was pre-trained on printed letters, distorted and blurred. It has never seen a handwritten digit.
# Now its head gets three labelled digits of each kind, and a few seconds of training.
#
# Commit to a guess before you go on. A guess costs nothing, and it makes what follows worth looking at.
# The lab keeps score of your calibration: whether you are right as often as you are sure.

# %%
from labkit import learn

learn.predict(
    "00-three-labels",
    "With three labels a class, what share of new digits will the network get right?",
    choices=("less than one in three", "between one and two thirds", "more than two in three"),
)

# %% [markdown]
# ## See it learn
#
# Four names are enough. **Data** are images with labels. A **backbone** is a network with what it learned before.
# A **plan** says what to train, how fast and how long. A **run** brings them together.

# %%
import labkit

data = labkit.load_data("digits").subset(per_class=3)
net = labkit.load_backbone("resnet10-glyphs")
plan = labkit.feature_extraction(lr=0.01, epochs=8, batch_size=10)
run = labkit.Run(net, data, plan, seed=0)

for _ in range(3):
    done = run.step()
    print(f"step {done.step}: loss {done.loss:.2f}, {done.correct} of {done.count} right")

# %% [markdown]
# You have seen three steps. Each one looks at a batch of ten images and changes the weights a little.
# The loss says how surprised the network was by the true class. Now let it finish its plan.

# %%
from labkit.show import figures

run.fit()
figures.plot_history(run)

# %%
result = run.evaluate("valid")
print(result)
learn.reveal("00-three-labels", result.accuracy, bounds=(1 / 3, 2 / 3))

# %% [markdown]
# The accuracy comes with an interval. It says how far chance could move the number with other images.
# A result without an interval is half a result.
#
# Here are some of the images, the most wrong ones first. Above each stands the answer, and how sure the network was.

# %%
from labkit.insight import worst

figures.images(data.valid, worst(result, 12), data.classes)

# %% [markdown]
# ## Is everything in order on this machine?
#
# The doctor tries each thing once and says what it found. A warning is no reason to stop.

# %%
from labkit.doctor import examine

print(examine())

# %% [markdown]
# ## The idea in plain PyTorch
#
# Learning is one small move, repeated: find out which way the loss rises, and go the other way.
# Here is all of it for a network of a single weight, which should become 3.

# %%
import torch


def learn_one_weight(lr, steps=8):
    weight = torch.tensor(0.0, requires_grad=True)
    path = [weight.item()]
    for _ in range(steps):
        loss = (weight - 3) ** 2
        loss.backward()  # the gradient: which way, and how steep
        with torch.no_grad():
            weight -= lr * weight.grad  # the step: the other way, times the learning rate
        weight.grad = None
        path.append(round(weight.item(), 2))
    return path


for lr in (0.03, 0.3, 1.1):
    print(f"lr={lr:<5}", learn_one_weight(lr))

# %% [markdown]
# The first rate creeps. The second arrives. The third jumps too far each time, ever further: that is divergence.
# A network has millions of weights, and usually this one dial for all of them. That is why we begin with it.

# %% [markdown]
# ## The same through labkit
#
# A run can be steered while it trains. `run.set` gives a command, and the next step obeys.
# Here the rate is far too small for three epochs. Then it is raised.

# %%
steered = labkit.Run(net, data, plan.with_(lr=1e-5), seed=0, name="steered")
steered.fit(epochs=3)
steered.set(lr=0.01)
steered.fit()
figures.plot_history(steered)

# %% [markdown]
# The dotted line marks where the command took effect. The curve bends there.
#
# A run also remembers. `branch` makes a second run that shares the past of the first and then goes its own way.
# That answers "what if" without starting over.

# %%
what_if = steered.branch(step=9, name="what if it had stayed small")
what_if.fit()
labkit.compare([steered, what_if])

# %% [markdown]
# ## Your turn in the console
#
# The console is a run with its hands on the table. It opens on full fine-tuning, where every weight can move.
#
# 1. Press **Run** and watch for a few seconds.
# 2. Find a learning rate that ruins the network. Move in factors of ten.
# 3. Rewind to before the damage, choose a rate that saves it, and let it run.
#
# A rewind is exact, because the run keeps checkpoints on the way. Everything works by keyboard too. The sentence above the curves says what is going on.

# %%
playground = labkit.Run(net, data, labkit.full(lr=1e-3, epochs=200, batch_size=10), seed=0)
labkit.console(playground)

# %% [markdown]
# ## Exercise 1 · Read the record
#
# {exercise:00-best-epoch}
#
# `run.history` is a table with a row for every step of training and for every look at the validation split.
# Write a function that takes such a table and returns the epoch with the lowest validation loss.
#
# Here are its last rows, without the columns that you will not need.

# %%
run.history.drop(columns=["lr", "trainable_from", "seconds"]).tail(4)


# %% tags=["stub"]
def best_epoch(history):
    """The epoch with the lowest validation loss."""
    raise NotImplementedError


# %% tags=["solution"]
def best_epoch(history):
    """The epoch with the lowest validation loss."""
    valid = history[history.split == "valid"]
    return int(valid.loc[valid.loss.idxmin(), "epoch"])


# %%
learn.check("00-best-epoch", best_epoch)

# %% [markdown]
# ## Exercise 2 · Change your mind on the way
#
# {exercise:00-two-rates}
#
# Train a run for two epochs with a rate of your choice. Then lower the rate to a tenth, and train two epochs more.
# It must be one run, not two.

# %% tags=["stub"]
mine = labkit.Run(net, data, labkit.feature_extraction(lr=0.01, epochs=4, batch_size=10), seed=1)
# Your lines go here.

# %% tags=["solution"]
mine = labkit.Run(net, data, labkit.feature_extraction(lr=0.01, epochs=4, batch_size=10), seed=1)
mine.fit(epochs=2)
mine.set(lr=0.001)
mine.fit(epochs=2)

# %%
learn.check("00-two-rates", mine)

# %% [markdown]
# ## What the evidence says
#
# One run is an anecdote. These lines come from recorded runs, each setting with several seeds.
# They are counted on digits that no setting was chosen on.
#
# | Three labels a class on digits | accuracy (95 % interval over seeds) |
# |---|---|
# | from scratch | {evidence:types/digits-3/from-scratch} |
# | pre-trained on letters, head alone | {evidence:types/digits-3/linear-probe} |
# | pre-trained on letters, everything trains | {evidence:types/digits-3/full} |
#
# **Pre-training buys accuracy when labels are few: supported here.** The head alone, against from scratch, gains
# {evidence:types/digits-3/linear-probe against types/digits-3/from-scratch}, paired by seed.
# Lesson 01 asks what else it buys, and lesson 02 whether any pre-training will do.

# %% [markdown]
# ## Quiz
#
# Your first choice counts. Every option answers with a reason, so go on choosing until it is right.

# %%
learn.quiz("00")

# %% [markdown]
# ## Pitfalls
#
# - **Believing a single run.** Another seed gives another number. Ask for the interval.
# - **Judging by the training loss.** The network has seen those images, and may be overfitting. Look at validation.
# - **Turning many dials at once.** Change one, branch, compare.
# - **Reading a flat curve as failure.** It may be a rate that is too small. Raise it tenfold and look again.

# %% [markdown]
# ## Summary
#
# - A run is a network, data, a plan and a seed, and the commands you gave it.
# - Training is one small move against the gradient, repeated. The learning rate is the size of the move.
# - A command takes effect on the next step. Rewind and branch make a mistake cheap.
# - A few labels can be enough when the network comes with something useful. Lesson 01 measures how few.
#
# Your guesses so far:

# %%
learn.score()

# %% [markdown]
# And this is your map: what is done in each lesson, and where to go on. Come back to it whenever you like.

# %%
learn.course_map()

# %% [markdown]
# ## References
#
# - Yosinski, J., Clune, J., Bengio, Y., & Lipson, H. (2014). How transferable are features in deep neural
#   networks? *Advances in Neural Information Processing Systems 27*.
# - Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference. *Journal of the
#   American Statistical Association, 22*(158), 209–212. The interval that every accuracy here carries.
# - Brier, G. W. (1950). Verification of forecasts expressed in terms of probability. *Monthly Weather Review,
#   78*(1), 1–3. How your guesses are scored.
