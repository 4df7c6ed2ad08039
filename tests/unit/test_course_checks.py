"""Every check accepts right answers, and says of each plausible wrong one what is wrong with it."""

from __future__ import annotations

from math import cos, inf, isfinite, pi
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import labkit
from labkit.errors import LabkitError
from labkit.learn import check, hint, progress
from tests.answers import WHATEVER, Answers
from tests.small import Clouds, Small


@pytest.fixture(autouse=True)
def _own_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_PROGRESS", str(tmp_path / "progress.json"))


# ---------------------------------------------------------------- 00


def _valid(history):
    return history[history.split == "valid"]


def _steered(*lives, **settings):
    """A run of four epochs that was given each rate for so many epochs."""
    plan = labkit.from_scratch(lr=0.01, epochs=4, batch_size=30, **settings)
    run = labkit.Run(Small(), Clouds(), plan, seed=1)
    for lr, epochs in lives:
        run.set(lr=lr)
        run.fit(epochs=epochs)
    return run


def _unsteered():
    """No command at all."""
    return _steered().fit()


def _mended():
    """Trained to the end at one rate, then taken back to where the command belongs."""
    run = _steered((0.01, 4))
    run.rewind(6)
    run.set(lr=0.001)
    return run.fit()


def _obedient():
    """The rate is lowered by the plan, and no command is given."""
    return _steered(schedule="linear").fit()


RIGHT_00: dict[str, list[Any]] = {
    "00-best-epoch": [
        lambda h: int(_valid(h).set_index("epoch").loss.idxmin()),
        lambda h: _valid(h).sort_values("loss").epoch.iloc[0],
    ],
    "00-two-rates": [_steered((0.01, 2), (0.001, 2)), _steered((0.3, 2), (0.03, 2)), _mended()],
}
WRONG_00 = [
    ("00-best-epoch", lambda h: h.groupby("epoch").loss.mean().idxmin(), "training loss"),
    ("00-best-epoch", lambda h: h.set_index("epoch").loss.idxmin(), "lowest training loss"),
    ("00-best-epoch", lambda h: _valid(h).set_index("epoch").accuracy.idxmax(), "best accuracy"),
    ("00-best-epoch", lambda h: _valid(h).loss.idxmin(), "label of a row"),
    ("00-best-epoch", lambda h: int(_valid(h).loss.argmin()), "in order"),
    ("00-best-epoch", lambda h: _valid(h).set_index("epoch").loss.idxmax(), "a small one"),
    ("00-best-epoch", lambda h: _valid(h).loss.min(), "one whole number"),
    ("00-best-epoch", lambda h: None, "returned nothing"),
    ("00-best-epoch", lambda h: _valid(h).nsmallest(1, "loss").epoch, "one whole number"),
    ("00-two-rates", None, "Hand over the run"),
    ("00-two-rates", _steered(), "not taken a step"),
    ("00-two-rates", _steered((0.01, 4)), "only one was ever trained with"),
    ("00-two-rates", _unsteered(), "same learning rate"),
    ("00-two-rates", _steered((0.01, 2), (0.1, 2)), "task is to lower it"),
    ("00-two-rates", _steered((0.01, 2), (0.005, 2)), "Asked is a tenth"),
    ("00-two-rates", _steered((0.01, 1), (0.001, 3)), "Two epochs at each rate"),
    ("00-two-rates", _steered((0.01, 2), (0.001, 1)), "Two epochs at each rate"),
    ("00-two-rates", _obedient(), "schedule of the plan"),
]

# ---------------------------------------------------------------- 04


def _features(model, images):
    model.eval()
    with torch.no_grad():
        x = images
        for name, stage in model.named_children():
            if name != "head":
                x = stage(x)
        return x.mean(dim=(2, 3))


def _features_training(model, images):
    model.train()
    with torch.no_grad():
        return model.layer1(model.stem(images)).mean(dim=(2, 3))


