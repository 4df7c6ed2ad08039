"""The checks of lesson 12 accept right answers, and say of each plausible wrong one what is wrong with it."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from labkit.insight import mean_interval
from tests.answers import Answers


def _norms(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]


# ---------------------------------------------------------------- statistics that move while no weight does


def _by_momentum(
    model, images, momentum=1.0, reset=False, grad=False, back=True, mode=False, usual=None
):
    """Through the network once in training mode; the arguments are ways to get it wrong."""
    before = [layer.momentum for layer in _norms(model)]
    for layer in _norms(model):
        layer.momentum = momentum
        if reset:
            layer.reset_running_stats()
    model.train()
    with torch.set_grad_enabled(grad):
        out = model(images)
    if grad:
        out.sum().backward()
    model.train(mode)
    if back:
        for layer, old in zip(_norms(model), before, strict=True):
            layer.momentum = usual or old


def _by_hooks(model, images):
    """Layer by layer, each in evaluation mode with what it has just taken over."""

    def take_over(layer, given):
        values = given[0].transpose(0, 1).flatten(1)
        layer.running_mean.copy_(values.mean(1))
        layer.running_var.copy_(values.var(1))

    hooks = [layer.register_forward_pre_hook(take_over) for layer in _norms(model)]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()


def _by_torch(model, images):
    update_bn([images], model)
    model.eval()


def _in_batches(model, images):
    for layer in _norms(model):
        layer.reset_running_stats()
        layer.momentum = None
    model.train()
    with torch.no_grad():
        for batch in images.split(10):
            model(batch)
    model.eval()
    for layer in _norms(model):
        layer.momentum = 0.1


def _last_batch(model, images):
    for batch in images.split(10):
        _by_momentum(model, batch)


def _first_layer_only(model, images):
    model.stem.train()
    layer = model.stem[1]
    layer.momentum = 1.0
    with torch.no_grad():
        model(images)
    layer.momentum = 0.1
    model.eval()


def _in_evaluation_mode(model, images):
    model.eval()
    with torch.no_grad():
        model(images)


def _trains(model, images):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model.train()
    model(images).logsumexp(1).sum().backward()
    optimizer.step()
    model.eval()


def _resets_everything(model, images):
    for layer in _norms(model):
        layer.reset_parameters()
    _by_momentum(model, images)


def _scales_instead(model, images):
    with torch.no_grad():
        for layer in _norms(model):
            layer.weight.mul_(1.5)
            layer.bias.add_(1.0)


def _only_resets(model, images):
    for layer in _norms(model):
        layer.reset_running_stats()


def _pixels(model, images):
    for layer in _norms(model):
        layer.running_mean.fill_(float(images.mean()))
        layer.running_var.fill_(float(images.var()))


def _pixel_channels(model, images):
    for layer in _norms(model):
        layer.running_mean = images.mean((0, 2, 3))
        layer.running_var = images.var((0, 2, 3))


def _means_only(model, images):
    kept = [layer.running_var.clone() for layer in _norms(model)]
    _by_momentum(model, images)
    for layer, variance in zip(_norms(model), kept, strict=True):
        layer.running_var.copy_(variance)


def _variances_only(model, images):
    kept = [layer.running_mean.clone() for layer in _norms(model)]
    _by_momentum(model, images)
    for layer, mean in zip(_norms(model), kept, strict=True):
        layer.running_mean.copy_(mean)


def _deviations(model, images):
    _by_momentum(model, images)
    for layer in _norms(model):
        layer.running_var.sqrt_()


def _old_inputs(model, images):
    """The second layer's statistics of what it is given while the first is still as it was."""
    seen = {}
    hooks = [
        layer.register_forward_pre_hook(lambda layer, given: seen.update({layer: given[0]}))
        for layer in _norms(model)
    ]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    for layer, given in seen.items():
        values = given.transpose(0, 1).flatten(1)
        layer.running_mean.copy_(values.mean(1))
        layer.running_var.copy_(values.var(1))


def _frozen_after(model, images):
    _by_momentum(model, images)
    model.requires_grad_(False)


# ---------------------------------------------------------------- a say for the old statistics


def _blend(old, new, images, prior):
    return (prior * old + images * new) / (prior + images)


def _lerp(old, new, images, prior):
    return old.lerp(new, images / (images + prior))


def _in_place(old, new, images, prior):
    return old.mul_(prior).add_(images * new).div_(prior + images)


# ---------------------------------------------------------------- how many images are enough


def _enough(before, after, surely=None):
    surely = surely or (lambda gains: mean_interval(gains).low > 0)
    found = None
    for count in sorted(after, reverse=True):
        if not surely([a - b for a, b in zip(after[count], before, strict=True)]):
            break
        found = count
    return found


