"""One engine for whatever is asked: classes, spans and next tokens, of samples that differ in length, are trained,
frozen, cached, replayed, branched, rewound and audited by the same `Run`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import labkit
from labkit import runtime
from labkit.errors import DataError, LabkitError, StageError
from labkit.insight.drift import statistics_drift
from labkit.tuning import Plan, Run, trainer
from labkit.tuning.cache import PrefixCache
from labkit.tuning.prefix import Prefix
from labkit.tuning.task import Spans
from tests.invariants.conftest import same_optimizer_state, same_weights
from tests.toys import CASES, TextData, TextNet

FP32 = runtime.Precision()
_loaded: dict[str, TextData] = {}


@pytest.fixture
def toy(photos: Path) -> Callable[..., Run]:
    """A run of a toy for a task."""

    def make(task: str, plan: Plan, seed: int = 0, **net: Any) -> Run:
        load, build = CASES[task]
        if task not in _loaded:
            _loaded[task] = load(photos / "text")
        return Run(build(**net), _loaded[task], plan, seed, precision=FP32)

    return make


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch) -> PrefixCache:
    cache = PrefixCache()
    monkeypatch.setattr(trainer, "shared", cache)
    return cache


def steps(run: Run, count: int) -> Run:
    for _ in range(count):
        run.step()
    return run


def losses(run: Run) -> torch.Tensor:
    rows = run.history
    return torch.tensor(rows[rows["split"] == "train"]["loss"].to_numpy())


every_task = pytest.mark.parametrize("task", CASES)


@every_task
@pytest.mark.slow
def test_a_task_is_learned(toy: Callable[..., Run], task: str) -> None:
    run = toy(task, labkit.full(lr=1e-2, epochs=15, batch_size=16))
    before = run.evaluate("train")
    after = run.fit().evaluate("train")
    assert after.loss < 0.9 * before.loss
    assert after.interval[0] > before.interval[1]


@every_task
def test_a_steered_run_replays_branches_and_rewinds_to_the_bit(
    toy: Callable[..., Run], task: str
) -> None:
    run = steps(toy(task, labkit.full(lr=3e-3, epochs=4, batch_size=16)), 6)
    run.set(trainable_from="block1", lr=1e-3)
    steps(run, 6).set(accumulate=3, clip_norm=0.5)
    steps(run, 6)
    assert same_weights(run, run.replay())
    assert same_optimizer_state(run, run.replay())
    branch = run.branch(step=10)
    assert same_weights(steps(branch, 4), steps(run.branch(step=10), 4))
    expected = run.branch(step=8)
    run.rewind(8)
    assert same_weights(run, expected)
    assert same_weights(steps(run, 3), steps(expected, 3))


@every_task
def test_frozen_stages_stand_still_and_the_audit_says_so(
    toy: Callable[..., Run], task: str
) -> None:
    run = steps(toy(task, labkit.partial("block1", lr=3e-3, batch_size=16)), 12)
    audit = run.audit()
    assert audit.ok, audit
    still = {row.stage for row in audit.rows if not row.tensors_changed and not row.buffers_changed}
    assert still == {"embeddings", "block0"}
    assert run.drift()["block0"] == 0 < run.drift()["block1"]


@every_task
@pytest.mark.slow
def test_what_frozen_stages_make_of_ragged_samples_is_kept_and_cannot_be_seen(
    toy: Callable[..., Run], task: str, own_cache: PrefixCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = labkit.partial("block1", lr=3e-3, epochs=3, batch_size=16)
    kept = toy(task, plan).fit()
    entries = list(own_cache._entries.values())
    assert len(entries) > 2  # one a length
    assert sum(e.computed for e in entries) == len(kept.data.train) + len(kept.data.valid)
    monkeypatch.setattr(trainer, "shared", PrefixCache(memory=0, disk=0))
    computed = toy(task, plan).fit()
    assert len(trainer.shared) == 0
    assert torch.equal(losses(kept), losses(computed))
    assert same_weights(kept, computed)
    monkeypatch.setattr(Prefix, "below", lambda *_: None)
    plain = toy(task, plan).fit()
    assert (losses(kept) - losses(plain)).abs().max() <= 1e-4


@every_task
def test_losses_are_means_over_what_is_counted(toy: Callable[..., Run], task: str) -> None:
    run = toy(task, labkit.full(lr=1e-3, epochs=1, batch_size=16)).fit()
    rows = run.history
    train = rows[rows["split"] == "train"]
    closed = [event for _, event in run.journal.since() if hasattr(event, "train_loss")][-1]
    expected = (train["loss"] * train["count"]).sum() / train["count"].sum()
    assert closed.train_loss == pytest.approx(expected)
    assert closed.train_count == train["count"].sum()
    asked = {"next-token": int((run.data.train.labels != -100).sum())}
    assert closed.train_count == asked.get(task, len(run.data.train))


def test_the_loss_of_tokens_is_that_of_torch_over_all_of_them(toy: Callable[..., Run]) -> None:
    run = toy("next-token", labkit.full(lr=1e-3))
    found = run.evaluate("valid")
    inputs, labels = run.data.valid.batch(torch.arange(len(run.data.valid)))
    with torch.no_grad():
        scores = run.model(**inputs)
    expected = F.cross_entropy(scores.flatten(0, 1), labels.flatten(), ignore_index=-100)
    assert found.loss == pytest.approx(expected.item(), rel=1e-5)
    asked = labels != -100
    assert found.count == int(asked.sum())
    assert found.correct == int((scores.argmax(2) == labels)[asked].sum())
    assert found.predictions.shape == found.targets.shape == found.probabilities.shape


def test_an_answer_does_not_end_before_it_begins() -> None:
    scores = torch.zeros(1, 4, 2)
    scores[0, 2, 0] = 5.0  # likeliest to begin at the third token,
    scores[0, 0, 1] = 5.0  # and to end at the first
    scores[0, 3, 1] = 4.0
    assert Spans().best(scores).tolist() == [[2, 3]]


@every_task
def test_a_batch_in_parts_takes_the_step_of_the_whole(toy: Callable[..., Run], task: str) -> None:
    """Counted over the whole batch: the mean of the parts' means is another loss where parts differ in length."""
    plan = labkit.full(lr=1e-3, batch_size=32, optimizer="sgd")
    whole = steps(toy(task, plan, dropout=0.0), 3)
    parts = steps(toy(task, plan.with_(accumulate=5), dropout=0.0), 3)
    assert torch.allclose(losses(whole), losses(parts), rtol=1e-5)
    for ours, theirs in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-7)
    assert list(whole.history["correct"]) == list(parts.history["correct"])


