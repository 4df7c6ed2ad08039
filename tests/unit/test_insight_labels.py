"""Suspect labels: judged by heads that never saw them, the wrong ones first, and the run as it was."""

from __future__ import annotations

import pytest
import torch

import labkit
from labkit import insight, runtime
from labkit.errors import DataError
from labkit.insight import labels as room
from labkit.runtime import Precision


@pytest.fixture(scope="module")
def noisy():
    return labkit.load_data("digits", size=16).subset(per_class=12).mislabel(0.2, seed=1)


@pytest.fixture(scope="module")
def run(noisy):
    net = labkit.load_backbone("resnet10-glyphs")
    return labkit.Run(net, noisy, labkit.full(lr=1e-3, epochs=2), precision=Precision())


@pytest.fixture(scope="module")
def found(run):
    return insight.suspect_labels(run)


def cloud(count=60, wrong=8, seed=0):
    """Two clouds far apart, and the first `wrong` labels are of the other one."""
    chance = runtime.generator(seed, "labels")
    truth = torch.arange(count) % 2
    points = torch.randn(count, 4, generator=chance, dtype=torch.float64) + 6 * truth.unsqueeze(1)
    given = truth.clone()
    given[:wrong] = 1 - given[:wrong]
    return points, given


def test_wrong_labels_come_first(found, noisy):
    wrong = noisy.mislabelled
    first = found.order[: len(wrong)]
    assert sorted(found.order.tolist()) == list(range(len(noisy.train)))
    assert int(torch.isin(first, wrong).sum()) > 0.6 * len(wrong)  # by chance a fifth


def test_what_is_likely_wrong_mostly_is(found, noisy):
    likely = found.likely.nonzero().flatten()
    assert len(likely) >= 0.5 * len(noisy.mislabelled)
    assert int(torch.isin(likely, noisy.mislabelled).sum()) > 0.4 * len(likely)  # by chance 0.2


def test_nobody_judges_a_label_that_they_learned_from():
    points, given = cloud()
    before = room.out_of_sample(points, given, 2)
    changed = given.clone()
    changed[40] = 1 - changed[40]
    after = room.out_of_sample(points, changed, 2)
    assert after[40].argmax() == before[40].argmax() == given[40]
    assert set(room.rank(before, given)[:8].tolist()) == set(range(8))


def test_every_example_is_judged_once_and_probabilities_add_up(found, noisy):
    assert found.probabilities.shape == (len(noisy.train), 10)
    assert torch.allclose(found.probabilities.sum(1), torch.ones(len(noisy.train)).double())


def test_training_on_wrong_labels_changes_no_judgement(run, found):
    trained = run.branch(name="trained").fit()
    again = insight.suspect_labels(trained)
    assert torch.equal(again.order, found.order)
    again, once = (one.history.drop(columns="seconds") for one in (trained.replay(), trained))
    assert again.equals(once)


def test_looking_leaves_the_run_as_it_was(run):
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    insight.suspect_labels(run)
    assert run.step_number == 0
    assert all(torch.equal(before[name], now) for name, now in run.model.state_dict().items())


def test_another_class_is_proposed_and_the_table_has_a_row_a_label(found):
    for one in found.worst(len(found.order)):  # also where the given label is the likeliest
        assert one.proposed != one.given
        assert one.given_probability == pytest.approx(found.probabilities[one.index, one.given])
    table = found.table
    assert list(table["index"]) == found.order.tolist()
    assert table["its probability"].is_monotonic_increasing


def test_confident_learning_is_that_of_the_paper_worked_out_by_hand():
    probabilities = torch.tensor(
        [[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.4, 0.6], [0.45, 0.55]]
    ).double()
    given = torch.tensor([0, 0, 0, 1, 1, 0])
    # Thresholds: 0.5625 for class 0, 0.75 for class 1. Only the third reaches one, of a class it was not given.
    assert room.likely_wrong(probabilities, given).tolist() == [False, False, True, *[False] * 3]


def test_cleanlab_says_the_same():
    pytest.importorskip("cleanlab", reason="left out: cleanlab is not installed")
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    for seed in range(3):
        chance = runtime.generator(seed, "cleanlab")
        points = torch.randn(300, 8, generator=chance, dtype=torch.float64)
        truth = points[:, :4].argmax(1)
        given = torch.where(
            torch.rand(300, generator=chance) < 0.2,
            torch.randint(4, (300,), generator=chance),
            truth,
        )
        seen = room.out_of_sample(points, given, 4)
        theirs = get_label_quality_scores(given.numpy(), seen.numpy(), method="self_confidence")
        order = room.rank(seen, given)
        assert torch.equal(torch.from_numpy(theirs)[order], torch.from_numpy(theirs).sort().values)
        issues = find_label_issues(
            given.numpy(), seen.numpy(), filter_by="confident_learning", n_jobs=1
        )
        assert issues.tolist() == room.likely_wrong(seen, given).tolist()


def test_a_class_with_one_example_cannot_be_judged():
    points, given = cloud(10, 0)
    with pytest.raises(DataError, match="two examples each"):
        room.out_of_sample(points, torch.tensor([0] * 9 + [1]), 2)
    with pytest.raises(DataError, match="2 or more"):
        room.out_of_sample(points, given, 2, folds=1)


def test_small_classes_get_fewer_folds_and_absent_ones_no_probability():
    points, given = cloud(12, 0)
    given = torch.where(torch.arange(12) < 2, 2, given)
    seen = room.out_of_sample(points, given, 5)
    assert (seen[:, 3:] == 0).all()
    assert torch.allclose(seen.sum(1), torch.ones(12).double())