def _features_graph(model, images):
    model.eval()
    return model.layer1(model.stem(images)).mean(dim=(2, 3))


def _features_early(model, images):
    model.eval()
    with torch.no_grad():
        return model.stem(images).mean(dim=(2, 3))


def _features_flat(model, images):
    model.eval()
    with torch.no_grad():
        return model.layer1(model.stem(images)).flatten(1)


def _answers(model, images):
    model.eval()
    with torch.no_grad():
        return model(images)


def _near(points, labels, asked, k):
    return labels[torch.cdist(asked, points).topk(k, largest=False).indices]


def _vote(points, labels, asked, k):
    return _near(points, labels, asked, k).mode(dim=1).values


def _new_fc(model, n):
    model.head.fc = nn.Linear(model.head.fc.in_features, n)
    return model


def _new_head(model, n):
    model.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, n))
    return model


def _renamed_only(model, n):
    model.head.fc.out_features = n
    return model


def _appended(model, n):
    return nn.Sequential(model, nn.Linear(4, n))


def _frozen_fc(model, n):
    _new_fc(model, n).head.fc.requires_grad_(False)
    return model


def _wrong_width(model, n):
    model.head.fc = nn.Linear(512, n)
    return model


def _reset_all(model, n):
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
    return _new_fc(model, n)


RIGHT_04 = {
    "04-features": [_features],
    "04-neighbours": [_vote],
    "04-output-layer": [_new_fc, _new_head],
}
WRONG_04 = [
    ("04-features", _features_training, "statistics moved"),
    ("04-features", _features_graph, "gradients"),
    ("04-features", _answers, "answers of the head"),
    ("04-features", _features_flat, "averaged over height"),
    ("04-features", _features_early, "last stage before the head"),
    ("04-features", lambda m, x: None, "Return a tensor"),
    (
        "04-neighbours",
        lambda p, y, a, k: torch.cdist(a, p).topk(k, largest=False).indices.mode(dim=1).values,
        "positions",
    ),
    ("04-neighbours", lambda p, y, a, k: _near(p, y, a, k).float().mean(1).round().long(), "mean"),
    ("04-neighbours", lambda p, y, a, k: _near(p, y, a, k).median(dim=1).values, "in the middle"),
    ("04-neighbours", lambda p, y, a, k: _vote(p, y, a, 1), "nearest one alone"),
    (
        "04-neighbours",
        lambda p, y, a, k: y[torch.cdist(a, p).topk(k).indices].mode(dim=1).values,
        "farthest",
    ),
    ("04-neighbours", lambda p, y, a, k: _vote(p, y, a, 3), "is k used"),
    ("04-neighbours", lambda p, y, a, k: 7, "one class for each row"),
    ("04-output-layer", _renamed_only, "last layer is the old one"),
    ("04-output-layer", _frozen_fc, "cannot learn"),
    ("04-output-layer", _wrong_width, "no longer goes through"),
    ("04-output-layer", _reset_all, "below the head"),
    ("04-output-layer", _appended, "under their names"),
    ("04-output-layer", lambda m, n: None, "Return the model"),
]

# ---------------------------------------------------------------- 05


def _freeze(model, names):
    for name, stage in model.named_children():
        stage.requires_grad_(name not in names)
        stage.train(name not in names)


def _freeze_gradients(model, names):
    model.train()
    for name, stage in model.named_children():
        stage.requires_grad_(name not in names)


def _freeze_mode(model, names):
    for name, stage in model.named_children():
        stage.train(name not in names)


def _freeze_eval_all(model, names):
    model.eval()
    for name, stage in model.named_children():
        stage.requires_grad_(name not in names)


def _freeze_everything(model, names):
    model.eval()
    model.requires_grad_(False)


def _freeze_for_good(model, names):
    for name, stage in model.named_children():
        if name in names:
            stage.requires_grad_(False).eval()


def _unfreeze(model, name, optimizer):
    stage = model.get_submodule(name).requires_grad_(True).train()
    optimizer.add_param_group({"params": stage.parameters()})