def test_a_clipped_step_is_as_long_as_allowed(toy: Callable[..., Run]) -> None:
    """Plain gradient descent moves by the rate times the gradient, so the move tells how long it was."""
    plan = labkit.full(lr=0.1, batch_size=32, optimizer="sgd", weight_decay=0)
    moved = {}
    for allowed in (0.0, 0.05):
        run = toy("classify", plan.with_(clip_norm=allowed), dropout=0.0)
        start = [p.detach().clone() for p in run.model.parameters()]
        run.step()
        away = [
            (p.detach() - s).square().sum()
            for p, s in zip(run.model.parameters(), start, strict=True)
        ]
        moved[allowed] = float(torch.stack(away).sum().sqrt())
    assert moved[0.05] == pytest.approx(
        0.05 * 0.1 * 1.9, rel=1e-3
    )  # Nesterov's first step is 1.9 gradients
    assert moved[0.0] > 1.2 * moved[0.05]


def test_biases_and_norms_can_go_without_weight_decay(toy: Callable[..., Run]) -> None:
    plan = labkit.full(lr=1e-3, weight_decay=0.5)
    assert len(toy("classify", plan).optimizer.param_groups) == 4
    run = steps(toy("classify", plan.with_(decay_all=False)), 1)
    for group in run.optimizer.param_groups:
        assert group["weight_decay"] == (0.5 if group["decays"] else 0)
        assert all((parameter.ndim > 1) == group["decays"] for parameter in group["params"])
    held = [p for group in run.optimizer.param_groups for p in group["params"]]
    assert len(held) == len(set(held)) == len(list(run.model.parameters()))
    steps(run, 5)
    assert same_weights(run, run.replay())
    assert same_optimizer_state(run, run.branch())


# ---------------------------------------------------------------- ties


def test_tied_weights_are_counted_moved_and_audited_once(toy: Callable[..., Run]) -> None:
    run = steps(toy("next-token", labkit.full(lr=3e-3, batch_size=16)), 3)
    held = [p for group in run.optimizer.param_groups for p in group["params"]]
    assert len(held) == len(set(held)) == len(list(run.model.parameters()))
    rows = {row.stage: row for row in run.audit().rows}
    assert sum(row.parameters for row in rows.values()) == run.parameters_trained()[1]
    assert (
        rows["head"].parameters == 32
    )  # of its norm; the output weights stand with the embeddings
    assert run.model.head.output.weight is run.model.embeddings.words.weight


def test_tied_weights_stand_still_with_the_first_stage_that_holds_them(
    toy: Callable[..., Run],
) -> None:
    run = steps(toy("next-token", labkit.feature_extraction(lr=3e-3, batch_size=16)), 5)
    assert not run.model.head.output.weight.requires_grad
    assert run.audit().ok
    assert run.drift()["embeddings"] == 0 < run.drift()["head"]


def test_a_stage_whose_weights_are_all_tied_cannot_train_alone(toy: Callable[..., Run]) -> None:
    with pytest.raises(StageError, match="Use trainable_from='block1' or a stage below"):
        toy("next-token", labkit.feature_extraction(), norm=False)
    run = toy("next-token", labkit.full(lr=1e-3), norm=False)
    with pytest.raises(StageError, match="would train nothing"):
        run.set(trainable_from="head")
    assert run.settings.trainable_from == "embeddings"
    later = labkit.gradual(["block1", "head"], epochs=1)
    with pytest.raises(StageError, match="would train nothing"):
        toy("next-token", later, norm=False)