def _enough_forward(before, after):
    counts = sorted(after)
    sure = [
        mean_interval(a - b for a, b in zip(after[n], before, strict=True)).low > 0 for n in counts
    ]
    return next((n for place, n in enumerate(counts) if all(sure[place:])), None)


def _first_sure(before, after):
    sure = (
        n
        for n in sorted(after)
        if mean_interval(a - b for a, b in zip(after[n], before, strict=True)).low > 0
    )
    return next(sure, None)


def _means_alone(before, after):
    return _enough(before, after, surely=lambda gains: fmean(gains) > 0)


def _no_harm(before, after):
    return _enough(before, after, surely=lambda gains: mean_interval(gains).low >= 0)


def _best(before, after):
    return max(after, key=lambda count: fmean(after[count]))


def _unpaired(before, after):
    top = mean_interval(before).high
    return next((n for n in sorted(after) if mean_interval(after[n]).low > top), None)


def _a_point_or_more(before, after):
    return _enough(before, after, surely=lambda gains: mean_interval(gains).low > 0.03)


def _as_given(before, after):
    found = None
    for count in reversed(list(after)):
        if mean_interval(a - b for a, b in zip(after[count], before, strict=True)).low <= 0:
            break
        found = count
    return found


RIGHT: dict[str, list[Any]] = {
    "12-adapt": [_by_momentum, _by_hooks, _by_torch],
    "12-blend": [_blend, _lerp],
    "12-enough": [_enough, _enough_forward],
}
WRONG = [
    ("12-adapt", lambda m, x: _by_momentum(m, x, momentum=0.1), "10% of the way"),
    ("12-adapt", lambda m, x: _by_momentum(m, x, mode=True), "left in training mode"),
    ("12-adapt", lambda m, x: _by_momentum(m, x, back=False), "momentum"),
    ("12-adapt", lambda m, x: _by_momentum(m, x, usual=0.1), "momentum"),
    ("12-adapt", lambda m, x: _by_momentum(m, x, grad=True), "gradients now"),
    ("12-adapt", lambda m, x: _by_momentum(m, x, momentum=None), "of the way"),
    ("12-adapt", _in_batches, "too small"),
    ("12-adapt", _last_batch, "last one count for all"),
    ("12-adapt", _first_layer_only, "the one above it has not"),
    ("12-adapt", _old_inputs, "the one above it is not"),
    ("12-adapt", _in_evaluation_mode, "in evaluation mode"),
    ("12-adapt", _trains, "no weight may move"),
    ("12-adapt", _resets_everything, "are weights, too"),
    ("12-adapt", _scales_instead, "are weights, too"),
    ("12-adapt", _only_resets, "no image was looked at"),
    ("12-adapt", _pixels, "means of pixels"),
    ("12-adapt", _pixel_channels, "not of the pixels"),
    ("12-adapt", _means_only, "the variances have not"),
    ("12-adapt", _variances_only, "the means have not"),
    ("12-adapt", _deviations, "standard deviations"),
    ("12-adapt", _frozen_after, "no longer require a gradient"),
    ("12-blend", lambda o, n, i, p: _blend(n, o, i, p), "swapped"),
    ("12-blend", lambda o, n, i, p: (o + n) / 2, "plain mean"),
    ("12-blend", lambda o, n, i, p: o, "should have a say"),
    ("12-blend", lambda o, n, i, p: n, "should have a say"),
    ("12-blend", lambda o, n, i, p: p * o + i * n, "Divide"),
    ("12-blend", lambda o, n, i, p: o + (n - o) * (i / p if p else 1), "among all"),
    ("12-blend", lambda o, n, i, p: _blend(o, n, i, p).sum(), "as many numbers"),
    ("12-blend", lambda o, n, i, p: o + 0.25 * (n - o), "no say at all"),
    ("12-blend", lambda o, n, i, p: _blend(o, n, i, max(p, 1)), "no say at all"),
    ("12-blend", lambda o, n, i, p: _blend(o, n, max(i, 1), p), "stay as they are"),
    ("12-blend", _in_place, "came in were changed"),
    ("12-enough", _first_sure, "two were luck"),
    ("12-enough", _means_alone, "for some seeds they do harm"),
    ("12-enough", _no_harm, "changes nothing"),
    ("12-enough", _best, "how few are enough"),
    ("12-enough", _unpaired, "each seed with itself"),
    ("12-enough", _a_point_or_more, "small gain"),
    ("12-enough", _as_given, "sort them"),
    ("12-enough", lambda b, a: min(a), "every seed got worse"),
    ("12-enough", lambda b, a: _enough(b, a) or 0, "return None"),
    ("12-enough", lambda b, a: fmean(a[32]), "one of the counts"),
]


class TestAnswers(Answers):
    right, wrong = RIGHT, WRONG
