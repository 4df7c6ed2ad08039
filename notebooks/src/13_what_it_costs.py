# %% [markdown]
# # 13 · What does it cost?
#
# - **You will be able to:** count what a step takes before you take it, say what freezing saves and what it does not, and turn seconds into money.
# - **Time:** 45 minutes, of which the machine works for about one.
# - **Memory:** below 1.4 GB.
# - **Builds on:** lessons 01, 05 and 06.

# %% [markdown]
# ## The question
#
# A small firm has forty euros left for machines, and one week until it must show something.
# It wants to fine-tune a network on its own photographs, with a few learning rates and a few seeds.
#
# One engineer says: train the head alone, the rest costs ten times as much.
# The other one says: machines are cheap, train everything. Neither has counted.
#
# What does a step cost, who gets the bill, and what is on it that nobody thought of?

# %% [markdown]
# ## Predict
#
# Three guesses: one about operations, one about memory, one about money.

# %%
from labkit import learn

NEXT, THIRD, HALF = "next to none of them", "about a third", "more than half"

learn.predict(
    "13-step",
    "A plain PyTorch loop, with everything frozen below the head. Of the operations that a step takes "
    "when everything trains, how many are left?",
    choices=(NEXT, THIRD, HALF),
)

# %%
WEIGHTS, TRAINING, ACTIVATIONS = (
    "the weights",
    "gradients and the optimiser's memory",
    "what the layers keep for the way back",
)

learn.predict(
    "13-memory",
    "Everything trains, with AdamW, on batches of twenty small digits. What takes most memory?",
    choices=(WEIGHTS, TRAINING, ACTIVATIONS),
)

# %%
learn.predict(
    "13-money",
    "A hundred digits, everything trains, on a rented machine with two cores that is paid by the second. "
    "What does the run cost?",
    choices=("less than a tenth of a cent", "a tenth of a cent to a cent", "more than a cent"),
)

# %% [markdown]
# ## The idea in plain PyTorch
#
# Nearly all the work of such a network is multiplying and adding, inside its convolutions. That can be counted
# without a clock. One number of the output of a convolution is a sum of products: one for each channel of the input
# and each place of the kernel. A product and the addition that goes with it are two operations, or two FLOPs.

# %%
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

conv = nn.Conv2d(3, 32, kernel_size=3, stride=2, padding=1, bias=False)
with FlopCounterMode(display=False) as counter:
    out = conv(torch.rand(1, 3, 32, 32))

products = out.numel() * 3 * (3 * 3)  # channels of the input, places of the kernel
print(f"by hand          {2 * products:,}")
print(f"torch's counter  {counter.get_total_flops():,}")

# %% [markdown]
# A step goes forward and then backward. Backward each layer has two jobs: the gradient for its own weights, and the
# gradient for its input, which the layer below is waiting for. Each job takes as many operations as going forward.
#
# Freeze a layer and the first job is gone. The second goes only when nothing below trains either.

# %%
import labkit

data = labkit.load_data("digits").subset(per_class=10)
net = labkit.load_backbone("resnet10-glyphs")
images, labels = data.train.batch(range(20))


def step_operations(first):
    """Billions of operations, forward and backward, of a step that trains from the stage `first` upward."""
    model = net.build(len(data.classes), seed=0)
    for name in net.stages[: net.stages.index(first)]:
        model.get_submodule(name).requires_grad_(False).eval()
    with FlopCounterMode(display=False) as forward:
        loss = nn.functional.cross_entropy(model(images), labels)
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    return forward.get_total_flops() / 1e9, backward.get_total_flops() / 1e9


counted = {first: step_operations(first) for first in net.stages}
for first, (forward, backward) in counted.items():
    bar = "▬" * round(6 * forward) + "▭" * round(6 * backward)
    print(f"from {first:7} forward {forward:.2f}   backward {backward:.2f}   {bar}")

# %% [markdown]
# The forward column never changes. However much is frozen, a plain loop still runs the whole network, in every epoch,
# for every picture. Freezing only shortens the way back.

