"""The checks of lesson 08 accept right answers, and say of each plausible wrong one what is wrong with it."""

from __future__ import annotations

import labkit
from tests.answers import Answers


def _who(stages, epoch, phase):
    return list(stages)[max(0, len(stages) - 1 - epoch // phase) :]


def _who_reversed_twice(stages, epoch, phase):
    top_down = list(reversed(stages))
    return list(reversed(top_down[: epoch // phase + 1]))


def _reversed(model):
    return reversed(list(model.named_children()))


def _next(model, optimizer, lr):
    for name, stage in _reversed(model):
        if not next(stage.parameters()).requires_grad:
            stage.requires_grad_(True)
            stage.train()
            optimizer.add_param_group({"params": list(stage.parameters()), "lr": lr})
            return name
    return None


def _next_by_the_optimizer(model, optimizer, lr):
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    waiting = [n for n, s in model.named_children() if id(next(s.parameters())) not in known]
    if not waiting:
        return None
    stage = model.get_submodule(waiting[-1])
    for parameter in stage.parameters():
        parameter.requires_grad = True
    optimizer.param_groups.append(
        {**optimizer.defaults, "params": list(stage.parameters()), "lr": lr}
    )
    stage.train()
    return waiting[-1]


def _unfreezing(
    model, optimizer, lr, way=reversed, gradient=True, mode=True, known=True, rate=True
):
    """The answer with one thing left out, or the wrong way round."""
    for name, stage in way(list(model.named_children())):
        if not next(stage.parameters()).requires_grad:
            stage.requires_grad_(gradient)
            stage.train(mode)
            if known:
                group = {"params": list(stage.parameters())}
                optimizer.add_param_group(group | ({"lr": lr} if rate else {}))
            return name
    return None


def _all_at_once(model, optimizer, lr):
    while (name := _next(model, optimizer, lr)) is not None:
        last = name
    return last


def _afresh(model, optimizer, lr):
    name = _next(model, optimizer, lr)
    optimizer.param_groups[:] = [
        {**group, "params": list(group["params"])} for group in optimizer.param_groups
    ]
    return name


def _one_rate_for_all(model, optimizer, lr):
    name = _next(model, optimizer, lr)
    for group in optimizer.param_groups:
        group["lr"] = lr
    return name


def _silent(model, optimizer, lr):
    _next(model, optimizer, lr)


def _never_none(model, optimizer, lr):
    return _next(model, optimizer, lr) or "stem"


def _two(lr, epochs, first="head", second="all", share=0.5, **phase):
    half = int(epochs * share)
    phases = (labkit.Phase(first, lr, half), labkit.Phase(second, lr, epochs - half, **phase))
    return labkit.Plan("head first", phases)


def _two_by_numbers(lr, epochs):
    """By the number of stages; the head gets the odd epoch, and the rate falls within each phase."""
    half = (epochs + 1) // 2
    one, two = labkit.Phase(1, lr, half), labkit.Phase("stem", lr, epochs - half, schedule="cosine")
    return labkit.Plan("two", (one, two), batch_size=20)


RIGHT = {
    "08-two": (_two, _two_by_numbers),
    "08-who": (_who, _who_reversed_twice),
    "08-next": (_next, _next_by_the_optimizer),
}
WRONG = (
    ("08-who", lambda s, e, p: list(s)[: 1 + e // p], "nearest the input"),
    ("08-who", lambda s, e, p: list(s)[-1 - (e + 1) // p :], "too early"),
    ("08-who", lambda s, e, p: list(s)[-max(1, e // p) :], "too late"),
    ("08-who", lambda s, e, p: [list(s)[max(0, len(s) - 1 - e // p)]], "goes on training"),
    ("08-who", lambda s, e, p: _who(s, e, p)[::-1], "from input to head"),
    (
        "08-who",
        lambda s, e, p: [s[-1 - n] for n in range(e // p + 1)][::-1],
        "Everything trains then",
    ),
    ("08-who", lambda s, e, p: 1 + e // p, "a list of names"),
    ("08-next", lambda m, o, lr: _unfreezing(m, o, lr, way=iter), "the highest that is frozen"),
    ("08-next", lambda m, o, lr: _unfreezing(m, o, lr, gradient=False), "have not moved"),
    ("08-next", lambda m, o, lr: _unfreezing(m, o, lr, mode=False), "evaluation mode"),
    ("08-next", lambda m, o, lr: _unfreezing(m, o, lr, known=False), "have not moved"),
    ("08-next", lambda m, o, lr: _unfreezing(m, o, lr, rate=False), "handed over"),
    ("08-next", _all_at_once, "One call thaws one stage"),
    ("08-next", _afresh, "Add one, keep the others"),
    ("08-next", _one_rate_for_all, "rate of the head"),
    ("08-next", _silent, "return the name"),
    ("08-next", _never_none, "return None"),
    ("08-two", lambda lr, n: labkit.full(lr, n), "Your plan has 1"),
    ("08-two", lambda lr, n: labkit.gradual(6, lr, n // 6), "Your plan has 6"),
    ("08-two", lambda lr, n: _two(lr, n, "all", "head"), "wrong way round"),
    ("08-two", lambda lr, n: _two(lr, n, second="layer4"), "everything should train"),
    ("08-two", lambda lr, n: _two(lr, n, first="layer4"), "should train alone"),
    ("08-two", lambda lr, n: _two(lr, 2 * n), "cannot be compared"),
    ("08-two", lambda lr, n: labkit.gradual(["head", "all"], lr, n // 2), "lr_decay is 1"),
    (
        "08-two",
        lambda lr, n: labkit.gradual(["head", "all"], lr, n // 2, lr_decay=1.0),
        "and was to train for 7",
    ),
    ("08-two", lambda lr, n: _two(lr, n, share=0.2), "half of them"),
    ("08-two", lambda lr, n: _two(lr / 10, n), "in both phases"),
    ("08-two", lambda lr, n: _two(lr, n).phases, "Return a labkit.Plan"),
)


class TestAnswers(Answers):
    right, wrong = RIGHT, WRONG
