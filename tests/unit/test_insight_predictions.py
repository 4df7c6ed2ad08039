"""Confusion, calibration and temperature: counts that add up, intervals that hold, and a network that says the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from torch.nn import functional as F

import labkit
from labkit import runtime
from labkit.errors import EvidenceError, SplitError
from labkit.insight import (
    calibration,
    confusion,
    fit_temperature,
    uncertain,
)
from labkit.runtime import Precision, wilson
from labkit.tuning import Evaluation


@pytest.fixture(scope="module")
def run():
    data = labkit.load_data("digits", size=16).subset(per_class=8)
    net = labkit.load_backbone("resnet10-glyphs")
    return labkit.Run(net, data, labkit.full(lr=1e-3, epochs=2), precision=Precision()).fit()


@pytest.fixture(scope="module")
def seen(run):
    return run.evaluate("valid")


def evaluation(scores, targets) -> Evaluation:
    predictions = scores.argmax(1)
    right = int((predictions == targets).sum())
    loss = F.cross_entropy(scores, targets).item()
    return Evaluation(
        "made", loss, right, len(targets), predictions, scores.softmax(1).float(), targets
    )


def made(seed: int, count: int, too_sure: float = 0.0) -> Evaluation:
    """Two classes; of those that are given p, a share of p - too_sure is right."""
    chance = runtime.generator(seed, "made")
    sure = 0.75 + 0.2 * torch.rand(count, generator=chance)
    right = torch.rand(count, generator=chance) < sure - too_sure
    return evaluation(torch.stack([sure, 1 - sure], 1).log(), (~right).long())


# ---------------------------------------------------------------- confusion


def test_every_example_is_counted_once(run, seen):
    found = confusion(run)
    assert found.classes == run.data.classes
    assert (found.counts == confusion_matrix(seen.targets, seen.predictions)).all()
    assert found.counts.trace() == seen.correct
    assert np.allclose(found.rates.sum(axis=1), 1)


def test_every_rate_has_its_wilson_interval(run):
    table = confusion(run).table
    for row in table.itertuples():
        assert row.rate == row.count / row.of
        assert (row.low, row.high) == wilson(row.count, row.of)
        assert row.low <= row.rate <= row.high
    assert set(table.loc[table["true"] == table["predicted"], "true"]) == set(run.data.classes)


def test_mistakes_come_most_frequent_first(run, seen):
    wrong = confusion(run).mistakes
    assert wrong["count"].is_monotonic_decreasing
    assert wrong["count"].sum() == seen.count - seen.correct


def test_a_class_without_examples_has_no_rate(seen):
    some = seen.targets != 3
    part = evaluation(seen.probabilities[some].log(), seen.targets[some])
    found = confusion(part)
    assert np.isnan(found.rates[3]).all()
    assert "3" not in set(found.table["true"])


def test_names_must_fit_the_classes(seen):
    with pytest.raises(EvidenceError, match="2 names were given for 10 classes"):
        confusion(seen, classes=("a", "b"))


def test_a_split_that_is_not_there_is_refused(run):
    with pytest.raises(SplitError, match="elsewhere"):
        confusion(run, "elsewhere")


# ---------------------------------------------------------------- calibration


def test_the_error_is_the_mean_gap_of_the_bins(run, seen):
    assert calibration(run).error == calibration(seen).error
    for judged in (seen, *(made(seed, 150) for seed in range(6))):
        found = calibration(judged)
        assert sum(part.count for part in found.bins) == found.count == judged.count
        sure = judged.probabilities.max(1).values.double().numpy()
        right = (judged.predictions == judged.targets).numpy()
        place = np.minimum((sure * 10).astype(int), 9)
        gaps = [abs(right[place == b].mean() - sure[place == b].mean()) for b in set(place)]
        sizes = [(place == b).sum() for b in set(place)]
        assert found.error == pytest.approx(np.average(gaps, weights=sizes))
        assert found.accuracy == judged.accuracy
        for part in (part for part in found.bins if part.count):
            assert part.low <= part.confidence <= part.high + 1e-9
            assert part.accuracy_low <= part.accuracy <= part.accuracy_high


def test_the_interval_holds_the_true_error_about_as_often_as_it_says():
    inside = 0
    for seed in range(60):
        found = calibration(made(seed, 300, too_sure=0.15), seed=seed)
        inside += found.low <= 0.15 <= found.high
    assert inside >= 51  # of 60; at 95 % fewer have a chance of 1 in 3000


def test_a_calibrated_network_shows_no_more_error_than_chance_would():
    errors, chances, holds = [], [], 0
    for seed in range(40):
        found = calibration(made(seed, 150), seed=seed)
        errors.append(found.error)
        chances.append(found.by_chance)
        holds += found.low < 0.02
    assert np.mean(errors) == pytest.approx(np.mean(chances), rel=0.15)
    assert np.mean(errors) > 0.02  # though the truth is 0: few examples look uncalibrated
    assert holds >= 36


def test_the_same_seed_draws_the_same_interval(seen):
    one, again, other = (calibration(seen, seed=seed) for seed in (3, 3, 4))
    assert (one.low, one.high, one.by_chance) == (again.low, again.high, again.by_chance)
    assert (one.low, one.high) != (other.low, other.high)


def test_one_bin_is_no_curve(seen):
    with pytest.raises(EvidenceError, match="bins=1"):
        calibration(seen, bins=1)


# ---------------------------------------------------------------- temperature


def test_temperature_never_changes_what_the_network_says(seen):
    for value in (0.05, 0.7, 1.9, 20.0):
        warm = replace(fit_temperature(seen), value=value).apply(seen)
        assert torch.equal(warm.predictions, seen.predictions)
        assert torch.equal(warm.probabilities.argmax(1), seen.predictions)
        assert warm.correct == seen.correct
        assert torch.allclose(warm.probabilities.sum(1), torch.ones(seen.count))


def test_temperature_lowers_the_loss_where_it_was_fitted(run, seen):
    fitted = fit_temperature(run, "valid")
    assert fitted.loss_after <= fitted.loss_before
    assert fitted.apply(seen).loss == pytest.approx(fitted.loss_after)
    assert fitted.loss_before == pytest.approx(seen.loss, rel=1e-4)
    for value in (0.9 * fitted.value, 1.1 * fitted.value):
        assert replace(fitted, value=value).apply(seen).loss >= fitted.loss_after - 1e-9


def test_scores_three_times_as_large_ask_for_three_times_the_temperature(seen):
    scores = seen.probabilities.double().log()
    plain = fit_temperature(evaluation(scores, seen.targets))
    loud = fit_temperature(evaluation(3 * scores, seen.targets))
    assert loud.value == pytest.approx(3 * plain.value, rel=0.02)


def test_a_network_that_claims_too_much_is_calibrated_better_after():
    truth = runtime.generator(0, "scores")
    scores = 2 * torch.randn(2000, 5, generator=truth, dtype=torch.float64)
    targets = torch.multinomial(scores.softmax(1), 1, generator=truth).squeeze(1)
    loud = evaluation(4 * scores, targets)
    fitted = fit_temperature(loud)
    assert fitted.value == pytest.approx(4, rel=0.1)
    before, after = calibration(loud), calibration(loud, temperature=fitted)
    assert after.error < before.error / 4
    assert after.temperature == fitted.value


def test_where_all_is_right_the_temperature_stays_within_its_limits():
    scores = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]], dtype=torch.float64)
    fitted = fit_temperature(evaluation(scores, torch.tensor([0, 1, 0])))
    assert fitted.value == pytest.approx(1 / 20, rel=0.01)
    assert fitted.loss_after < fitted.loss_before


# ---------------------------------------------------------------- most uncertain


def test_the_most_uncertain_come_first_whatever_the_truth_is(seen):
    entropy = -(seen.probabilities * seen.probabilities.log().nan_to_num(neginf=0)).sum(1)
    found = uncertain(seen, 25)
    told = [float(entropy[guess.index]) for guess in found]
    assert told == pytest.approx(sorted(entropy.tolist(), reverse=True)[:25], abs=1e-6)
    other = replace(seen, targets=seen.targets.roll(1))
    assert [g.index for g in uncertain(other, 25)] == [g.index for g in found]
    assert len(uncertain(seen, 10_000)) == seen.count
