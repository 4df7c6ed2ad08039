"""Checks of lesson 04: features without side effects, a vote of neighbours, a new output layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from labkit.course import small
from labkit.learn.exercises import exercise

Vote = Callable[[Tensor, Tensor, Tensor, int], Tensor]


@exercise(
    "04-features",
    title="features, and nothing else",
    difficulty=2,
    minutes=10,
    hints=(
        "A feature extractor must be asked, not trained: which mode is for asking?",
        "In training mode BatchNorm mixes the images of a batch, and writes down what it saw.",
        "Call model.eval(), wrap the pass in torch.no_grad(), run every child but the head, "
        "then average over height and width.",
    ),
)
def features(answer: Callable[[nn.Module, Tensor], Tensor]) -> Iterator[str]:
    """The answer maps a model and images (n, 3, h, w) to averaged features (n, channels)."""
    model, images = small.model().train(), small.images()
    before = small.snapshot(model)
    given = answer(model, images)
    if not isinstance(given, Tensor):
        yield f"Return a tensor. Yours was of the kind {type(given).__name__}."
        return
    if given.shape == (len(images), small.CLASSES):
        yield "These are the answers of the head, one number a class. Stop one stage earlier."
        return
    if given.shape != (len(images), small.CHANNELS):
        yield (
            f"The shape is {tuple(given.shape)}, and should be {(len(images), small.CHANNELS)}: "
            "one number an image and channel, averaged over height and width."
        )
        return
    if small.moved(model, before):
        yield "Asking changed the model: its BatchNorm statistics moved. In which mode was it?"
    if given.requires_grad:
        yield "The features carry a graph of gradients, which costs memory and is never used here."
    yield from _same_for_any_company(answer, images)


def _same_for_any_company(
    answer: Callable[[nn.Module, Tensor], Tensor], images: Tensor
) -> Iterator[str]:
    model = small.model().eval()
    with torch.no_grad():
        expected = model[1](model[0](images)).mean(dim=(2, 3))
    alone, together = answer(small.model(), images[:2]), answer(small.model(), images)
    if not torch.allclose(alone, together[:2], atol=1e-5):
        yield "The features of an image depend on the other images of its batch."
    elif not torch.allclose(together, expected, atol=1e-5):
        yield "These are not the averages of what the last stage before the head gives."


@exercise(
    "04-neighbours",
    title="the vote of the nearest neighbours",
    difficulty=2,
    minutes=10,
    hints=(
        "Two steps: who is near, and what do they say?",
        "torch.cdist(a, b) gives all distances between the rows of a and the rows of b.",
        "topk(k, largest=False) finds the nearest; train_labels[those] are their votes; "
        "mode(dim=1) counts the votes.",
    ),
)
def neighbours(answer: Vote) -> Iterator[str]:
    """The answer maps (features, labels, new features, k) to the class that most of the k nearest hold."""
    points = torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.0, 0.1], [5.0, 5.0], [5.1, 5.0], [5.0, 5.1]])
    labels = torch.tensor([7, 7, 3, 4, 4, 9])
    asked = torch.tensor([[0.0, 0.12], [5.0, 5.09]])
    given = answer(points, labels, asked, 3)
    if not isinstance(given, Tensor) or given.shape != (2,):
        yield "Return a tensor with one class for each row of the new features."
        return
    answers = given.tolist()
    if answers == [7, 4]:
        yield from _any_order(answer, points, labels, asked)
    elif answers in ([6, 6], [5, 5]):
        yield "The votes 7, 7 and 3 were averaged. Classes are names: a mean of them is none. Count."
    elif not set(answers) <= {3, 4, 7, 9}:
        yield "These are positions in the training set, not classes. Look the labels up."
    elif answers == [3, 9] and answer(points, labels, asked, 1).tolist() == [3, 9]:
        yield "With k=3 the nearest one alone decides: let three of them vote."
    else:
        yield "Points in a cloud of one class were given the other: are these the nearest, or the farthest?"


def _any_order(answer: Vote, points: Tensor, labels: Tensor, asked: Tensor) -> Iterator[str]:
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    if answer(points[order], labels[order], asked, 3).tolist() != [7, 4]:
        yield "The answer depends on the order of the training set."
    if answer(points, labels, asked, 1).tolist() != [3, 9]:
        yield "With k=1 the nearest point should decide alone, and it does not: is k used?"
    row, votes = torch.arange(6.0).unsqueeze(1), torch.tensor([1, 1, 2, 3, 9, 4])
    elected = answer(row, votes, row[:1], 5).tolist()
    if elected == [2]:
        yield "Of the votes 1, 1, 2, 3 and 9 the one in the middle was taken. Most votes are for 1."
    elif elected != [1]:
        yield f"Of the votes 1, 1, 2, 3 and 9 most are for 1, and your function says {elected}."


@exercise(
    "04-output-layer",
    title="an output layer for new classes",
    difficulty=2,
    minutes=8,
    hints=(
        "Only the very last layer knows how many classes there are.",
        "model.head.fc is that layer, and its `in_features` must stay what they are.",
        "Assign a new nn.Linear to model.head.fc, and return the model.",
    ),
)
def output_layer(answer: Callable[[nn.Module, int], nn.Module]) -> Iterator[str]:
    """The answer gives the model an output layer for another number of classes and keeps the rest."""
    model = small.model().eval()
    before = small.snapshot(model)
    given = answer(model, 9)
    if not isinstance(given, nn.Module):
        yield "Return the model: your function gave back something else."
        return
    try:
        with torch.no_grad():
            shape = tuple(given(small.images(5)).shape)
    except RuntimeError as problem:
        yield f"An image no longer goes through: {str(problem).splitlines()[0]}."
        return
    if shape == (5, small.CLASSES):
        yield f"The model still answers with {small.CLASSES} classes: its last layer is the old one."
    elif shape != (5, 9):
        yield f"For 5 images and 9 classes the shape should be (5, 9). It is {shape}."
    yield from _rest_untouched(given, before)


def _rest_untouched(model: nn.Module, before: dict[str, Tensor]) -> Iterator[str]:
    state = model.state_dict()
    kept = [name for name in before if not name.startswith("head.")]
    if not set(kept) <= set(state):
        yield "Return the model you were given, with its stages under their names."
        return
    if any(not torch.equal(state[name], before[name]) for name in kept):
        yield "The stages below the head have changed: what was learned before must stay."
    if not all(parameter.requires_grad for parameter in model.get_submodule("head").parameters()):
        yield "The new layer cannot learn: its weights do not require a gradient."