# %%
learn.reveal("13-step", sum(counted["head"]) / sum(counted["stem"]), bounds=(0.1, 0.5))

# %% [markdown]
# ### Memory
#
# Four things lie in memory during a step:
#
# - the **weights**, all of them, frozen or not;
# - a **gradient** for each weight that trains;
# - the **optimiser's memory**. AdamW keeps two numbers for each weight that trains;
# - the **activations**: what each layer has to keep from the forward pass, because the backward pass needs it.
#
# The last kind is the one that nobody sees. PyTorch lets us watch it being put aside.

# %%
model = net.build(len(data.classes), seed=0)
own = {parameter.data_ptr() for parameter in model.parameters()}
put_aside = {}


def watch(tensor):
    """Note the size of what autograd keeps, unless it is a weight, which is there anyway."""
    if tensor.data_ptr() not in own:
        put_aside[tensor.data_ptr()] = tensor.nbytes
    return tensor


with torch.autograd.graph.saved_tensors_hooks(watch, lambda tensor: tensor):
    loss = nn.functional.cross_entropy(model(images), labels)

weights = sum(parameter.nbytes for parameter in model.parameters())
memory = {
    WEIGHTS: weights,
    TRAINING: weights + 2 * weights,
    ACTIVATIONS: sum(put_aside.values()),
}
for what, size in memory.items():
    print(f"{what:38} {size / 1e6:5.1f} MB")
del model, loss

# %%
learn.reveal("13-memory", max(memory, key=memory.get))

# %% [markdown]
# Keep the last line in mind. It grows with the batch and with the size of the images. The others do not.

# %% [markdown]
# ## The same through labkit
#
# `step_costs` counts all of it at every depth, on a copy of the network. The run itself is not touched.

# %%
from labkit import insight
from labkit.show import cost as figures

run = labkit.Run(net, data, labkit.full(lr=1e-3, epochs=6, batch_size=20), seed=0)
steps = insight.step_costs(run)
figures.step_bars(steps)

# %% [markdown]
# Left, the grey part is the forward pass through what is frozen. It gives the same output in every epoch.
# Right, look at what a frozen stage no longer needs: no gradient, no optimiser's memory, nothing put aside.
# The last part is the price of keeping that output, for all images, once they have all been seen.

# %% [markdown]
# ## Operations are not seconds
#
# A count says nothing about how fast a machine works. BatchNorm, for one, has hardly any operations and still takes
# time, because it moves many numbers. So we time the same steps, in processor seconds, each depth in turn.

# %%
import pandas as pd

timed = insight.step_seconds(run, turns=5)
whole = steps[0].again
shares = pd.DataFrame(
    {
        "operations": [step.again / whole for step in steps],
        "processor time": timed["again"] / timed.loc["stem", "again"],
        "processor time, output kept": timed["kept"] / timed.loc["stem", "again"],
    },
    index=timed.index,
).rename_axis(index=None, columns="trains from")
shares.style.format("{:.0%}").set_caption("A step, as a share of a step that trains everything")

# %% [markdown]
# Compare the first two columns: the count is a fair guess at the time, and no more than that.
#
# The last column is another way to work. What frozen stages make of a picture is a constant, as lesson 05 showed.
# labkit computes it once and keeps it. From then on a step is only what trains.

# %% [markdown]
# ## Whole plans
#
# Four strategies, the same epochs. `cost` counts each from its first step to its last, with every validation.
# Time is what the run tells of its own steps.

# %%
shared = {"epochs": 4, "batch_size": 20}
plans = (
    labkit.feature_extraction(lr=1e-2, **shared, name="head"),
    labkit.partial("layer4", lr=1e-3, **shared, name="layer4 + head"),
    labkit.full(lr=1e-3, **shared, name="full"),
    labkit.from_scratch(lr=3e-3, **shared, name="from scratch"),
)
costs = {}
for plan in plans:
    run = labkit.Run(net, data, plan, seed=0).fit()
    costs[plan.name] = insight.cost(run)
    print(f"{plan.name:14}", run.evaluate("valid"))
