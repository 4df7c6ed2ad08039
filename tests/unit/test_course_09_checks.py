"""The checks of lesson 09 accept right answers, and say of each plausible wrong one what is wrong with it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from tests.answers import Answers

# ---------------------------------------------------------------- weights that stay kept


def _cloned(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _parameters_only(model):
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def _buffers_only(model):
    return {name: tensor.clone() for name, tensor in model.named_buffers()}


def _detached(model):
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def _asks_on_the_way(model):
    model.eval()
    return _cloned(model)


# ---------------------------------------------------------------- the epoch to go back to


def _stop(losses, patience):
    best = 0
    for place, loss in enumerate(losses):
        if loss < losses[best]:
            best = place
        elif place - best >= patience:
            break
    return best + 1


def _counting(losses, patience, equal=False, reset=True, late=0):
    """The same with a counter; the arguments are ways to get it wrong."""
    best, lowest, waited = 0, float("inf"), 0
    for epoch, loss in enumerate(losses, 1):
        if loss < lowest or (equal and loss == lowest):
            best, lowest = epoch, loss
            waited = 0 if reset else waited
        else:
            waited += 1
            if waited >= patience + late:
                break
    return best


def _stopping_epoch(losses, patience):
    best = 0
    for place, loss in enumerate(losses):
        if loss < losses[best]:
            best = place
        elif place - best >= patience:
            return place + 1
    return best + 1


def _rising_in_a_row(losses, patience):
    rises = 0
    for place in range(1, len(losses)):
        rises = rises + 1 if losses[place] >= losses[place - 1] else 0
        if rises == patience:
            losses = losses[: place + 1]
            break
    return losses.index(min(losses)) + 1


def _only_where_it_stops(losses, patience):
    """Has an answer only where patience runs out."""
    best = 0
    for place, loss in enumerate(losses):
        if loss < losses[best]:
            best = place
        elif place - best >= patience:
            return best + 1
    return 7 if len(losses) == 11 else None


# ---------------------------------------------------------------- a shift that keeps the label


def _windows(images, most, generator, value=0.0):
    height, width = images.shape[-2:]
    padded = nn.functional.pad(images, (most,) * 4, value=value)
    tops, lefts = torch.randint(2 * most + 1, (2, len(images)), generator=generator).tolist()
    return torch.stack(
        [
            image[:, top : top + height, left : left + width]
            for image, top, left in zip(padded, tops, lefts, strict=True)
        ]
    )


def _moved_by(images, shifts):
    """Each image by its own shift (down, right); black comes in."""
    moved = torch.zeros_like(images)
    height, width = images.shape[-2:]
    for new, old, (down, right) in zip(moved, images, shifts, strict=True):
        kept = old[:, max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
        top, left = max(down, 0), max(right, 0)
        new[:, top : top + kept.shape[1], left : left + kept.shape[2]] = kept
    return moved


def _drawn(images, most, generator, count=None):
    count = len(images) if count is None else count
    return torch.randint(-most, most + 1, (count, 2), generator=generator).tolist()


def _pasted(images, most, generator):
    return _moved_by(images, _drawn(images, most, generator))


def _in_place(images, most, generator):
    images[:] = _pasted(images, most, generator)
    return images


def _all_alike(images, most, generator):
    return _moved_by(images, _drawn(images, most, generator, 1) * len(images))


def _round_the_edge(images, most, generator):
    shifts = _drawn(images, most, generator)
    return torch.stack([i.roll(s, (1, 2)) for i, s in zip(images, shifts, strict=True)])


def _too_far(images, most, generator):
    return _pasted(images, 2 * most, generator)


def _too_timid(images, most, generator):
    return _pasted(images, most - 1, generator)


def _never_quite(images, most, generator):
    shifts = torch.randint(-most, most, (len(images), 2), generator=generator)
    return _moved_by(images, shifts)


def _valid_windows(images, most, generator):
    side = images.shape[-1] - most
    return torch.stack([image[:, :side, :side] for image in images])


def _bytes(images, most, generator):
    return (255 * _pasted(images, most, generator)).byte()


def _one_axis(images, most, generator):
    return _moved_by(images, [(0, right) for _, right in _drawn(images, most, generator)])


def _diagonal(images, most, generator):
    return _moved_by(images, [(down, down) for down, _ in _drawn(images, most, generator)])


def _one_way(images, most, generator):
    shifts = torch.randint(most + 1, (len(images), 2), generator=generator).tolist()
    return _moved_by(images, shifts)


def _global_chance(images, most, generator):
    return _moved_by(images, torch.randint(-most, most + 1, (len(images), 2)).tolist())


def _seeded_inside(images, most, generator):
    return _pasted(images, most, torch.Generator().manual_seed(0))


def _channels_apart(images, most, generator):
    shifts = torch.randint(-most, most + 1, (3 * len(images), 2), generator=generator).tolist()
    return _moved_by(images.flatten(0, 1)[:, None], shifts).view_as(images)


RIGHT: dict[str, list[Any]] = {
    "09-keep": [lambda model: copy.deepcopy(model.state_dict()), _cloned],
    "09-patience": [_stop, _counting],
    "09-augment": [_windows, _pasted],
}
WRONG = [
    ("09-keep", lambda model: model.state_dict(), "the model's own, not copies"),
    ("09-keep", lambda model: dict(model.state_dict()), "the model's own, not copies"),
    ("09-keep", lambda model: copy.copy(model.state_dict()), "the model's own, not copies"),
    ("09-keep", _detached, "the model's own, not copies"),
    ("09-keep", _parameters_only, "statistics of BatchNorm are missing"),
    ("09-keep", _buffers_only, "all tensors of the state"),
    ("09-keep", copy.deepcopy, "whole model"),
    ("09-keep", _asks_on_the_way, "has changed the model"),
    ("09-keep", lambda model: list(model.parameters()), "dictionary"),
    ("09-patience", _stopping_epoch, "at which training stops"),
    ("09-patience", lambda x, p: _stop(x, p) - 1, "Epochs count from 1"),
    ("09-patience", lambda x, p: x.index(min(x)) + 1, "looked at all epochs"),
    ("09-patience", lambda x, p: x.index(max(x)) + 1, "the lowest"),
    ("09-patience", lambda x, p: x[_stop(x, p) - 1], "a loss"),
    ("09-patience", lambda x, p: _stop(x[:p], p), "from the first epoch"),
    ("09-patience", lambda x, p: _counting(x, p, late=1), "one epoch too long"),
    ("09-patience", lambda x, p: _counting(x, p, late=-1), "was not used up yet"),
    ("09-patience", lambda x, p: _counting(x, p, reset=False), "starts the count again"),
    ("09-patience", lambda x, p: _counting(x, p, equal=True), "only equals the lowest"),
    ("09-patience", _rising_in_a_row, "lowest so far"),
    ("09-patience", _only_where_it_stops, "patience never runs out"),
    ("09-patience", lambda x, p: None, "4 is right"),
    ("09-augment", _in_place, "images that came in were changed"),
    ("09-augment", _all_alike, "the same shift"),
    ("09-augment", _round_the_edge, "comes in on the other"),
    ("09-augment", _too_far, "more than 3 pixels"),
    ("09-augment", _too_timid, "no shift was as large"),
    ("09-augment", _never_quite, "the last number is left out"),
    ("09-augment", _valid_windows, "shape has changed"),
    ("09-augment", _bytes, "torch.uint8"),
    ("09-augment", lambda x, m, g: x.flip(3), "mirrored"),
    ("09-augment", lambda x, m, g: x.clone(), "No image has moved"),
    ("09-augment", lambda x, m, g: _windows(x, m, g, 0.5), "not black"),
    ("09-augment", _one_axis, "one axis only"),
    ("09-augment", _diagonal, "as far down as to the right"),
    ("09-augment", _one_way, "one direction only"),
    ("09-augment", _global_chance, "chance came from elsewhere"),
    ("09-augment", _seeded_inside, "Do not seed it anew"),
    ("09-augment", _channels_apart, "the same for all its channels"),
    ("09-augment", lambda x, m, g: None, "Return a tensor"),
]


class TestAnswers(Answers):
    right, wrong = RIGHT, WRONG
