"""Two remedies for forgetting: off, nobody notices them; on, a run is data all the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import labkit
from labkit import insight
from labkit.errors import DataError, LabkitError, PlanError, ShareError
from labkit.insight import OldTask
from labkit.tuning import Run
from tests.invariants.conftest import same_optimizer_state, same_weights

BOTH = {"hold": 30.0, "rehearse": 1.0}
FROM_BEFORE = (  # a line written before plans knew of remedies: two steps, weight decay set after the first
    "labkit1.eNp9UNtqwzAM_ZWiZ68k3R5GfqWUoDpqYnAcYyvr2pB_33G7lsJgb5Z8dG4LBVFqFgo8CjWUJGNRV2-"
    "9v8Qhk6GzuH7QjL-"
    "YRBO7IB2thjpWfjnsXO-04LO7Yn7f4SVANpUhlQyNMHtv6ORdfLyjpNZ6ziAv8PmYRdvfKyhEz-FFIXJSx35zStO48"
    "XyR9AG5OHAWEOwXupnjo5e2QHDxBPkExm1V1YYkTha5mrps204sXzBs4TLbQbrZFyk7hawctMTnNM7xdr4eDB1Z7dD"
    "eM9bVo50HD0DgnaK6EQiIEnc8nkHDcz8KCBsKUxAsvpycYePTvNbaaJoFHaXpKqGFBXVZnS3ln9z3vfdnq__W4qcen"
    "ezrgkeM5Y_R3Xo4rD_SBKhb"
)


@pytest.fixture(scope="module")
def letters(glyphs: Any) -> OldTask:
    return insight.old_examples(glyphs, count=60)


@pytest.fixture(scope="module")
def remembering(glyphs: Any, letters: OldTask) -> Callable[..., Run]:
    """A run on digits that has letters at hand."""
    data = labkit.load_data("digits").subset(per_class=6).with_old(letters)

    def make(plan: Any = None, **settings: Any) -> Run:
        plan = plan or labkit.full(lr=1e-3, epochs=20, batch_size=12)
        return Run(glyphs, data, plan.with_(**settings), seed=0)

    return make


def steps(run: Run, count: int) -> Run:
    for _ in range(count):
        run.step()
    return run


def of_stages(run: Run, stages: tuple[str, ...]) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value.clone()
        for name in stages
        for key, value in run.model.get_submodule(name).state_dict().items()
    }


# ---------------------------------------------------------------- a run is data


def test_remedies_that_are_off_change_not_a_bit_even_where_old_examples_are_at_hand(
    remembering: Callable[..., Run],
) -> None:
    with_old = steps(remembering(), 4)
    without = Run(with_old.net, replace(with_old.data, old=None), with_old.plan, seed=0)
    assert same_weights(with_old, steps(without, 4))
    assert same_optimizer_state(with_old, without)


@pytest.mark.slow
def test_replay_rewind_and_branch_are_bitwise_with_both_remedies_set_on_the_way(
    remembering: Callable[..., Run],
) -> None:
    run = steps(remembering(hold=30.0), 3)
    run.set(rehearse=0.5, lr=3e-3)
    steps(run, 3).set(trainable_from="layer4", hold=100.0)
    steps(run, 3)
    again, branch = run.replay(), run.branch()
    assert same_weights(run, again)
    assert same_optimizer_state(run, again)
    assert run.log == again.log
    assert run.settings == again.settings
    assert same_weights(steps(run, 2), steps(branch, 2))
    run.rewind(4)
    assert (run.settings.hold, run.settings.rehearse) == (30.0, 0.5)
    assert same_weights(run, run.replay())


def test_frozen_stages_stay_bit_identical_with_both_remedies_on(
    remembering: Callable[..., Run],
) -> None:
    frozen = ("stem", "layer1", "layer2", "layer3")
    run = remembering(labkit.partial("layer4", lr=1e-3, epochs=20, batch_size=12), **BOTH)
    before = of_stages(run, frozen)
    steps(run, 6).set(trainable_from="head")
    assert all(torch.equal(before[key], value) for key, value in of_stages(run, frozen).items())
    assert run.drift()["layer4"] > 0
    kept = of_stages(run, ("layer4",))
    steps(run, 2)  # frozen on the way: held where it was frozen, not pulled any more
    assert all(torch.equal(kept[key], value) for key, value in of_stages(run, ("layer4",)).items())
    assert run.audit().ok


def test_a_line_carries_the_pull_and_lines_from_before_it_still_open(
    remembering: Callable[..., Run],
) -> None:
    run = steps(remembering(hold=30.0), 1)
    run.set(hold=5)
    again = steps(labkit.from_line(labkit.to_line(run)), 1)
    assert (again.plan.hold, steps(again, 1).settings.hold) == (30.0, 5.0)
    assert same_weights(again, steps(run, 1))
    old = labkit.from_line(FROM_BEFORE)
    assert steps(old, 2).settings.weight_decay == 0.2
    assert (old.settings.hold, old.settings.rehearse) == (0.0, 0.0)
    assert not {"hold", "rehearse"} & set(old.plan.to_dict())
    with pytest.raises(ShareError, match="with_old"):
        labkit.from_line(labkit.to_line(remembering(rehearse=1.0)))


# ---------------------------------------------------------------- the pull


def test_a_held_run_ends_nearer_to_its_start_and_a_full_pull_never_leaves_it(
    remembering: Callable[..., Run],
) -> None:
    free, held, fast = (steps(remembering(hold=hold), 5) for hold in (0.0, 100.0, 1000.0))
    for stage in free.stages[:-1]:
        assert held.drift()[stage] < free.drift()[stage], stage
        assert fast.drift()[stage] == 0, stage  # at lr 1e-3 each step goes all the way back
    assert fast.drift()["head"] > 0  # the head is new: it has no start worth keeping
    moved = {row.stage: row.buffers_changed for row in fast.audit().rows}
    assert moved["layer4"] > 0  # statistics are no weights: they follow the data


def test_each_stage_is_pulled_by_its_own_rate(remembering: Callable[..., Run]) -> None:
    run = steps(remembering(lr_decay=0.5), 1)
    start, before = run.trainer.initial["layer4"], of_stages(run, ("layer4",))
    name = "0.conv1.weight"
    clone = run.branch()
    run.set(hold=100.0)
    step, pulled = steps(clone, 1).model, steps(run, 1).model
    free, held = (m.get_submodule("layer4").state_dict()[name] for m in (step, pulled))
    assert not torch.equal(before[f"layer4.{name}"], free)
    torch.testing.assert_close(held, free.lerp(start[name], 100.0 * 1e-3 * 0.5))


# ---------------------------------------------------------------- rehearsal


@pytest.mark.slow
def test_rehearsing_keeps_more_of_the_old_task(remembering: Callable[..., Run]) -> None:
    plan = labkit.full(lr=3e-3, epochs=20, batch_size=20)
    silent, rehearsing = (steps(remembering(plan, rehearse=w), 15) for w in (0.0, 1.0))
    exam = insight.old_task(silent.net, count=200)
    assert insight.remembered(rehearsing, exam).correct > insight.remembered(silent, exam).correct


def test_old_examples_move_no_statistics_and_not_the_old_head(
    remembering: Callable[..., Run],
) -> None:
    run = remembering(rehearse=10.0)
    taught = {key: value.clone() for key, value in run.net.head.state_dict().items()}
    silent, rehearsing = steps(remembering(), 1), steps(run, 1)
    assert not same_weights(silent, rehearsing)
    ours, theirs = (dict(one.model.named_buffers()) for one in (silent, rehearsing))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert all(torch.equal(taught[key], value) for key, value in run.net.head.state_dict().items())
    assert not rehearsing.model.training
    assert silent.history.loss[1] == rehearsing.history.loss[1]  # told is the new task's alone


def test_where_only_the_head_trains_there_is_nothing_to_rehearse(
    remembering: Callable[..., Run],
) -> None:
    plan = labkit.feature_extraction(lr=1e-2, epochs=20, batch_size=12)
    assert same_weights(steps(remembering(plan, **BOTH), 3), steps(remembering(plan), 3))


class Whole(nn.Module):
    """A network that is no sequence: it adds its input to what its body makes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 6), nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.body(x))