def _unfreeze_without_optimizer(model, name, optimizer):
    model.get_submodule(name).requires_grad_(True).train()


def _unfreeze_in_eval(model, name, optimizer):
    stage = model.get_submodule(name).requires_grad_(True)
    optimizer.add_param_group({"params": stage.parameters()})


def _unfreeze_all(model, name, optimizer):
    model.requires_grad_(True).train()
    rest = [p for n, p in model.named_parameters() if not n.startswith("head")]
    optimizer.add_param_group({"params": rest})


def _unfreeze_again(model, name, optimizer):
    model.get_submodule(name).requires_grad_(True).train()
    optimizer.add_param_group({"params": model.parameters()})


def _unfreeze_without_gradient(model, name, optimizer):
    stage = model.get_submodule(name).train()
    optimizer.add_param_group({"params": stage.parameters()})


def _share(model):
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, trains in sizes if trains) / sum(n for n, _ in sizes)


def _share_of_tensors(model):
    return sum(p.requires_grad for p in model.parameters()) / len(list(model.parameters()))


def _share_in_training_mode(model):
    sizes = [(p.numel(), stage.training) for stage in model.children() for p in stage.parameters()]
    return sum(n for n, trains in sizes if trains) / sum(n for n, _ in sizes)


def _with_buffers(model):
    everything = sum(t.numel() for t in model.state_dict().values())
    return sum(p.numel() for p in model.parameters() if p.requires_grad) / everything


RIGHT_05 = {"05-freeze": [_freeze], "05-thaw": [_unfreeze], "05-count": [_share]}
WRONG_05 = [
    ("05-freeze", _freeze_gradients, "BatchNorm statistics followed"),
    ("05-freeze", _freeze_mode, "weights of the frozen stage moved"),
    ("05-freeze", _freeze_eval_all, "left in evaluation mode"),
    ("05-freeze", _freeze_everything, "should learn"),
    ("05-freeze", _freeze_for_good, "still does not learn"),
    ("05-freeze", lambda m, n: None, "moved"),
    ("05-thaw", _unfreeze_without_optimizer, "optimiser does not know"),
    ("05-thaw", _unfreeze_in_eval, "evaluation mode"),
    ("05-thaw", _unfreeze_all, "stem changed too"),
    ("05-thaw", _unfreeze_again, "handed what it has already"),
    ("05-thaw", _unfreeze_without_gradient, "do not require a gradient"),
    ("05-count", _share_of_tensors, "share of tensors"),
    ("05-count", lambda m: 100 * _share(m), "percent"),
    ("05-count", lambda m: 1 - _share(m), "frozen"),
    ("05-count", _share_in_training_mode, "requires_grad"),
    ("05-count", _with_buffers, "buffers, not parameters"),
    ("05-count", lambda m: sum(p.numel() for p in m.parameters() if p.requires_grad), "number of"),
]

# ---------------------------------------------------------------- 06


def _epoch(model, batches, optimizer, clear=True, mode=True, mean=False, drop=0):
    model.train(mode)
    hits = []
    for images, labels in batches[: len(batches) - drop]:
        if clear:
            optimizer.zero_grad()
        scores = model(images)
        nn.functional.cross_entropy(scores, labels).backward()
        optimizer.step()
        hits.append((int((scores.argmax(1) == labels).sum()), len(labels)))
    if mean:
        return sum(h / n for h, n in hits) / len(hits)
    return sum(h for h, _ in hits) / sum(n for _, n in hits)


def _epoch_asked_again(model, batches, optimizer):
    """Trained as it should be; but the share is that of the trained network."""
    _epoch(model, batches, optimizer)
    model.eval()
    with torch.no_grad():
        hits = [(model(images).argmax(1) == labels).sum().item() for images, labels in batches]
    return sum(hits) / sum(len(labels) for _, labels in batches)


