"""What a range test concludes from a curve: fastai's rules where they serve, and silence where there is no ground."""

from __future__ import annotations

import ast
import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from labkit.tuning import LearningRates, finder
from labkit.tuning.finder import number, smooth


def seen(losses: Any, **changes: Any) -> LearningRates:
    """A test that saw these losses at rates from 1e-6 to 1."""
    losses = np.asarray(losses, dtype=np.float64)
    count = len(losses)
    fields = {
        "name": "full",
        "step": 0,
        "current": 1e-3,
        "high": 1.0,
        "lrs": np.geomspace(1e-6, 1, count) if count else np.empty(0),
        "losses": losses,
        "counts": np.full(count, 32.0),
        "stopped": "end",
    }
    return LearningRates(**{**fields, **changes})


def typical(count: int = 100, noise: float = 0.05, floor: float = 0.3) -> Any:
    """A loss that stays at 2.3 up to about 1e-4, falls to `floor` and rises from 3e-2 on."""
    decades = np.linspace(-6, 0, count)
    fall = (2.3 - floor) / (1 + np.exp(-4 * (decades + 3.3)))
    rise = 4 * np.maximum(0, decades + 1.5) ** 2
    return 2.3 - fall + rise + noise * np.random.default_rng(0).standard_normal(count)


def flat(noise: float = 0.1) -> Any:
    return 2.3 + noise * np.random.default_rng(1).standard_normal(100)


# ---------------------------------------------------------------- the rules


@pytest.fixture(scope="module")
def fastais() -> dict[str, Any]:
    """fastai's own rules, out of its source: to import all of fastai takes seconds."""
    package = find_spec("fastai")
    if package is None or not package.submodule_search_locations:
        pytest.skip("left out: fastai is not installed")
    source = Path(package.submodule_search_locations[0]) / "callback" / "schedule.py"
    functions = [
        part
        for part in ast.parse(source.read_text("utf-8")).body
        if isinstance(part, ast.FunctionDef) and part.name in finder.RULES
    ]
    names: dict[str, Any] = {}
    exec(compile(ast.Module(functions, []), str(source), "exec"), names)
    return names


@pytest.mark.parametrize("kind", ["typical", "noisy", "falling", "rising", "random"])
def test_the_rules_give_what_fastais_give_on_the_same_curve(
    kind: str, fastais: dict[str, Any]
) -> None:
    chance = np.random.default_rng(3)
    for count in (100, 37, 12):
        losses = {
            "typical": typical(count),
            "noisy": typical(count, noise=0.5),
            # Bent: of a straight line the steepest place is a matter of rounding.
            "falling": np.linspace(2, 1, count) ** 2,
            "rising": np.linspace(1, 2, count) ** 2,
            "random": chance.random(count),
        }[kind]
        lrs = np.geomspace(1e-6, 1, count)
        theirs = torch.tensor(lrs), torch.tensor(losses)
        for name, rule in finder.RULES.items():
            expected, _ = fastais[name](*theirs, count)
            assert rule(lrs, losses) == pytest.approx(expected), name


# ---------------------------------------------------------------- what a curve says


def test_a_typical_curve_is_told_in_plain_words() -> None:
    test = seen(typical())
    assert test.falls
    assert 1e-4 < test.suggestion < 1e-2
    assert 1e-2 < test.diverges_at < 0.5
    assert set(test.suggestions) == {"valley", "steep", "minimum"}
    said = test.explain()
    assert said.startswith("Below ")
    assert f"from {number(test.diverges_at)} on" in said
    assert said.endswith(f"Try {number(test.suggestion)}.")


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.3, 1.0])
def test_a_loss_that_never_falls_gets_no_suggestion_however_noisy(noise: float) -> None:
    test = seen(flat(noise))
    assert test.suggestion is None
    assert test.suggestions == {}
    assert test.diverges_at is None
    assert test.explain().startswith("No rate from 1e-6 to 1 lowers the loss")


def test_a_loss_that_only_rises_gets_no_suggestion_but_is_told_where() -> None:
    test = seen(2.3 + np.maximum(0, np.linspace(-4, 2, 100)) ** 2)
    assert test.suggestion is None
    assert test.diverges_at > 1e-2
    assert f"rises from {number(test.diverges_at)} on" in test.explain()


def test_rates_that_are_all_too_low_are_called_so() -> None:
    test = seen(flat(), lrs=np.geomspace(1e-9, 1e-6, 100), high=1e-6)
    assert test.suggestion is None
    assert "look further up" in test.explain()