def test_any_network_rehearses_whatever_it_does_on_the_way_to_its_head() -> None:
    from tests.small import Clouds, Points

    state = Whole(3).state_dict()
    net = labkit.Backbone.from_module(Whole, ("body", "head"), "whole", state)
    data = Clouds()
    data.old = Points(30, seed=3)
    run = steps(Run(net, data, labkit.full(1e-2, 3, batch_size=10, rehearse=1.0)), 3)
    silent = steps(Run(net, data, labkit.full(1e-2, 3, batch_size=10)), 3)
    assert not same_weights(run, silent)
    assert same_weights(run, run.replay())


# ---------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hold": -1}, "from 0 to 1000"),
        ({"hold": "much"}, "from 0 to 1000"),
        ({"hold": float("nan")}, "from 0 to 1000"),
        ({"rehearse": 101}, "from 0 to 100"),
        ({"rehearse": True}, "from 0 to 100"),
    ],
)
def test_a_strength_out_of_range_is_refused_in_a_plan_and_in_a_run(
    remembering: Callable[..., Run], settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(PlanError, match=words):
        labkit.full(**settings)
    run = remembering()
    with pytest.raises(PlanError, match=words):
        run.set(**settings)
    assert run.log == ()


def test_a_plan_that_cannot_rehearse_is_refused_and_told_what_to_do(
    glyphs: Any, digits: Any, letters: OldTask, remembering: Callable[..., Run]
) -> None:
    plan, with_old = labkit.full(rehearse=1.0), digits.with_old(letters)
    strange = OldTask("numbers", letters.images, letters.labels + 1000)
    refusals: list[tuple[Any, Any, Any, str]] = [
        (glyphs, digits, plan, r"digits brings none.*data\.with_old"),
        (labkit.load_backbone("resnet10-glyphs", weights=None), with_old, plan, "needs the head"),
        (glyphs, with_old, labkit.from_scratch(rehearse=1.0), "needs the head"),
        (glyphs, digits.with_old(strange), plan, "knows labels from 0 to"),
    ]
    for net, data, asked, words in refusals:
        with pytest.raises(PlanError, match=words):
            Run(net, data, asked)
        run = Run(net, data, asked.with_(rehearse=0.0))
        for way in (run.set, run.branch):
            with pytest.raises(PlanError, match=words):
                way(rehearse=1.0)


@pytest.mark.parametrize("nothing", [None, [], torch.rand(3, 3)])
def test_what_is_no_set_of_examples_cannot_be_rehearsed(digits: Any, nothing: Any) -> None:
    with pytest.raises(LabkitError, match="old_examples"):
        digits.with_old(nothing)
    empty = OldTask("nothing", torch.zeros(0, 3, 8, 8), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(DataError, match="not one example"):
        digits.with_old(empty)


def test_old_examples_stay_with_the_data_whatever_is_done_to_them(
    digits: Any, letters: OldTask
) -> None:
    changed = digits.with_old(letters).subset(per_class=3).mislabel(0.1).shift("noise")
    assert changed.old is letters
    assert digits.old is None
