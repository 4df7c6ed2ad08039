"""A run that lies on disk is the same run: whatever it is asked and however it goes on, to the bit."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import labkit
from labkit import runtime
from labkit.tuning import Run, resting

pytestmark = pytest.mark.skipif(not resting.CAN_LET_GO, reason="this system keeps its pages")
MEGABYTE = 2**20


@pytest.fixture(scope="module")
def digits() -> Any:
    return labkit.load_data("digits").subset(per_class=3)


@pytest.fixture(scope="module")
def glyphs() -> Any:
    return labkit.load_backbone("resnet10-glyphs")


@pytest.fixture(autouse=True)
def _nobody_else() -> None:
    gc.collect()
    return


@pytest.fixture
def make_run(digits: Any, glyphs: Any) -> Callable[..., Run]:
    def make(layout: Any = "contiguous", **plan: Any) -> Run:
        settings = {"lr": 1e-3, "epochs": 3, "batch_size": 10, **plan}
        precision = runtime.Precision("fp32", layout)
        return Run(glyphs, digits, labkit.full(**settings), precision=precision)

    return make


def bits(run: Run) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in run.model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("plan", [{}, {"optimizer": "sgd"}, {"hold": 1.0}], ids=str)
@pytest.mark.slow
def test_a_run_that_lay_down_goes_on_to_the_bit(
    layout: str, plan: dict[str, Any], make_run: Callable[..., Run]
) -> None:
    plain, rested = make_run(layout, **plan), make_run(layout, **plan)
    for run in (plain, rested):
        for _ in range(4):
            run.step()
    assert rested.lie_down()
    resting.let_go()
    assert same(bits(plain), bits(rested))
    assert plain.evaluate("valid").loss == rested.evaluate("valid").loss
    assert plain.drift() == rested.drift()
    assert rested.audit().ok
    for run in (plain, rested):
        run.set(lr=3e-4)
        run.step()
        run.rewind(2)
        run.fit()
    assert same(bits(plain), bits(rested))


@pytest.mark.slow
def test_a_branch_of_a_run_that_lies_down_is_the_same_branch(make_run: Callable[..., Run]) -> None:
    run = make_run()
    run.fit(epochs=1)
    before = run.branch(step=2).fit()
    assert run.lie_down()
    resting.let_go()
    assert same(bits(before), bits(run.branch(step=2).fit()))


def test_a_frozen_part_that_lies_down_is_not_computed_again(make_run: Callable[..., Run]) -> None:
    run = make_run()
    run.set(trainable_from="head")
    run.fit(epochs=1)
    digests = run.trainer.prefix._digests
    writes = run.trainer.prefix._writes
    assert run.lie_down()
    run.step()
    assert run.trainer.prefix._digests == digests
    assert run.trainer.prefix._writes == writes


def test_a_run_that_trains_does_not_lie_down(make_run: Callable[..., Run]) -> None:
    run = make_run(epochs=200)
    run.start()
    assert not run.lie_down()
    run.stop()
    assert run.lie_down()


def test_a_run_in_a_loop_does_not_lie_down(make_run: Callable[..., Run]) -> None:
    run = make_run()
    events = run.events()
    next(events)
    assert not run.lie_down()
    events.close()


def test_the_runs_that_do_not_train_hold_no_more_than_is_allowed(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resting, "AWAKE_MOST", 70 * MEGABYTE)
    runs = [make_run() for _ in range(4)]
    for run in runs:
        run.step()
    resting.make_room(runs[-1])
    awake = [run.awake_bytes() for run in runs[:-1]]
    assert 0 < sum(awake) <= 70 * MEGABYTE
    assert awake[0] == 0  # the one that was used longest ago
    assert runs[-1].awake_bytes()


def test_runs_that_begin_alike_hold_their_beginning_once(make_run: Callable[..., Run]) -> None:
    one, other = make_run(), make_run()
    starts = zip(one.trainer.start(), other.trainer.start(), strict=True)
    assert all(mine is yours for mine, yours in starts)
    one.step()
    assert other.audit().ok
    assert sum(other.drift().values()) == 0


def test_a_disk_without_room_leaves_the_run_as_it_is(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    run = make_run()
    run.step()
    before = bits(run)
    monkeypatch.setattr(resting, "_take_room", full)
    assert not run.lie_down()
    assert same(before, bits(run))
    run.fit()


def test_tensors_that_share_memory_stay_together() -> None:
    table = torch.randn(1024, 1024)
    tied = [table, table[:512], torch.randn(1024, 1024)]
    rest = resting.lay_down(tied)
    assert rest is not None
    table[0, 0] = 7.0
    assert tied[1][0, 0] == 7.0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_what_lies_down_leaves_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resting, "TRIM_PAUSE", 0.0)

    def held() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    tensors = [torch.ones(25 * MEGABYTE) for _ in range(4)]  # 400 MB
    before = held()
    rest = resting.lay_down(tensors)
    resting.let_go()
    resting.trim()  # where a tensor found room in what was free already, that is not given back by itself
    assert rest is not None
    assert before - held() > 340 * MEGABYTE
    assert float(tensors[0].sum()) == 25 * MEGABYTE
    rest.take_up()
    assert float(tensors[3].sum()) == 25 * MEGABYTE