def test_a_loss_that_still_falls_at_the_end_gets_no_suggestion() -> None:
    test = seen(typical()[:60], lrs=np.geomspace(1e-6, 4e-4, 60), high=4e-4)
    assert test.falls
    assert test.suggestion is None
    assert "still falls at the highest rate tried, 4e-4" in test.explain()


def test_a_loss_that_falls_and_never_rises_is_told_so_with_a_suggestion() -> None:
    test = seen(np.minimum(typical(), 2.3) * (np.linspace(-6, 0, 100) < -1.5) + 0.0)
    assert test.diverges_at is None
    assert "does not rise up to 1" in test.explain()
    assert test.suggestion is not None


def test_a_run_that_has_learned_its_task_gets_no_suggestion() -> None:
    test = seen(typical(noise=0.001) * 0.03)
    assert test.suggestion is None
    assert "is 0.069 already" in test.explain()


def test_a_curve_of_a_few_points_gets_no_suggestion() -> None:
    for count in range(finder.FEWEST):
        test = seen(typical(100)[:: 100 // finder.FEWEST + 1][:count], stopped="out of time")
        assert test.suggestion is None
        assert test.diverges_at is None
        assert "too few for a curve" in test.explain()


def test_a_rate_that_ended_in_no_number_is_where_it_diverges() -> None:
    test = seen(typical()[:75], lrs=np.geomspace(1e-6, 3e-2, 75), stopped="not finite")
    assert test.diverges_at == pytest.approx(3e-2)
    assert test.suggestion is not None


def test_small_last_batches_of_an_epoch_count_for_less() -> None:
    lrs, losses = np.geomspace(1e-6, 1, 100), np.full(100, 2.0)
    losses[::4] = 4.0
    whole = smooth(lrs, losses, np.full(100, 32.0))
    small = smooth(lrs, losses, np.where(np.arange(100) % 4 == 0, 2.0, 32.0))
    assert whole[50:].mean() == pytest.approx(2.5, abs=0.05)
    assert small[50:].mean() == pytest.approx(2.04, abs=0.02)


def test_fewer_and_wider_steps_are_smoothed_over_as_many_decades() -> None:
    """A step from 0 to 1 in the middle, seen from the same rates."""
    step = [
        smooth(np.geomspace(1e-6, 1, n), 1.0 * (np.arange(n) >= n / 2), np.ones(n))
        for n in (60, 600)
    ]
    assert step[0][5::6] == pytest.approx(step[1][59::60], abs=0.03)


# ---------------------------------------------------------------- whatever the curve


losses_of_any_kind = st.lists(
    st.one_of(st.floats(0, 10), st.floats(0, 1e30), st.just(0.0)), min_size=0, max_size=130
)


@settings(max_examples=80, deadline=None)
@given(
    losses=losses_of_any_kind, stopped=st.sampled_from(["end", "rose", "not finite", "out of time"])
)
def test_no_curve_makes_it_stumble_or_name_a_rate_that_was_not_tried(
    losses: list[float], stopped: str
) -> None:
    test = seen(losses, stopped=stopped)
    message = json.loads(json.dumps(test.as_message(), allow_nan=False))
    assert len(message["lrs"]) == len(message["losses"]) == len(message["smoothed"]) <= 120
    assert message["text"].endswith(".")
    assert "nan" not in message["text"]
    assert len(test.table) == len(losses)
    for name, lr in test.suggestions.items():
        assert test.lrs[0] / (10 if name == "minimum" else 1) <= lr <= test.lrs[-1]


def test_a_message_is_small_and_keeps_both_ends() -> None:
    test = seen(typical(1000))
    message = test.as_message()
    assert len(message["lrs"]) == 120
    assert (message["lrs"][0], message["lrs"][-1]) == (1e-6, 1.0)
    assert len(json.dumps(message)) < 6000
    assert not any(isinstance(value, float) and math.isnan(value) for value in message["losses"])


def test_a_bump_where_the_loss_hardly_falls_is_not_called_its_fastest_fall() -> None:
    decades = np.linspace(-6, 0, 100)
    losses = np.where(decades > -4, 1 - 0.75 * (decades + 4) / 4, 1.0)
    losses[(decades > -5.2) & (decades < -4.9)] = 0.55
    told = seen(losses).explain()
    assert told.startswith("Below 8e-6 the loss hardly falls. It does not rise")
