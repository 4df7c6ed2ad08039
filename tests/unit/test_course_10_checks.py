"""The checks of lesson 10 accept right answers, and say of each plausible wrong one what is wrong with it."""

from __future__ import annotations

import torch

from tests.answers import Answers


def _mix(before, after, share):
    return {
        name: (1 - share) * before[name] + share * end if end.is_floating_point() else end
        for name, end in after.items()
    }


def _mix_by_lerp(before, after, share):
    whole = {name: end.clone() for name, end in after.items()}
    floating = {
        n: before[n].lerp(end, share) for n, end in after.items() if end.is_floating_point()
    }
    return whole | floating


def _in_place(before, after, share):
    for name, tensor in before.items():
        if tensor.is_floating_point():
            tensor.lerp_(after[name], share)
    return before


def _everything_floats(before, after, share):
    return {n: (1 - share) * before[n].float() + share * after[n].float() for n in after}


def _weights_only(before, after, share):
    moved = _mix(before, after, share)
    return {n: t if n.endswith(("weight", "bias")) else after[n] for n, t in moved.items()}


def _no_buffers(before, after, share):
    return {n: t for n, t in _mix(before, after, share).items() if "running" not in n}


def _old_counter(before, after, share):
    return {
        n: t if t.is_floating_point() else before[n] for n, t in _mix(before, after, share).items()
    }


def _pull(model, start, strength):
    return (
        strength
        / 2
        * sum(
            (parameter - start[name]).square().sum()
            for name, parameter in model.named_parameters()
            if not name.startswith("head.")
        )
    )


def _pull_as_a_vector(model, start, strength):
    below = [(n, p) for n, p in model.named_parameters() if not n.startswith("head.")]
    now = torch.cat([p.flatten() for _, p in below])
    return 0.5 * strength * (now - torch.cat([start[n].flatten() for n, _ in below])).pow(2).sum()


def _with_head(model, start, strength):
    return strength / 2 * sum((p - start[n]).square().sum() for n, p in model.named_parameters())


def _to_zero(model, start, strength):
    own = (p for n, p in model.named_parameters() if not n.startswith("head."))
    return strength / 2 * sum(p.square().sum() for p in own)


def _with_statistics(model, start, strength):
    moved = sum((b.float() - start[n].float()).square().sum() for n, b in model.named_buffers())
    return _pull(model, start, strength) + strength / 2 * moved


def _mean(model, start, strength):
    count = sum(p.numel() for n, p in model.named_parameters() if not n.startswith("head."))
    return _pull(model, start, strength) / count


def _choose(ways, margin, good_enough=lambda new, best, margin: new >= best - margin):
    best = max(new for _, new in ways.values())
    names = [name for name, (_, new) in ways.items() if good_enough(new, best, margin)]
    return max(names, key=lambda name: ways[name][0])


def _choose_by_sorting(ways, margin):
    best = sorted(new for _, new in ways.values())[-1]
    for name, (_, new) in sorted(ways.items(), key=lambda way: -way[1][0]):
        if best - new <= margin:
            return name


def _most(worth):
    return lambda ways, margin: max(ways, key=lambda name: worth(*ways[name]))


RIGHT = {
    "10-mix": (_mix, _mix_by_lerp),
    "10-pull": (_pull, _pull_as_a_vector),
    "10-choose": (_choose, _choose_by_sorting),
}
WRONG = (
    ("10-mix", lambda b, a, s: _mix(a, b, s), "turned round"),
    ("10-mix", _in_place, "leave both as they are"),
    ("10-mix", _everything_floats, "whole number"),
    ("10-mix", _weights_only, "Statistics take part"),
    ("10-mix", _no_buffers, "are missing"),
    ("10-mix", _old_counter, "Take that of the second"),
    ("10-mix", lambda b, a, s: _mix(b, a, 0.5), "whatever the share"),
    ("10-mix", lambda b, a, s: {n: b[n] + a[n] for n in a}, "the sum"),
    ("10-mix", lambda b, a, s: list(_mix(b, a, s).values()), "a dictionary of tensors"),
    ("10-pull", _with_head, "The head is in it"),
    ("10-pull", _to_zero, "weight decay"),
    ("10-pull", lambda m, b, s: 2 * _pull(m, b, s), "half the strength"),
    ("10-pull", lambda m, b, s: _pull(m, b, 1), "strength is missing"),
    ("10-pull", lambda m, b, s: s / 2 * (_pull(m, b, 2)).sqrt(), "Take its square"),
    ("10-pull", _mean, "a mean"),
    ("10-pull", _with_statistics, "Statistics are in it"),
    ("10-pull", lambda m, b, s: _pull(m, b, s).item(), "no gradient"),
    ("10-pull", lambda m, b, s: _pull(m, b, s).detach(), "no gradient"),
    ("10-choose", _most(lambda old, new: new), "learned most"),
    ("10-choose", _most(lambda old, new: old), "kept most"),
    ("10-choose", _most(lambda old, new: old + new), "largest sum"),
    ("10-choose", lambda w, m: sorted(w, key=lambda name: w[name][1])[-2], "has kept more"),
    ("10-choose", lambda w, m: _choose(w, m, lambda n, b, m: n >= b * (1 - m)), "a difference"),
    ("10-choose", lambda w, m: _choose(w, m, lambda n, b, m: n > b - m), "just good enough"),
    ("10-choose", lambda w, m: w[_choose(w, m)], "the name of a way"),
    ("10-choose", lambda w, m: _choose(w, m or 0.025), "margin of 0"),
)


class TestAnswers(Answers):
    right, wrong = RIGHT, WRONG
