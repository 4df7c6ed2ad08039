"""Sweeps on paper: which jobs there are, who does them in which order, what is kept of them. No process is started."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import labkit
from labkit import sweeps
from labkit.errors import LabkitError, PlanError, ShareError, SplitError, SweepError
from labkit.runtime import Precision
from labkit.sweeps import Job, Sweep, SweepRow, jobs_of, work
from labkit.sweeps.jobs import grouped
from labkit.sweeps.parts import ContentRef, set_up_worker, worker_setup
from labkit.sweeps.processes import Backlog, lanes_for
from labkit.sweeps.rows_on_disk import RowsOnDisk, line_of, row_of
from labkit.tuning import Run
from tests.small import Clouds, Here, Small


def run_of(plan: Any = None, net: Any = None, data: Any = None) -> Run:
    plan = plan or labkit.partial("head", lr=1e-2, epochs=2)
    return Run(net or Small(), data or Clouds(), plan, precision=Precision())


@pytest.fixture(scope="module")
def base() -> Run:
    return run_of()


def swept(base: Run, folder: Path, **axes: Any) -> Sweep:
    set_up_worker(worker_setup(base))
    return Sweep(jobs_of(base, axes), Here(), RowsOnDisk(folder), base.stages)


# ---------------------------------------------------------------- jobs


def test_every_combination_with_every_seed_is_one_job(base: Run) -> None:
    jobs = jobs_of(base, {"lr": [1e-3, 1e-2], "trainable_from": ["head", "body"], "seed": range(3)})
    assert len({job.key for job in jobs}) == len(jobs) == 12
    assert {(job.plan.phases[0].lr, job.plan.phases[0].trainable_from) for job in jobs} == {
        (lr, depth) for lr in (1e-3, 1e-2) for depth in ("head", "body")
    }
    assert [dict(job.cell) for job in jobs[:1]] == [{"lr": 1e-3, "trainable_from": "head"}]


def test_every_setting_of_a_plan_can_be_an_axis(base: Run) -> None:
    axes = {
        "lr_decay": [0.5, 1], "epochs": [1, 2], "schedule": ["constant", "cosine"], "warmup": 0.1,
        "batch_size": [8], "weight_decay": 0, "optimizer": "sgd", "augment": "none", "pretrained": [True, False],
        "frozen_statistics": "fixed", "hold": 10, "per_class": [4, 5],
    }  # fmt: skip
    jobs = jobs_of(base, axes)
    assert len(jobs) == 32
    assert {(job.plan.epochs, job.per_class, job.plan.pretrained) for job in jobs} == {
        (epochs, count, known) for epochs in (1, 2) for count in (4, 5) for known in (True, False)
    }


def test_the_key_holds_what_decides_the_outcome_and_nothing_else(base: Run) -> None:
    (job,) = jobs_of(base, {"lr": 1e-3, "trainable_from": "head"})
    same = run_of(labkit.partial(1, lr=1e-3, epochs=2).with_(name="other name"))
    assert jobs_of(same, {})[0].key == job.key
    others = [
        jobs_of(base, {"lr": 2e-3})[0],
        jobs_of(base, {"lr": 1e-3, "seed": 1})[0],
        jobs_of(base, {"lr": 1e-3, "per_class": 9})[0],
        jobs_of(base, {"lr": 1e-3}, test=True)[0],
        jobs_of(run_of(data=Clouds(30, seed=5)), {"lr": 1e-3})[0],
        jobs_of(Run(Small(), Clouds(), base.plan, precision=Precision("bf16")), {"lr": 1e-3})[0],
    ]
    assert len({job.key, *(other.key for other in others)}) == 7


def test_a_network_is_known_by_its_weights_not_by_its_name(base: Run) -> None:
    class Other(Small):
        def build(self, classes: int, seed: int = 0, pretrained: bool = True) -> Any:
            net = super().build(classes, seed, pretrained)
            net.body[0].weight.data[0, 0] += 1e-3
            return net

    assert jobs_of(run_of(net=Other()), {})[0].key != jobs_of(base, {})[0].key


def test_what_everybody_has_travels_by_name_and_the_rest_by_content(base: Run) -> None:
    shipped = Run(
        labkit.load_backbone("resnet10-glyphs"),
        labkit.load_data("digits").subset(5),
        labkit.full(epochs=1),
        precision=Precision(),
    )
    (job,) = jobs_of(shipped, {})
    assert job.net.spec
    assert job.data.spec
    assert worker_setup(shipped) == b""
    (own,) = jobs_of(base, {})
    assert own.net.spec is own.data.spec is None
    assert len(worker_setup(base)) > 1000


def test_old_examples_travel_with_the_data_and_belong_to_the_key() -> None:
    data = labkit.load_data("digits").subset(5)
    plan = labkit.full(epochs=1)
    net = labkit.load_backbone("resnet10-glyphs")
    plain, one, two = (
        Run(net, asked, plan, precision=Precision())
        for asked in (data, data.with_old(data.valid), data.with_old(data.train))
    )
    assert len({jobs_of(run, {})[0].key for run in (plain, one, two)}) == 3
    assert jobs_of(one, {"rehearse": [0, 1]})[1].data.spec is None
    assert len(worker_setup(one)) > 1000


def test_numpy_values_and_single_values_are_plain_values(base: Run) -> None:
    jobs = jobs_of(base, {"lr": np.array([1e-4, 1e-3]), "epochs": np.array([1, 2]), "seed": 7})
    assert [dict(job.cell) for job in jobs][:2] == [
        {"lr": 1e-4, "epochs": 1},
        {"lr": 1e-4, "epochs": 2},
    ]
    assert {type(value) for job in jobs for _, value in job.cell} == {float, int}
    assert {job.seed for job in jobs} == {7}


def test_the_base_run_is_left_alone(base: Run, tmp_path: Path) -> None:
    before = {key: value.clone() for key, value in base.model.state_dict().items()}
    swept(base, tmp_path, lr=[1e-2, 1e-1]).run(progress=False)
    assert base.step_number == 0
    assert all((before[key] == value).all() for key, value in base.model.state_dict().items())


def test_all_bad_combinations_are_refused_together_and_nothing_starts(base: Run) -> None:
    axes = {"lr": [1e-3, 3, -1], "trainable_from": ["head", "layer9"], "per_class": [5, 0]}
    with pytest.raises(PlanError) as refused:
        sweeps.sweep(base, **axes, seed=[0, -1])
    said = str(refused.value)
    for wrong in ("12 combinations", "lr=3", "lr=-1", "layer9", "per_class=0", "seed=-1"):
        assert wrong in said, wrong


@pytest.mark.parametrize(
    ("axes", "named"),
    [
        ({"momentum": [1]}, "momentum"),
        ({"lr": []}, "is empty"),
        ({"seed": range(0)}, "is empty"),
        ({"lr": [1e-3, 0.001]}, "more than once"),
        ({"trainable_from": ["head", 1]}, "more than once"),
        ({"augment": ["light"]}, "not offered"),
        ({"batch_size": [1]}, "batch_size=1"),
        ({"epochs": ["two"]}, "epochs='two'"),
        ({"lr": [[1e-3]]}, "is not a number"),
        ({"per_class": ["few"]}, "per_class"),
    ],
)
def test_a_wrong_axis_is_named(base: Run, axes: dict[str, Any], named: str) -> None:
    with pytest.raises(LabkitError, match=named):
        sweeps.sweep(base, **axes)


def test_phases_of_their_own_are_not_overruled() -> None:
    gradual = run_of(labkit.gradual(2, epochs=1))
    with pytest.raises(PlanError, match="2 phases"):
        sweeps.sweep(gradual, trainable_from=["head"], epochs=[3])
    assert [phase.lr for phase in jobs_of(gradual, {"lr": 0.1})[0].plan.phases] == [0.1, 0.1]


def test_only_a_run_can_be_swept_and_only_with_something_to_count_on(base: Run) -> None:
    with pytest.raises(PlanError, match="not a Run"):
        sweeps.sweep(base.plan, lr=[1e-3])
    blind = Clouds()
    blind.test = []
    with pytest.raises(SplitError, match="no test"):
        jobs_of(run_of(data=blind), {}, test=True)


def test_what_cannot_travel_is_said(base: Run) -> None:
    net = Small()
    net.lock = threading.Lock()
    with pytest.raises(ShareError, match="cannot be sent"):
        sweeps.sweep(run_of(net=net), lr=[1e-3])


@pytest.mark.parametrize("workers", [0, -1, 2.5, True])
def test_a_number_of_workers_is_a_whole_number(workers: Any) -> None:
    with pytest.raises(PlanError, match="workers="):
        lanes_for(workers, 5)
    assert lanes_for(8, 3) == 3


# ---------------------------------------------------------------- who does what


def test_runs_that_share_frozen_features_are_one_group_and_the_slowest_come_first(
    base: Run,
) -> None:
    axes = {"lr": [1e-3, 1e-2], "trainable_from": ["head", "body"], "seed": range(3)}
    groups = grouped(jobs_of(base, axes), base.stages, lanes=2)
    depths = [{job.plan.phases[0].trainable_from for job in group} for group in groups]
    assert depths == [{"body"}, {"head"}]
    assert [job.seed for job in groups[0]] == [0, 0, 1, 1, 2, 2]


def test_runs_on_other_examples_are_another_group(base: Run) -> None:
    groups = grouped(jobs_of(base, {"per_class": [4, 8], "seed": range(2)}), base.stages, 1)
    alike = [{(job.per_class, job.seed) for job in group} for group in groups]
    assert alike == [{(8, 0)}, {(8, 1)}, {(4, 0)}, {(4, 1)}]


def job_number(number: int) -> Job:
    part = ContentRef("0")
    return Job(part, part, labkit.full(), number, Precision())


@given(
    sizes=st.lists(st.integers(1, 6), max_size=5),
    turns=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=80),
)
@settings(deadline=None, max_examples=60)
def test_the_backlog_hands_out_every_job_exactly_once(
    sizes: list[int], turns: list[tuple[int, bool]]
) -> None:
    numbers = iter(range(100))
    groups = [[job_number(next(numbers)) for _ in range(size)] for size in sizes]
    backlog, done = Backlog(groups), []
    for lane, dies in turns:
        job = backlog.next(lane)
        if job and dies:
            backlog.give_back(lane, job)
        elif job:
            done.append(job.seed)
    for lane in range(4):
        while job := backlog.next(lane):
            done.append(job.seed)
    assert sorted(done) == list(range(sum(sizes)))


def test_a_lane_keeps_to_its_group_and_an_idle_one_takes_half_of_the_longest() -> None:
    numbers = iter(range(100))
    backlog = Backlog([[job_number(next(numbers)) for _ in range(size)] for size in (6, 1)])
    assert [backlog.next(0).seed for _ in range(2)] == [0, 1]
    assert [backlog.next(1).seed for _ in range(3)] == [6, 4, 5]
    assert [backlog.next(0).seed for _ in range(2)] == [2, 3]


# ---------------------------------------------------------------- rows


def test_a_row_is_what_the_same_run_gives_by_hand(base: Run, tmp_path: Path) -> None:
    made = swept(base, tmp_path, lr=[1e-2], trainable_from=["middle"], seed=[3]).run(False)
    (row,) = made.rows
    plan = labkit.partial("middle", lr=1e-2, epochs=2)
    run = Run(Small(), Clouds(), plan, 3, precision=Precision()).fit()
    end = run.evaluate("valid")
    assert (row.correct, row.count, row.epochs) == (end.correct, end.count, 2)
    assert row.loss == pytest.approx(end.loss, abs=1e-6)
    valid = run.history[run.history.split == "valid"].reset_index(drop=True)
    assert row.best_epoch == valid.loc[valid.correct.idxmax()].epoch
    assert row.curve == tuple(valid.correct)
    assert len(row.curve) == 3  # before training too
    assert (row.steps, row.status, row.test_correct) == (run.step_number, "done", None)


def test_the_test_split_is_counted_only_when_asked_for(base: Run, tmp_path: Path) -> None:
    set_up_worker(worker_setup(base))
    row = work(jobs_of(base, {}, test=True)[0])
    run = Run(base.net, base.data, base.plan, precision=Precision()).fit()
    assert (row.test_correct, row.test_count) == (run.evaluate("test").correct, 60)


def test_labels_a_class_are_drawn_by_the_seed(base: Run, tmp_path: Path) -> None:
    made = swept(base, tmp_path, per_class=[4], seed=[1, 2]).run(False)
    for row in made.rows:
        few = base.data.subset(4, row.seed)
        run = Run(base.net, few, base.plan, row.seed, precision=Precision()).fit()
        assert row.correct == run.evaluate("valid").correct


def test_a_run_that_diverges_is_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    wild = run_of(labkit.full(epochs=3, optimizer="sgd"), Small(tame=False), far_away())
    made = swept(wild, tmp_path, lr=[1e-6, 1.0], seed=range(2)).run(False)
    assert [row.status for row in made.rows] == ["done", "done", "diverged", "diverged"]
    assert made.rows[-1].accuracy is None
    assert "loss" in made.rows[-1].reason
    summary = made.summary()
    assert list(summary.seeds) == [2, 0]
    assert list(summary.diverged) == [0, 2]
    assert np.isnan(summary["mean"].iloc[1])


def far_away() -> Clouds:
    """Points so far out that large steps overflow."""
    data = Clouds()
    for split in (data.train, data.valid, data.test):
        split.points = split.points * 1e4
    return data


def test_a_run_that_cannot_be_made_is_a_row_and_is_tried_again_next_time(tmp_path: Path) -> None:
    broken = run_of()
    broken.data.train.points = broken.data.train.points[:, :4]  # the network takes six numbers
    first = swept(broken, tmp_path, lr=[1e-3]).run(False)
    assert [row.status for row in first.rows] == ["failed"]
    assert "RuntimeError" in first.rows[0].reason
    again = swept(broken, tmp_path, lr=[1e-3])
    assert len(again.run(False).executor.did) == 1


def test_the_table_has_a_row_a_run_in_the_order_of_the_jobs(base: Run, tmp_path: Path) -> None:
    made = swept(base, tmp_path, trainable_from=["head", "body"], lr=[1e-2], seed=range(2)).run(0)
    table = made.table
    assert list(table.columns[:4]) == ["trainable_from", "lr", "seed", "status"]
    assert list(zip(table.trainable_from, table.seed, strict=True)) == [
        ("head", 0), ("head", 1), ("body", 0), ("body", 1),
    ]  # fmt: skip
    assert list(table.accuracy) == [row.correct / row.count for row in made.rows]


def test_the_interval_over_seeds_is_students(base: Run, tmp_path: Path) -> None:
    from scipy.stats import t

    made = swept(base, tmp_path, lr=[1e-2], per_class=[4], seed=range(4)).run(False)
    values = [row.accuracy for row in made.rows]
    row = made.summary().iloc[0]
    low, high = t.interval(0.95, 3, fmean(values), np.std(values, ddof=1) / 2)
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((fmean(values), low, high))
    assert np.isnan(swept(base, tmp_path / "one", seed=[0]).run(False).summary()["low"].iloc[0])


def test_rows_come_as_they_finish_and_the_same_sweep_makes_none_twice(
    base: Run, tmp_path: Path
) -> None:
    made = swept(base, tmp_path, lr=[1e-3, 1e-2], seed=range(2))
    came = list(made)
    assert [row.key for row in came] == [job.key for job in made.executor.did]
    again = swept(base, tmp_path, lr=[1e-2, 1e-3, 1e-1], seed=range(2))
    again.run(False)
    assert {dict(job.cell)["lr"] for job in again.executor.did} == {1e-1}
    assert len(again.rows) == 6


def test_a_row_that_comes_twice_is_kept_once(base: Run, tmp_path: Path) -> None:
    class Twice(Here):
        def rows(self, groups: Any) -> Iterator[list[SweepRow]]:
            for rows in super().rows(groups):
                yield rows * 2
                yield rows

    set_up_worker(worker_setup(base))
    made = Sweep(jobs_of(base, {"seed": range(3)}), Twice(), RowsOnDisk(tmp_path), base.stages)
    assert len(list(made)) == len(made.rows) == 3
    assert len((tmp_path / "rows.jsonl").read_bytes().splitlines()) == 3


def test_what_goes_wrong_in_the_background_is_raised_where_rows_are_waited_for(
    base: Run, tmp_path: Path
) -> None:
    class Broken(Here):
        def rows(self, groups: Any) -> Iterator[list[SweepRow]]:
            yield next(super().rows(groups))
            raise SweepError("the cluster is gone")

    set_up_worker(worker_setup(base))
    made = Sweep(jobs_of(base, {"seed": range(3)}), Broken(), RowsOnDisk(tmp_path), base.stages)
    with pytest.raises(SweepError, match="cluster is gone"):
        made.run(progress=False)
    assert (len(made.rows), made.state) == (1, "failed")


# ---------------------------------------------------------------- the rows on disk


def row(seed: int = 0, **facts: Any) -> SweepRow:
    return SweepRow(f"key-{seed}", {"lr": 0.1}, seed, "done", **{"correct": 3, "count": 4, **facts})


def test_a_row_comes_back_from_its_line_as_it_was() -> None:
    first = row(loss=0.25, reason="näher\nbei")
    assert row_of(line_of(first)) == first
    assert row_of(line_of(row(curve=(1, 4, 9)))) == row(curve=(1, 4, 9))
    assert line_of(first).count(b"\n") == 1
    assert row_of(line_of(row(loss=float("nan")))) == row(loss=None)


@pytest.mark.parametrize("place", [3, 20, 60, -5])
def test_a_changed_byte_is_noticed(place: int) -> None:
    line = bytearray(line_of(row()))
    line[place] = ord("7") if line[place] != ord("7") else ord("8")
    assert row_of(bytes(line)) is None


def test_half_a_last_line_is_cut_off_and_written_again(tmp_path: Path) -> None:
    disk = RowsOnDisk(tmp_path)
    disk.open({})
    disk.append([row(seed) for seed in range(3)])
    disk.close()
    whole = disk.path.read_bytes()
    for cut in (1, 10, len(line_of(row(2)))):
        disk.path.write_bytes(whole[:-cut])
        again = RowsOnDisk(tmp_path)
        assert [r.seed for r in again.open({})] == [0, 1]
        again.append([row(2)])
        again.close()
        assert disk.path.read_bytes() == whole


def test_two_drivers_cannot_have_the_same_folder(tmp_path: Path) -> None:
    first, second = RowsOnDisk(tmp_path), RowsOnDisk(tmp_path)
    first.open({})
    with pytest.raises(SweepError, match=f"process {os.getpid()} on"):
        second.open({})
    first.close()
    second.open({})
    second.close()


def test_a_folder_that_cannot_be_written_costs_a_warning_and_no_row(
    base: Run, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    made = swept(base, tmp_path / "file" / "out", seed=range(3))
    with pytest.warns(RuntimeWarning, match="goes on"):
        made.run(progress=False)
    assert len(made.rows) == 3