def _epoch_without_step(model, batches, optimizer):
    model.train()
    for images, labels in batches:
        nn.functional.cross_entropy(model(images), labels).backward()
    return 0.1


def _distance(before, after):
    squares = sum(float((after[name] - before[name]).square().sum()) for name in before)
    return squares**0.5


def _length(state):
    return sum(float(tensor.square().sum()) for tensor in state.values()) ** 0.5


def _drift(before, after):
    return _distance(before, after) / _length(before)


def _each(before, after):
    return [float((after[n] - before[n]).norm() / before[n].norm()) for n in before]


def _cancelling(before, after):
    moved = sum(float((after[name] - before[name]).sum()) for name in before)
    return abs(moved) / _length(before)


def _ladder(stages, lr, decay):
    return {name: lr * decay ** (len(stages) - 1 - i) for i, name in enumerate(stages)}


RIGHT_06 = {
    "06-epoch": [_epoch, lambda *a: torch.tensor(_epoch(*a))],
    "06-drift": [_drift],
    "06-rates": [_ladder],
}
WRONG_06 = [
    ("06-epoch", lambda *a: _epoch(*a, clear=False), "never cleared"),
    ("06-epoch", lambda *a: _epoch(*a, mode=False), "evaluation mode"),
    ("06-epoch", lambda *a: _epoch(*a, mean=True), "mean of the batch accuracies"),
    ("06-epoch", lambda *a: _epoch(*a, drop=1), "shorter batch was left out"),
    ("06-epoch", _epoch_asked_again, "right on the way"),
    ("06-epoch", _epoch_without_step, "No weight moved"),
    ("06-epoch", lambda *a: 18 * _epoch(*a), "Divide"),
    ("06-epoch", lambda *a: (_epoch(*a), 1), "Return one number"),
    ("06-drift", _distance, "distance alone"),
    ("06-drift", lambda b, a: _distance(b, a) / _length(a), "where the weights ended"),
    ("06-drift", lambda b, a: sum(_each(b, a)) / 2, "averaged"),
    ("06-drift", lambda b, a: sum(_each(b, a)), "added up"),
    ("06-drift", lambda b, a: _drift(b, a) ** 2, "root is missing"),
    ("06-drift", lambda b, a: 100 * _drift(b, a), "percent"),
    ("06-drift", _cancelling, "cancelled"),
    ("06-rates", lambda s, lr, d: _ladder(s[::-1], lr, d), "reversed"),
    ("06-rates", lambda s, lr, d: _ladder(s, lr * d, d), "already lost a factor"),
    ("06-rates", lambda s, lr, d: dict.fromkeys(s, lr), "decay was not used"),
    ("06-rates", lambda s, lr, d: {n: lr if n == "head" else lr * d for n in s}, "another one"),
    ("06-rates", lambda s, lr, d: {n: lr * d ** (3 - i) for i, n in enumerate(s)}, "two stages"),
    ("06-rates", lambda s, lr, d: [lr] * len(s), "dictionary"),
]

# ---------------------------------------------------------------- 07


def _diverges(rates, losses):
    best = min(range(len(losses)), key=lambda i: losses[i] if isfinite(losses[i]) else inf)
    for rate, loss in list(zip(rates, losses, strict=True))[best:]:
        if not loss <= losses[0]:
            return rate
    return None


def _diverges_numpy(rates, losses):
    losses = np.array(losses)
    beyond = np.arange(len(losses)) > np.nanargmin(losses)
    off = beyond & ~(losses <= losses[0])
    return float(np.array(rates)[off][0]) if off.any() else None


def _above_start(rates, losses):
    return next((r for r, loss in zip(rates, losses, strict=True) if loss > losses[0]), None)


def _deaf_to_nan(rates, losses):
    best = losses.index(min(loss for loss in losses if isfinite(loss)))
    above = [r for r, x in zip(rates[best:], losses[best:], strict=True) if x > losses[0]]
    return above[0] if above else None


def _always_one(rates, losses):
    return _diverges(rates, losses) or rates[-1]