insight.cost_table(costs.values()).style.format(precision=2).hide(axis="index")

# %% [markdown]
# Compare the two columns of operations. Where nothing is frozen they are the same. For the head alone the second one
# is mostly frozen forward passes, done over and over.
#
# From scratch costs what full fine-tuning costs. Its step is the same step. Where their seconds differ, it is the
# machine that was busy with other things. What really differs is what comes of it.

# %% [markdown]
# ## Energy, and memory as the system sees it
#
# A count of bytes knows tensors only. The system sees more: Python, libraries, scratch space inside a convolution.
# `meter` asks it for the most that this process held beyond what it held before. That may also be less than the
# count, because memory that an earlier run has left behind is used again. A fair measurement takes a fresh process.
#
# Energy needs a counter in the processor, and the right to read it. Where both are there, codecarbon reads it.
# Elsewhere it multiplies: rated power, times the share of the processor that was used, times seconds.

# %%
with insight.meter() as spent:
    run = labkit.Run(net, data, labkit.full(lr=1e-3, **shared), seed=0).fit()

counted_bytes = costs["full"].memory.total - costs["full"].memory.kept
print(f"processor time   {spent.processor_seconds:.1f} s")
print(f"memory counted   {counted_bytes / 1e6:.0f} MB")
if spent.peak is not None:
    print(f"memory measured  {spent.peak / 1e6:.0f} MB")
if spent.watt_hours is not None:
    print(f"energy           {1000 * spent.watt_hours:.1f} mWh ({spent.energy_by})")
del run

# %% [markdown]
# If the last line says *an estimate*, then nobody has measured anything. It is as good as the rated power in it.

# %% [markdown]
# ## Money
#
# A price is a number with a date and a source, or it is a rumour. Here are four, as examples to be edited.
# *Estimate* says that a number in the row was worked out rather than read.

# %%
prices = insight.machines()
table = insight.price_table(prices).style.format(precision=4).hide(axis="index")
table.set_properties(subset=["source"], **{"text-align": "left"})

# %%
rented = prices["two cores, rented"]
figures.cost_bars(list(costs.values()), rented, runs=1000)

# %%
learn.reveal("13-money", 100 * rented.money(costs["full"].seconds), bounds=(0.1, 1))

# %% [markdown]
# The money here is the seconds of *this* machine, at the price of an hour in the row. Another machine takes other
# seconds. A large GPU costs many times as much an hour. Whether it is as many times faster, on a task this small,
# nobody knows without a trial.
#
# Change a price and look again. A row is a piece of data, and `replace` gives a copy with another number in it.

# %%
from dataclasses import replace

dearer = replace(rented, price_per_hour=0.25, date="2026-11-01", source="an offer that I was sent")
print(f"{100 * dearer.money(costs['full'].seconds):.3f} cents for one run, by that offer")

# %% [markdown]
# ## What is really on the bill
#
# One run is cheap. Nobody makes one run. Rates, depths and seeds multiply, and then there is what no machine does.
# The numbers at the top are yours to change.

# %%
rates, depths, seeds = 4, 3, 5
seconds_a_label, wage, labels_needed = 5, 15.0, len(data.train)

runs = rates * depths * seeds
print(
    f"{runs} runs on the rented machine: {rented.money(runs * costs['full'].seconds):.3f} {rented.currency}"
)
hours = labels_needed * seconds_a_label / 3600
print(f"{labels_needed} labels at {seconds_a_label} s each: {wage * hours:.2f} for a person")

# %% [markdown]
# On a task of this size the labels outweigh the machine by far, even with a search. On a large network it is the
# other way round. So count first, and save where the money is.

# %% [markdown]
# ## The same on photographs
#
# The same network on larger pictures, in larger batches. Nothing is trained here, it is only counted.

# %%
photos = learn.photographs()
if photos is None:
    print("The photographs are not on this machine. To fetch them: labkit data fetch ants-bees")
    shown = None