# ---------------------------------------------------------------- adapters


def test_an_adapter_trains_in_a_frozen_stage(toy: Callable[..., Run]) -> None:
    plan = labkit.feature_extraction(lr=1e-2, batch_size=16)
    run = steps(toy("classify", plan, adapters=("block0", "block1")), 10)
    audit = run.audit()
    assert audit.ok, audit
    rows = {row.stage: row for row in audit.rows}
    assert not rows["block0"].trainable
    assert rows["block0"].tensors_changed == 0
    assert rows["block0 adapters"].trainable
    assert rows["block0 adapters"].tensors_changed == 2
    assert rows["block0 adapters"].drift > 0
    assert run.trainer.prefix.cut == 1  # what lies above an adapter is no constant
    assert same_weights(run, run.replay())
    run.rewind(4)
    assert same_weights(run, run.replay())


def test_statistics_of_stages_are_asked_for_where_adapters_stand_beside_them(
    toy: Callable[..., Run],
) -> None:
    run = toy("classify", labkit.feature_extraction(lr=1e-2), adapters=("block0",))
    assert statistics_drift(run) == 0  # nothing has trained, the adapters neither
    assert statistics_drift(steps(run, 2)) == 0


def test_a_stage_that_is_frozen_while_it_trains_leaves_its_adapter_training(
    toy: Callable[..., Run],
) -> None:
    run = toy("classify", labkit.full(lr=1e-2, batch_size=16), adapters=("block0",))
    steps(run, 4).set(trainable_from="head")
    before = {key: tensor.clone() for key, tensor in run.model.block0.state_dict().items()}
    steps(run, 4)
    moved = {
        key
        for key, tensor in run.model.block0.state_dict().items()
        if not torch.equal(tensor, before[key])
    }
    assert moved == {"query.added.down.weight", "query.added.up.weight"}


def test_a_checkpoint_keeps_of_a_frozen_stage_only_its_adapter(toy: Callable[..., Run]) -> None:
    plan = labkit.feature_extraction(lr=1e-2, batch_size=16)
    run = steps(toy("classify", plan, adapters=("block0",)), 4)
    kept = run.trainer.checkpoint(None)
    assert kept.weights["block0"] is run.trainer.initial["block0"]
    assert kept.weights["block0 adapters"] is not run.trainer.initial["block0 adapters"]


# ---------------------------------------------------------------- dropout


def test_dropout_stands_still_in_frozen_stages_and_the_audit_says_so_where_it_does_not(
    toy: Callable[..., Run],
) -> None:
    plan = labkit.partial("block1", lr=1e-3, batch_size=16)
    run = steps(toy("classify", plan), 1)
    assert not run.in_train_mode(run.model.block0.dropout)
    assert run.in_train_mode(run.model.block1.dropout)
    assert run.audit().ok
    left_on = steps(toy("classify", plan.with_(frozen_statistics="running")), 1).audit()
    assert not left_on.ok
    assert any("block0" in told and "dropout" in told for told in left_on.problems)
    assert not any("block1" in told for told in left_on.problems)


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("spans", lambda labels: labels.flip(1)),
        ("spans", lambda labels: labels + 500),
        ("spans", lambda labels: labels[:, 0]),
        ("next-token", lambda labels: labels.clamp(max=-100)),
        ("next-token", lambda labels: labels + 200),
        ("next-token", lambda labels: labels[:, 0]),
        ("next-token", lambda labels: labels.float()),
    ],
)
def test_labels_that_are_no_answers_are_refused_before_anything_runs(
    toy: Callable[..., Run], task: str, labels: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    right = toy(task, labkit.full()).data.train
    kept = right.labels
    try:
        right.labels = labels(kept)
        with pytest.raises(DataError, match=r"labels of train|Sample"):
            toy(task, labkit.full())
    finally:
        right.labels = kept


@pytest.mark.parametrize("said", ["klassify", 3, None, object(), dict])
def test_a_task_that_is_none_is_refused(toy: Callable[..., Run], said: Any) -> None:
    data = toy("classify", labkit.full()).data
    kept = data.task
    try:
        data.task = said
        with pytest.raises(DataError, match="task"):
            toy("classify", labkit.full())
    finally:
        data.task = kept


@every_task
def test_a_network_that_answers_something_else_is_told(toy: Callable[..., Run], task: str) -> None:
    other = "spans" if task == "classify" else "classify"
    run = toy(task, labkit.full())
    wrong = Run(TextNet(other, words=run.net.words), run.data, labkit.full(), precision=FP32)
    with pytest.raises(LabkitError, match=r"gave a tensor of shape|scores"):
        wrong.fit()