def _schedule(step, steps, peak, warmup):
    if step < warmup:
        return peak * step / warmup
    return peak * (1 + cos(pi * (step - warmup) / (steps - warmup))) / 2


def _schedule_by_labkit(step, steps, peak, warmup):
    return peak * labkit.tuning.rate_factor("cosine", warmup / steps, step / steps)


def _from_step_0(step, steps, peak, warmup):
    line = peak * step / warmup if step < warmup else inf
    return min(line, peak * (1 + cos(pi * step / steps)) / 2)


def _whole_cosine(step, steps, peak, warmup):
    if step < warmup:
        return peak * step / warmup
    return peak * (1 + cos(2 * pi * (step - warmup) / (steps - warmup))) / 2


def _straight(step, steps, peak, warmup):
    return peak * min(step / warmup if warmup else 1, (steps - step) / (steps - warmup))


def _without_guard(step, steps, peak, warmup):
    return min(peak * step / warmup, _schedule(step, steps, peak, 0 if step < 0 else warmup))


def _from_step_1(step, steps, peak, warmup):
    return peak * (step + 1) / warmup if step < warmup else _schedule(step, steps, peak, warmup)


class _Remembering:
    """A rate that is shrunk a little at each call."""

    def __init__(self):
        self.rate = 0.02

    def __call__(self, step, steps, peak, warmup):
        self.rate *= 0.99
        return self.rate


def _groups(model, lr, decay, trainable_from):
    made = []
    for name, stage in reversed(list(model.named_children())):
        made.append({"params": stage.parameters(), "lr": lr * decay ** len(made)})
        if name == trainable_from:
            return made


def _groups_in_order(model, lr, decay, trainable_from, head_last=True, step_down=0):
    names = [name for name, _ in model.named_children()]
    kept = names[names.index(trainable_from) :]
    rates = [lr * decay ** (number + step_down) for number in range(len(kept))]
    rates = rates[::-1] if head_last else rates
    return [
        {"params": list(model.get_submodule(name).parameters()), "lr": rate}
        for name, rate in zip(kept, rates, strict=True)
    ]


def _groups_all(model, lr, decay, trainable_from):
    return _groups(model, lr, decay, "stem")


def _groups_head(model, lr, decay, trainable_from):
    return _groups(model, lr, decay, "head")


def _groups_unset(model, lr, decay, trainable_from):
    return [{"params": g["params"]} for g in _groups(model, lr, decay, trainable_from)]


def _groups_tensors(model, lr, decay, trainable_from):
    tensors = [p for g in _groups(model, lr, decay, trainable_from) for p in g["params"]]
    return [{"params": [p], "lr": lr * decay**number} for number, p in enumerate(tensors)]


def _groups_without_biases(*task):
    return [g | {"params": [p for p in g["params"] if p.ndim > 1]} for g in _groups_in_order(*task)]


def _groups_twice(model, lr, decay, trainable_from):
    return [*_groups(model, lr, decay, trainable_from), {"params": model.parameters(), "lr": lr}]