else:
    photo_run = labkit.Run(labkit.load_backbone("resnet10"), photos, labkit.full(batch_size=64))
    shown = figures.step_bars(insight.step_costs(photo_run, ["stem", "layer3", "layer4", "head"]))
    del photo_run
shown

# %% [markdown]
# The weights are as before. What is put aside has grown many times over, and takes the largest part now. That is why
# a step that does not fit is mended by a smaller batch first.

# %% [markdown]
# ## Your turn in the console
#
# The console opens on full fine-tuning. After each epoch it tells what the epoch took.
# Look closer at what a step costs: the depth of now is marked.
#
# 1. Let two epochs pass, and note the seconds. Freeze all below `layer4` and wait for two more. What is the share?
# 2. Freeze all but the head. The first epoch afterwards still computes what is to be kept. Compare it with the second.
# 3. Set the augmentation to light, and watch the epochs again. Why does keeping save less now?

# %%
playground = labkit.Run(net, data, labkit.full(lr=1e-3, epochs=200, batch_size=20), seed=0)
labkit.console(playground)

# %% [markdown]
# ## Exercise 1 · A price that can be judged
#
# {exercise:13-price}
#
# Make a row for a machine of your own, or for one that you could rent. A row is an `insight.Machine` with `name`,
# `price_per_hour`, `currency` such as `"EUR"`, `watts`, `date`, `source` and `estimate`.
#
# Your own machine costs at least its electricity: its watts, divided by 1000, times the price of a kilowatt-hour. Give
# the source, so that a stranger finds the number again.

# %%
from datetime import date

# %% tags=["stub"]
mine = ...

# %% tags=["solution"]
mine = insight.Machine(
    name="the machine under my desk",
    price_per_hour=65 / 1000 * 0.31,
    currency="EUR",
    watts=65,
    date=date.today(),
    source="electricity bill of the municipal works, 0.31 EUR a kWh; 65 W by the processor's data sheet",
    estimate=True,
)

# %%
learn.check("13-price", mine)

# %% [markdown]
# ## Exercise 2 · The operations of a convolution
#
# {exercise:13-convolution}
#
# `conv` is an `nn.Conv2d` without groups, and `out` is the shape of what it gives: images, channels, height, width.
# `trains` says whether its weights train, `passes_on` whether anything below it does.
# Return the operations forward and the operations backward. A bias is left out.


# %% tags=["stub"]
def operations(conv, out, trains, passes_on):
    """Operations of one convolution in one step: (forward, backward)."""
    raise NotImplementedError


# %% tags=["solution"]
def operations(conv, out, trains, passes_on):
    """Operations of one convolution in one step: (forward, backward)."""
    images, channels, height, width = out
    kernel = conv.kernel_size[0] * conv.kernel_size[1]
    forward = 2 * images * channels * height * width * conv.in_channels * kernel
    return forward, forward * (trains + passes_on)


# %%
learn.check("13-convolution", operations)

# %% [markdown]
# ## Exercise 3 · The best that you can afford
#
# {exercise:13-budget}
#
# Here is what four strategies came to on ants and bees, from the record:

# %%
from labkit.course.lesson_13 import figures as recorded

strategies = {
    name: {"seconds": found.seconds.mean, "accuracy": found.accuracy.mean}
    for name, found in recorded.strategies("ants-bees").items()
}
table = pd.DataFrame(strategies).T.rename_axis(columns="strategy")
table.style.format({"seconds": "{:.1f}", "accuracy": "{:.1%}"})

# %% [markdown]
# You want to try a strategy `tries` times, at `price` an hour, and may spend `budget`. Return the name of the most
# accurate strategy that you can afford, of equally accurate ones the quicker. Return `None` where there is none.


# %% tags=["stub"]
def best_within(strategies, price, tries, budget):
    """The name of the strategy to take, or None."""
    return max(strategies, key=lambda name: strategies[name]["accuracy"])


