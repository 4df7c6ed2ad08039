"""Sabotaged runs: drawn with a seed, the held-out ones from settings that no rule was tuned on."""

from __future__ import annotations

import pytest
import torch

import labkit
from labkit.errors import EvidenceError
from labkit.records import sabotage
from labkit.records.sabotage import Case, Chance, bugs
from labkit.runtime import Precision
from labkit.tuning.trainer import Hooks


@pytest.fixture(scope="module")
def data():
    return labkit.load_data("digits", size=8).subset(per_class=4)


def test_development_and_held_out_runs_share_no_number():
    low, high = 1e-4, 1e-1
    for logarithmic in (False, True):
        middle, outer = (
            [Chance(pool, "x", seed).number(low, high, logarithmic) for seed in range(300)]
            for pool in ("development", "held-out")
        )
        assert all(low <= value <= high for value in (*middle, *outer))
        assert not any(min(middle) < value < max(middle) for value in outer)


def test_whole_numbers_reach_both_ends_in_the_clinic():
    assert {Chance("clinic", "x", seed).whole(3, 6) for seed in range(100)} == {3, 4, 5, 6}


def test_the_same_case_is_the_same_run_and_another_seed_another():
    one, again, other = (sabotage.make(Case("leakage", seed, "clinic")) for seed in (1, 1, 2))
    assert one.plan == again.plan
    assert one.data.train.names == again.data.train.names
    assert (one.plan, one.data.train.names) != (other.plan, other.data.train.names)


def test_a_pool_or_kind_that_does_not_exist_is_an_error_that_names_those_there_are():
    with pytest.raises(EvidenceError, match="held-out"):
        Chance("training", "x", 0)
    with pytest.raises(EvidenceError, match="leakage"):
        sabotage.find("bad luck")


def test_leaked_images_are_validation_images_but_for_the_noise(data):
    leaked = bugs.leak(data, share=0.5, noise=3, seed=0)
    copies = leaked.train.images[len(data.train) :].int()
    assert len(copies) == round(0.5 * len(data.valid))
    valid = data.valid.images.int()
    nearest = torch.stack([(valid - copy).abs().amax(dim=(1, 2, 3)).min() for copy in copies])
    assert 0 < int(nearest.max()) <= 3
    assert leaked.train.batch([0])[0].equal(data.train.batch([0])[0])


def test_other_scales_and_spoilt_images_never_share_the_cache_of_the_right_ones(data):
    splits = (
        data.train,
        bugs.rescale(data.train, 0.5, 0.5),
        bugs.spoil(data.train, 1),
    )
    assert len({split.fingerprint for split in splits}) == 3


def test_a_spoilt_image_spoils_no_other(data):
    images, _ = bugs.spoil(data.train, 3).batch([2, 3, 4])
    assert images[1].isnan().all()
    assert not images[[0, 2]].isnan().any()


def test_a_sabotaged_run_leaves_later_runs_alone(data):
    net, plan = labkit.load_backbone("resnet10-glyphs"), labkit.full(epochs=1)

    def losses() -> list[float]:
        return labkit.Run(net, data, plan, precision=Precision()).fit().history["loss"].tolist()

    before = losses()
    run = labkit.Run(bugs.without_normalising(net), data, plan, precision=Precision())
    bugs.leave_head_out(run)
    run.fit()
    assert run.drift()["head"] == 0
    assert losses() == before


@pytest.mark.parametrize("kind", sabotage.KINDS)
def test_a_sabotaged_run_is_a_plain_run_and_so_it_stays(kind):
    run = sabotage.make(Case(kind, 1, "clinic"))
    assert type(run) is labkit.Run
    assert type(bugs.cover(run)) is labkit.Run


@pytest.mark.parametrize(
    ("kind", "hook"),
    [("frozen-moves", "before_step"), ("averaged-averages", "validate"), ("eval-mode", None)],
)
def test_a_mistake_of_the_loop_is_a_hook_that_cover_takes_off(kind, hook):
    run = sabotage.make(Case(kind, 1, "clinic"))
    on = [name for name, value in vars(run.trainer.hooks).items() if value is not None]
    assert on == [hook] if hook else len(on) == 1
    assert run.branch().trainer.hooks == Hooks()
    assert bugs.cover(run).trainer.hooks == Hooks()


def test_frozen_stages_move_under_the_hook_and_stand_still_without():
    run = sabotage.make(Case("frozen-moves", 1, "clinic"))
    branch = run.branch()
    run.step()
    branch.step()
    assert not run.audit().ok
    assert branch.audit().ok