RIGHT_07 = {
    "07-diverges": [_diverges, _diverges_numpy],
    "07-schedule": [_schedule, _schedule_by_labkit],
    "07-groups": [_groups, _groups_in_order],
}
WRONG_07 = [
    ("07-diverges", lambda r, x: _diverges(range(len(r)), x), "position in the list"),
    ("07-diverges", lambda r, x: r[x.index(max(x))], "highest loss"),
    ("07-diverges", lambda r, x: r[x.index(min(x))], "lowest loss"),
    ("07-diverges", lambda r, x: r[x.index(min(x)) + 1], "below where it began"),
    ("07-diverges", lambda r, x: _diverges(x, x), "a loss, not a rate"),
    ("07-diverges", _above_start, "bump"),
    ("07-diverges", _deaf_to_nan, "nan"),
    ("07-diverges", _always_one, "return None"),
    ("07-schedule", lambda *a: _schedule(*a) / a[2], "Multiply by the peak"),
    ("07-schedule", lambda s, n, p, w: _schedule(s, n, p, 0), "where is the warm-up"),
    ("07-schedule", _from_step_0, "jumps"),
    ("07-schedule", _whole_cosine, "whole cosine"),
    ("07-schedule", _straight, "straight line"),
    ("07-schedule", lambda s, n, p, w: _schedule(s, n + 1, p, w), "0.00546, and it is 0.005686"),
    ("07-schedule", _from_step_1, "through the origin"),
    ("07-schedule", _without_guard, "divides by zero"),
    ("07-schedule", _Remembering(), "the step alone"),
    ("07-schedule", lambda *a: None, "one number"),
    ("07-groups", _groups_all, "stem is frozen"),
    ("07-groups", _groups_head, "was not given the stage layer1"),
    ("07-groups", _groups_unset, "optimiser's default"),
    ("07-groups", _groups_tensors, "not a tensor"),
    ("07-groups", _groups_without_biases, "left out"),
    ("07-groups", _groups_twice, "in two groups"),
    ("07-groups", lambda *a: _groups_in_order(*a, head_last=False), "reversed"),
    ("07-groups", lambda *a: _groups_in_order(*a, step_down=1), "already lost a factor"),
    ("07-groups", lambda m, lr, d, t: _groups(m, lr, 1.0, t), "decay was not used"),
    ("07-groups", lambda m, lr, d, t: _groups(m, lr, 0.1, t), "your rates are"),
    ("07-groups", lambda *a: dict.fromkeys(["stem", "head"], 1.0), "list of dictionaries"),
    ("07-groups", lambda *a: [], "empty"),
]

RIGHT = RIGHT_00 | RIGHT_04 | RIGHT_05 | RIGHT_06 | RIGHT_07
WRONG = WRONG_00 + WRONG_04 + WRONG_05 + WRONG_06 + WRONG_07


class TestAnswers(Answers):
    right, wrong = RIGHT, WRONG


@pytest.mark.parametrize("id", sorted({id for id, _, _ in WRONG}))
def test_at_least_three_wrong_answers_are_known(id: str) -> None:
    assert sum(other == id for other, _, _ in WRONG) >= 3


# ---------------------------------------------------------------- the frame around the checks


def test_three_dots_and_a_raise_are_not_yet_answers() -> None:
    def stub(*_: object) -> None:
        raise NotImplementedError

    assert "no answer here yet" in str(check("05-freeze", ...))
    assert "no answer here yet" in str(check("05-freeze", stub))


@pytest.mark.parametrize("answer", WHATEVER)
@pytest.mark.parametrize("id", sorted(RIGHT))
def test_no_answer_whatever_is_shown_as_right(id: str, answer: Any) -> None:
    assert "Not yet" in str(check(id, answer))


def test_what_was_solved_stays_solved() -> None:
    check("05-count", 3)
    check("05-count", _share)
    check("05-count", 3)
    assert progress.read("exercises")["05-count"] == {"attempts": 2, "solved": True}


def test_hints_climb_one_rung_at_a_time_and_stay_on_the_last() -> None:
    said = [str(hint("05-freeze")) for _ in range(4)]
    assert len(set(said[:3])) == 3
    assert said[2] == said[3]


def test_the_second_hint_lies_inside_the_first() -> None:
    html = check("05-freeze", ...)._repr_html_()
    assert html.index("Hint 1 of 3") < html.index("Hint 2 of 3") < html.index("</details>")


def test_an_unknown_exercise_is_named_with_those_there_are() -> None:
    with pytest.raises(LabkitError, match="05-freeze"):
        check("05-frieze", ...)
    with pytest.raises(LabkitError, match="no lesson"):
        check("99-x", ...)


def test_a_learners_error_message_is_text_not_markup() -> None:
    def fails(*_: object) -> None:
        raise ValueError("<script>")

    assert "<script>" not in check("05-count", fails)._repr_html_()