# %% tags=["solution"]
def best_within(strategies, price, tries, budget):
    """The name of the strategy to take, or None."""
    affordable = [
        name for name, row in strategies.items() if row["seconds"] * tries / 3600 * price <= budget
    ]

    def worth(name):
        return strategies[name]["accuracy"], -strategies[name]["seconds"]

    return max(affordable, key=worth, default=None)


# %%
learn.check("13-budget", best_within)

# %% [markdown]
# Once it is right, call it with the price of your own row. How far does the budget have to sink before the answer
# changes?

# %% [markdown]
# ## What the evidence says
#
# From recorded runs, five seeds a setting, with 95 % intervals over seeds. One step of the same batch, at each depth,
# in processor time on one thread. The rule was written before the runs. First as a picture:

# %%
recorded.steps()

# %% [markdown]
# Everything is a share of what a step takes when everything trains. Counted operations come out alike for
# every seed, because there is no chance in them.
#
# | Trains from | operations, both | digits: processor time | digits: output kept | ants and bees: processor time | ants and bees: output kept |
# |---|---|---|---|---|---|
# | `layer1` | {evidence:cost/digits-10/full/again-layer1-operations} | {evidence:cost/digits-10/full/again-layer1} | {evidence:cost/digits-10/full/kept-layer1} | {evidence:cost/ants-bees/full/again-layer1} | {evidence:cost/ants-bees/full/kept-layer1} |
# | `layer2` | {evidence:cost/digits-10/full/again-layer2-operations} | {evidence:cost/digits-10/full/again-layer2} | {evidence:cost/digits-10/full/kept-layer2} | {evidence:cost/ants-bees/full/again-layer2} | {evidence:cost/ants-bees/full/kept-layer2} |
# | `layer3` | {evidence:cost/digits-10/full/again-layer3-operations} | {evidence:cost/digits-10/full/again-layer3} | {evidence:cost/digits-10/full/kept-layer3} | {evidence:cost/ants-bees/full/again-layer3} | {evidence:cost/ants-bees/full/kept-layer3} |
# | `layer4` | {evidence:cost/digits-10/full/again-layer4-operations} | {evidence:cost/digits-10/full/again-layer4} | {evidence:cost/digits-10/full/kept-layer4} | {evidence:cost/ants-bees/full/again-layer4} | {evidence:cost/ants-bees/full/kept-layer4} |
# | `head` | {evidence:cost/digits-10/full/again-head-operations} | {evidence:cost/digits-10/full/again-head} | {evidence:cost/digits-10/full/kept-head} | {evidence:cost/ants-bees/full/again-head} | {evidence:cost/ants-bees/full/kept-head} |
#
# - **Freezing more makes a step cheaper: {verdict:19}.** It depends on the stage. The stem is a small part of the
#   count, and freezing it alone on ants and bees makes
#   {evidence:cost/ants-bees/full/again-layer1 against cost/ants-bees/full/again-stem}. That interval holds zero.
#   Each further stage made the step shorter, in both places.
# - **By how much?** With all but the head frozen, a step of a plain loop took
#   {evidence:cost/digits-10/full/again-head} of the time on digits, and
#   {evidence:cost/ants-bees/full/again-head} on ants and bees. What is left is the way forward.
# - **Keeping takes that away, too.** With the output of the frozen stages at hand, the same step took
#   {evidence:cost/digits-10/full/kept-head} on digits, and {evidence:cost/ants-bees/full/kept-head} on ants and bees.
#   The rule does not ask for it. The first pass, which fills the memory, is not in it.
# - **The count is a guess at the time.** For the head it says {evidence:cost/digits-10/full/again-head-operations}, and
#   less was measured. It leaves out BatchNorm and the optimiser, which have less to do when stages are frozen.

# %% [markdown]
# ### What you pay and what you get
#
# Whole runs of the same epochs, each from an empty cache. Time is the processor's, validation included.

# %%
recorded.bargain()

