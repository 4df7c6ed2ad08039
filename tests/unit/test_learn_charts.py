"""A lesson's own pictures say in words and numbers what they show."""

import torch

from labkit.learn import charts
from labkit.tuning import Evaluation


def result(right: int) -> Evaluation:
    targets = torch.zeros(10, dtype=torch.long)
    predictions = torch.tensor([0] * right + [1] * (10 - right))
    probabilities = torch.full((10, 2), 0.5)
    return Evaluation("valid", 0.5, right, 10, predictions, probabilities, targets)


def test_growth_tells_every_plan_at_every_budget() -> None:
    tried = [(labels, name, result(labels)) for labels in (3, 9) for name in ("head", "all $x$")]
    picture = charts.growth(tried)
    assert "head with 3 labels 30%" in picture.alt
    assert "all $x$ with 9 labels 90%" in picture.alt
    assert list(picture.table["right"]) == ["3 of 10"] * 2 + ["9 of 10"] * 2
    assert picture.png().startswith(b"\x89PNG")
