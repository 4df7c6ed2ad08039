"""What training costs: counts that agree with arithmetic and with what really runs, and a run that nobody touched."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
import weakref
from datetime import date
from itertools import pairwise

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import labkit
from labkit import insight
from labkit.errors import PlanError, PriceError, StageError
from labkit.insight.cost import Copy, seconds_so_far
from labkit.runtime import Precision
from labkit.tuning.cache import shared

PLAIN = Precision()


@pytest.fixture(scope="module")
def data():
    return labkit.load_data("digits", size=16, seed=0).subset(per_class=3)


@pytest.fixture(scope="module")
def net():
    return labkit.load_backbone("resnet10-glyphs")


def a_run(net, data, plan):
    return labkit.Run(net, data, plan, seed=0, precision=PLAIN)


@pytest.fixture(scope="module")
def run(net, data):
    return a_run(net, data, labkit.full(epochs=2, batch_size=10))


@pytest.fixture(scope="module")
def steps(run):
    return {step.trainable_from: step for step in insight.step_costs(run)}


# ---------------------------------------------------------------- a step


def test_a_run_tells_what_its_own_full_steps_took_by_depth(net, data):
    run = a_run(net, data, labkit.full(epochs=2, batch_size=20))  # 20 and 10 samples an epoch
    assert seconds_so_far(run) == {}
    run.fit(epochs=1)
    run.set(trainable_from="head")
    run.fit()
    taken = run.history.query("split == 'train'").groupby("trainable_from")["seconds"].first()
    assert seconds_so_far(run) == {depth: (taken[depth], 1) for depth in ("stem", "head")}


def test_backward_is_twice_forward_but_for_what_enters_the_network(run, steps):
    first, step = run.model.stem.conv1, steps["stem"]
    places = 8 * 8  # of an image of 16 pixels after a stride of 2
    unasked = 2 * step.samples * places * first.weight.numel()
    assert step.frozen == 0
    assert step.backward == 2 * step.forward - unasked


def test_with_all_but_the_head_frozen_only_the_head_goes_backward(run, steps):
    head, step = run.model.head.fc, steps["head"]
    assert step.forward == step.backward == 2 * step.samples * head.weight.numel()
    assert step.frozen + step.forward == steps["stem"].forward


def test_each_stage_more_that_is_frozen_takes_fewer_operations(run, steps):
    for less, more in pairwise(run.stages):
        assert steps[more].again < steps[less].again
        assert steps[more].kept < steps[less].kept
        assert steps[more].again - steps[more].kept == steps[more].frozen


def test_a_depth_costs_the_same_whatever_was_counted_before(run, steps):
    for depth in reversed(run.stages):
        assert insight.count_step(run, depth) == steps[depth]


def test_bytes_are_those_of_the_tensors(run, steps):
    numbers = [*run.model.parameters(), *run.model.buffers()]
    parameters = sum(p.nbytes for p in run.model.parameters())
    assert steps["stem"].memory.weights == sum(t.nbytes for t in numbers)
    assert steps["stem"].memory.gradients == parameters
    steps_taken = 4 * len(list(run.model.parameters()))  # AdamW counts them for each, in 4 bytes
    assert steps["stem"].memory.optimiser == 2 * parameters + steps_taken
    head = sum(p.nbytes for p in run.model.head.parameters())
    assert steps["head"].memory.gradients == head
    # Autograd keeps what enters the linear layer, and of the loss a few numbers for each class.
    features = 4 * steps["head"].samples * run.model.head.fc.in_features
    assert features <= steps["head"].memory.activations < 1.2 * features


def test_what_is_kept_is_what_enters_the_part_that_trains(run, steps):
    images = len(run.data.train) + len(run.data.valid)
    assert steps["head"].memory.kept == 4 * images * run.model.head.fc.in_features
    assert steps["stem"].memory.kept == 0


def test_activations_by_hand(net, data):
    """A network of which one knows what autograd keeps: the input of each of two linear layers, one ReLU, the loss."""
    from collections import OrderedDict

    from torch import nn

    def two_layers(classes):
        body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 5), nn.ReLU())
        return nn.Sequential(OrderedDict(body=body, head=nn.Linear(5, classes)))

    small = labkit.Backbone.from_module(two_layers, ("body", "head"), "two layers")
    step = insight.count_step(a_run(small, data, labkit.full(batch_size=10)))
    image, hidden, scores = 3 * 16 * 16, 5, 10
    assert step.forward == 2 * 10 * (image * hidden + hidden * scores)
    assert step.backward == 2 * 10 * (image * hidden + 2 * hidden * scores)
    kept = 4 * 10 * (image + hidden + scores)  # what ReLU gives is what the head is given
    targets_and_weights_of_the_loss = 8 * 10 + 4
    assert kept <= step.memory.activations <= kept + targets_and_weights_of_the_loss


def test_counting_twice_gives_the_same_and_leaves_the_run_alone(net, data):
    run = a_run(net, data, labkit.partial("layer4", epochs=1, batch_size=10))
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    chance = torch.random.get_rng_state()
    assert insight.count_step(run) == insight.count_step(run)
    insight.step_seconds(run, ["head"], turns=1)
    assert torch.equal(torch.random.get_rng_state(), chance)
    assert all(torch.equal(before[name], now) for name, now in run.model.state_dict().items())
    assert run.step_number == 0
    assert len(run.journal) == 0
    again = run.fit().history.drop(columns="seconds")
    fresh = a_run(net, data, run.plan).fit().history.drop(columns="seconds")
    assert again.equals(fresh)


def test_where_statistics_run_nothing_can_be_kept(net, data):
    plan = labkit.feature_extraction(epochs=2, batch_size=10, frozen_statistics="running")
    found = insight.cost(a_run(net, data, plan))
    assert found.flops == found.flops_again
    assert found.memory.kept == 0


def test_a_stage_that_is_not_there_is_refused(run):
    with pytest.raises(StageError, match="layer9"):
        insight.count_step(run, "layer9")
    with pytest.raises(PlanError, match="turns=0"):
        insight.step_seconds(run, turns=0)


# ---------------------------------------------------------------- a plan


@pytest.mark.parametrize(
    "plan",
    [
        labkit.full(epochs=2, batch_size=10),
        labkit.feature_extraction(epochs=3, batch_size=10),
        labkit.feature_extraction(epochs=3, batch_size=10, augment="light", views=2),
        labkit.gradual(["head", "layer4"], epochs=2, batch_size=10),
    ],
    ids=["full", "head", "head, augmented", "gradual"],
)
@pytest.mark.slow
def test_a_plan_costs_what_really_runs(net, data, plan):
    shared.clear()
    run = a_run(net, data, plan)
    with FlopCounterMode(display=False) as counted:
        run.fit()
    said, ran = insight.cost(run).flops, counted.get_total_flops()
    filled_up = 0.12  # batches of the frozen part are always of 32, and 30 training images fill one
    assert said <= ran <= (1 + filled_up) * said
    if all(step.frozen == 0 for step in insight.cost(run).steps):
        assert said == ran


def test_seconds_are_those_of_the_run_and_none_before(net, data):
    run = a_run(net, data, labkit.feature_extraction(epochs=2, batch_size=10))
    assert insight.cost(run).seconds is None
    run.fit()
    table = insight.epoch_seconds(run)
    found = insight.cost(run)
    assert found.seconds == pytest.approx(table["seconds"].sum())
    assert found.seconds_again == pytest.approx(table["frozen stages run again"].sum())


def test_a_table_has_units_and_the_money_of_the_machine(net, data):
    run = a_run(net, data, labkit.feature_extraction(epochs=1, batch_size=10)).fit()
    machine = insight.machines()["laptop"]
    row = insight.cost_table({"mine": insight.cost(run)}.values(), machine).iloc[0]
    seconds = insight.cost(run).seconds
    assert row["money (EUR)"] == pytest.approx(seconds / 3600 * machine.price_per_hour)
    assert row["energy (Wh)"] == pytest.approx(seconds / 3600 * machine.watts)
    many = insight.cost_table([insight.cost(run)], machine, runs=1000).iloc[0]
    assert many["money of 1,000 runs (EUR)"] == pytest.approx(1000 * row["money (EUR)"])
    assert row["memory (MB)"] == insight.cost(run).memory.total / 1e6


# ---------------------------------------------------------------- the clock


def test_every_depth_is_timed_in_every_turn_both_ways_and_the_median_is_told(run, monkeypatch):
    timed = []

    def count(copy, kept, clock):
        timed.append((copy.depth, kept))
        return float(len(timed))

    monkeypatch.setattr(Copy, "timed", count)
    table = insight.step_seconds(run, ["layer4", "head"], turns=3)
    there = [(d, k) for d in ("layer4", "head") for k in (False, True)]
    back = [(d, k) for d in ("head", "layer4") for k in (False, True)]
    assert timed == [*there, *back, *there]
    assert table.loc["layer4", "again"] == 7  # of 1, 7 and 9
    assert table.loc["head", "kept"] == 6  # of 4, 6 and 12


def leave_a_ring() -> None:
    ring = [torch.ones(40_000_000)]  # 160 MB
    ring.append(ring)


class LastOwner:
    """Garbage that leaves garbage: what its end lets go of is what a second pass of the collector finds."""

    def __init__(self) -> None:
        self.itself = self
        ring = [torch.ones(40_000_000)]  # 160 MB
        ring.append(ring)
        weakref.finalize(self, ring.copy)  # holds the ring until then


@pytest.mark.parametrize("leave", [leave_a_ring, LastOwner])
@pytest.mark.slow
def test_what_was_garbage_before_hides_nothing_of_what_is_taken(leave):
    gc.disable()  # until it is asked for, as it may be at any moment
    leave()
    with insight.meter(energy=False) as spent:
        gc.enable()
        while gc.collect():
            pass
        block = torch.ones(20_000_000)
        del block
    assert spent.peak is None or spent.peak >= 0.85 * 80e6


@pytest.mark.slow
def test_a_meter_tells_time_memory_and_how_energy_is_known(no_network):
    torch.ones(60_000_000)  # gone again: a peak from before is not of this stretch
    with insight.meter() as spent:
        assert spent.seconds is None
        block = torch.ones(20_000_000)
        end = time.process_time() + 0.2
        while time.process_time() < end:
            block.add_(1)
        del block
    assert spent.processor_seconds >= 0.2
    assert spent.seconds >= 0.2
    # of the block's 80 MB and less than half of what was there before
    assert spent.peak is None or 0.85 * 80e6 <= spent.peak < 0.85 * 240e6
    assert (spent.watt_hours is None) == ("codecarbon," not in spent.energy_by)
    assert spent.watt_hours is None or spent.watt_hours > 0


def test_a_meter_without_energy_asks_nobody():
    began = time.perf_counter()
    with insight.meter(energy=False) as spent:
        pass
    assert spent.watt_hours is None
    assert spent.seconds <= time.perf_counter() - began


# ---------------------------------------------------------------- prices


def test_every_shipped_price_has_a_date_a_source_and_says_whether_it_is_an_estimate():
    shipped = insight.machines()
    assert len(shipped) >= 3
    for row in shipped.values():
        assert date(2020, 1, 1) < row.date
        assert len(row.source) > 20
        assert isinstance(row.estimate, bool)
    assert list(insight.price_table(shipped)["machine"]) == list(shipped)


def test_money_and_energy_are_price_and_watts_times_hours():
    row = insight.Machine("a", 3.6, "EUR", 36, "2026-01-31", "a page that I made up")
    assert row.money(1000) == pytest.approx(1.0)
    assert row.watt_hours(100) == pytest.approx(1.0)
    assert row.date == date(2026, 1, 31)


def test_a_file_of_ones_own_is_read_like_the_shipped_one(tmp_path):
    mine = tmp_path / "prices.toml"
    mine.write_text(insight.prices.SHIPPED.read_text().replace('name = "laptop"', 'name = "mine"'))
    assert "mine" in insight.machines(mine)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no rows"),
        ("[[machine]]\nname = 'a'", "it needs name, price_per_hour"),
        ("[[machine", "no price table"),
        ("machine = 3", "no rows"),
        ("machine = [3]", "it needs name"),
    ],
)
def test_a_file_that_is_no_price_table_is_refused(tmp_path, text, said):
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(PriceError, match=said):
        insight.machines(path)


def test_two_rows_of_one_name_are_refused(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(2 * insight.prices.SHIPPED.read_text())
    with pytest.raises(PriceError, match="two rows named"):
        insight.machines(path)


COUNTED = """
import sys, labkit
from labkit.insight.cost import count_step
data = labkit.load_data("digits").subset(per_class=3)
run = labkit.Run(labkit.load_backbone("resnet10-glyphs"), data, labkit.full(batch_size=10))
assert count_step(run).forward > 4e8
assert "torch._dynamo" not in sys.modules
"""


@pytest.mark.slow
def test_counting_operations_does_without_torchs_compiler() -> None:
    subprocess.run([sys.executable, "-c", COUNTED], check=True, timeout=120)