# %% [markdown]
# | Strategy | digits: accuracy | digits: processor time | ants and bees: accuracy | ants and bees: processor time |
# |---|---|---|---|---|
# | head | {evidence:cost/digits-10/head} | {evidence:cost/digits-10/head/seconds} | {evidence:cost/ants-bees/head} | {evidence:cost/ants-bees/head/seconds} |
# | `layer4` and head | {evidence:cost/digits-10/layer4-head} | {evidence:cost/digits-10/layer4-head/seconds} | {evidence:cost/ants-bees/layer4-head} | {evidence:cost/ants-bees/layer4-head/seconds} |
# | everything | {evidence:cost/digits-10/full} | {evidence:cost/digits-10/full/seconds} | {evidence:cost/ants-bees/full} | {evidence:cost/ants-bees/full/seconds} |
# | from scratch | {evidence:cost/digits-10/from-scratch} | {evidence:cost/digits-10/from-scratch/seconds} | {evidence:cost/ants-bees/from-scratch} | {evidence:cost/ants-bees/from-scratch/seconds} |
#
# - **Both engineers were right.** The head alone costs a small part of the rest. And all of it costs next to nothing
#   at this size, as you have seen in cents.
# - **Does the higher price buy accuracy?** Everything, against the head alone, makes
#   {evidence:cost/digits-10/full against cost/digits-10/head} on digits. On ants and bees it makes
#   {evidence:cost/ants-bees/full against cost/ants-bees/head}.
# - **From scratch is the worst bargain.** It costs what everything costs, and against that makes
#   {evidence:cost/digits-10/from-scratch against cost/digits-10/full} on digits and
#   {evidence:cost/ants-bees/from-scratch against cost/ants-bees/full} on ants and bees.
# - **Where the head saves:** its plan takes {evidence:cost/digits-10/head/operations} on digits. With nothing kept it
#   would take {evidence:cost/digits-10/head/operations-again}, and everything takes
#   {evidence:cost/digits-10/full/operations}.

# %% [markdown]
# ## Quiz
#
# Your first choice counts. Every option answers with a reason, so go on choosing until it is right.

# %%
learn.quiz("13")

# %% [markdown]
# ## Pitfalls
#
# - **Taking operations for seconds.** They leave out what moves numbers without computing, and how busy a machine is.
# - **Expecting a frozen network to be nearly free.** Without keeping its output, the whole forward pass remains.
# - **Counting weights to see whether it fits.** The activations of a batch may be larger than all of them.
# - **Timing by the clock on the wall.** Something else was running. Take processor time, take turns, take the median.
# - **A price without a date.** Within a year it may have halved or doubled.
# - **Pricing one run.** The bill is for the search, with every run that you threw away.

# %% [markdown]
# ## Summary
#
# - Backward takes twice what forward takes. Freezing shortens the way back, and never the way forward.
# - Keeping the output of frozen stages is what makes a small head cheap.
# - Memory is weights, gradients, the optimiser's memory and activations. Only the last grows with batch and picture.
# - Energy without a counter is an estimate, and should be called one.
# - Money is seconds times a price with a date and a source. Put the labels on the same bill.
#
# Your guesses so far:

# %%
learn.score()

# %% [markdown]
# ## References
#
# - Dehghani, M., Tay, Y., Arnab, A., Beyer, L., & Vaswani, A. (2022). The efficiency misnomer. *ICLR*. Why operations,
#   parameters and seconds rank models differently.
# - Schwartz, R., Dodge, J., Smith, N. A., & Etzioni, O. (2020). Green AI. *Communications of the ACM, 63*(12), 54–63.
# - Strubell, E., Ganesh, A., & McCallum, A. (2019). Energy and policy considerations for deep learning in NLP. *ACL*.
#   The search costs far more than the run.
# - Chen, T., Xu, B., Zhang, C., & Guestrin, C. (2016). Training deep nets with sublinear memory cost.
#   arXiv:1604.06174. Computing activations again instead of keeping them.
# - Lacoste, A., Luccioni, A., Schmidt, V., & Dandres, T. (2019). Quantifying the carbon emissions of machine learning.
#   arXiv:1910.09700.
