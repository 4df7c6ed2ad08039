"""The sentence: each rule speaks for runs that call for it, and holds its tongue for those that do
not.
"""

from __future__ import annotations

import math
import random

import pytest

from labkit.insight import coach
from labkit.tuning.events import EpochDone, Event, Rewound, RunFailed, StepDone
from tests.bounds import held

STAGES = ("stem", "layer1", "layer2", "layer3", "layer4", "head")


def steps(losses, lr=1e-3, depth="stem", first=1, noise=0.02):
    """Optimiser steps with these mean losses, a little scattered as real ones are."""
    chance = random.Random(0)
    return [
        StepDone(step, step / 10, loss * (1 + chance.gauss(0, noise)), 20, 32, lr, depth, 0.01)
        for step, loss in enumerate(losses, first)
    ]


def epoch(number, train_loss=0.3, train=0.8, valid_loss=0.5, valid=0.8, count=153, step=None):
    return EpochDone(
        10 * number if step is None else step,
        number,
        train_loss if number else None,
        round(244 * train) if number else 0,
        244 if number else 0,
        valid_loss,
        round(count * valid),
        count,
        1.0,
    )


def falling(start, end, count):
    return [start * (end / start) ** (i / count) for i in range(count)]


def said(events: list[Event], status="running", classes=2, augment="none"):
    """Which rule speaks, and what it says."""
    trace = coach.read(events, STAGES, status, classes)
    trace.augment = augment
    for rule in coach.RULES:
        if text := rule(trace):
            return rule.__name__, text
    raise AssertionError("no rule spoke")


def test_a_run_that_has_not_started_says_so():
    assert said([], "ready") == ("not_started", "Nothing has been trained yet.")
    rule, text = said([epoch(0, valid=0.5)], "ready")
    assert rule == "not_started"
    assert "50 %" in text
    assert said(steps([0.7]))[0] != "not_started"


def test_a_diverged_run_says_where_and_how_to_go_back():
    events = [*steps([0.7] * 30, lr=0.5), RunFailed(31, "the loss is inf at step 31", 24)]
    rule, text = said(events, "failed")
    assert rule == "failed"
    assert "step 24" in text
    assert "0.05" in text
    assert said([*events, Rewound(24, 31)], "paused")[0] == "paused"


def test_an_ended_run_names_its_accuracy_and_a_better_epoch_only_beyond_noise():
    events = [*steps(falling(0.7, 0.1, 40)), epoch(1, valid=0.90), epoch(2, valid=0.70)]
    rule, text = said(events, "ended")
    assert rule == "ended"
    assert "after 2 epochs with 70 %" in text
    assert "better after epoch 1, with 90 %" in text
    close = [*steps(falling(0.7, 0.1, 40)), epoch(1, valid=0.82), epoch(2, valid=0.80)]
    assert "better" not in said(close, "ended")[1]


def test_who_cannot_go_back_is_not_told_to_rewind():
    rising = [0.4] * 40 + [0.9] * 40
    for status, events in {
        "paused": steps([0.7] * 12),
        "running": steps(rising),
        "failed": [*steps([0.7] * 12), RunFailed(12, "the loss is nan at step 13", 0)],
    }.items():
        trace = coach.read(events, STAGES, status)
        speaks = [next(said for rule in coach.RULES if (said := rule(trace)))]
        trace.goes_back = False
        speaks.append(next(said for rule in coach.RULES if (said := rule(trace))))
        assert ["rewind" in said for said in speaks] == [True, False], speaks
        assert "reset" in speaks[1]


def test_a_paused_run_says_what_can_be_done():
    rule, text = said([*steps([0.7] * 12), epoch(1, valid=0.7)], "paused")
    assert rule == "paused"
    assert "12 steps" in text
    assert "rewind" in text


def test_a_stage_just_unfrozen_or_frozen_is_news_for_ten_steps_only():
    before = steps(falling(0.7, 0.5, 30), depth="layer4")
    unfrozen = [*before, *steps([0.5] * 4, depth="layer3", first=31)]
    rule, text = said(unfrozen)
    assert rule == "depth_moved"
    assert "Just unfrozen layer3" in text
    old = [*before, *steps([0.5] * 14, depth="layer3", first=31)]
    assert said(old)[0] != "depth_moved"
    frozen = [*before, *steps([0.5] * 4, depth="head", first=31)]
    assert said(frozen)[1].startswith("Just froze layer4")
    assert "only head learns" in said(frozen)[1]


def test_several_stages_unfrozen_at_once_are_all_named():
    events = [*steps([0.7] * 20, depth="head"), *steps([0.7] * 2, depth="layer2", first=21)]
    assert "layer2, layer3 and layer4" in said(events)[1]


def test_a_rising_loss_asks_for_a_smaller_rate_and_a_falling_or_noisy_one_does_not():
    rule, text = said(steps([*falling(0.7, 0.3, 40), *falling(0.3, 1.5, 40)], lr=0.01))
    assert rule == "rising"
    assert "0.001" in text
    assert said(steps(falling(0.7, 0.1, 80)))[0] != "rising"
    assert said(steps([0.5] * 80, noise=0.5))[0] != "rising"
    assert said(steps([*[0.005] * 40, *[0.01] * 40]))[0] != "rising"
    assert said(steps([*[0.5] * 40, *[0.65] * 40]))[0] != "rising"  # by less than half


def test_a_ruined_network_is_named_after_three_steps_with_the_step_to_go_back_to():
    before = steps(falling(2.5, 1.2, 40), lr=1e-3)
    raised = steps([1.2], lr=0.3, first=41)  # its loss is that before its own step
    for bad in ([9, 14, 15], [9, 14, 15] * 20):
        rule, text = said([*before, *raised, *steps(bad, lr=0.3, first=42)], classes=10)
        assert rule == "ruined"
        assert "rate of 0.3 has ruined" in text
        assert "guessing has 2.3" in text
        assert "rewind to step 40 and go on with about 0.03" in text
    for kind in (
        [*before, *steps([9, 14], lr=0.3, first=41)],
        [*before, *steps([9, 14, 1.1], 0.3, first=41)],
    ):
        assert said(kind, classes=10)[0] != "ruined"
    lowered = [
        *before,
        *raised,
        *steps([15] * 5, lr=0.3, first=42),
        *steps([12] * 5, lr=1e-3, first=47),
    ]
    assert "rate of 0.3" in said(lowered, classes=10)[1], (
        "whose rate it was, and not the one in force"
    )
    assert said(lowered, "paused", classes=10)[0] == "ruined"


def test_a_fresh_head_that_begins_above_guessing_is_not_ruined():
    assert said(steps([5.5, 6, 5.8, 6.1]), classes=10)[0] == "level"
    assert said(steps(falling(5, 2, 30)), classes=10)[0] == "learning"
    assert said(steps([9, 14, 15, 15]), classes=0)[0] != "ruined", "guessing is not known"


def test_advice_is_on_the_rate_that_was_set_and_not_on_what_a_schedule_has_made_of_it():
    trace = coach.read(steps([2.3] * 60, lr=3e-8), STAGES, "running", 10)
    trace.lr = 1e-6
    assert "try 1e-05" in str(coach.too_small(trace))
    trace = coach.read(steps([2.3] * 60, lr=1e-4), STAGES, "running", 10)
    trace.lr = 0.1
    assert coach.too_small(trace) is None
    assert "try 0.01" in str(coach.stuck(trace))


def test_overfitting_is_dated_to_the_epoch_where_validation_was_best():
    curve = [
        (0.60, 0.70, 0.60, 0.70),
        (0.40, 0.80, 0.50, 0.78),
        (0.10, 0.97, 0.6, 0.77),
        (0.03, 1, 0.8, 0.76),
    ]
    events = [epoch(n, *values) for n, values in enumerate(curve, 1)]
    rule, text = said([*steps(falling(0.7, 0.03, 80)), *events])
    assert rule == "overfitting"
    assert "since epoch 2" in text
    assert "100 % against 76 %" in text
    assert "or augment" in text
    augmented = said([*steps(falling(0.7, 0.03, 80)), *events], augment="light")[1]
    assert "augmented already" in augmented
    assert "or augment" not in augmented


def test_a_gap_that_does_not_grow_or_one_bad_epoch_is_not_called_overfitting():
    improving = [epoch(n, 0.3 / n, 0.98, 0.5 / n, 0.8) for n in range(1, 6)]
    assert said([*steps(falling(0.7, 0.1, 80)), *improving])[0] != "overfitting"
    one_bad = [
        epoch(1, 0.4, 0.9, 0.5, 0.8),
        epoch(2, 0.3, 0.95, 0.4, 0.82),
        epoch(3, 0.2, 0.99, 0.6, 0.7),
    ]
    assert said([*steps(falling(0.7, 0.1, 80)), *one_bad])[0] != "overfitting"
    both_worse = [epoch(n, 0.4 * n, 0.8 - 0.1 * n, 0.4 * n, 0.8 - 0.1 * n) for n in range(1, 6)]
    assert said([*steps(falling(0.7, 0.1, 80)), *both_worse])[0] != "overfitting"


def test_a_rate_too_small_to_see_is_told_apart_from_a_run_that_has_converged():
    rule, text = said(steps([0.69] * 60, lr=1e-6))
    assert rule == "too_small"
    assert "1e-05" in text
    assert said(steps([*falling(0.69, 0.02, 60), *[0.02] * 60], lr=1e-4))[0] != "too_small"
    assert said(steps([0.69] * 15, lr=1e-6))[0] != "too_small"


def test_guessing_at_a_large_rate_is_blamed_on_the_rate_and_a_useful_loss_is_not():
    rule, text = said(steps([math.log(2)] * 80, lr=0.1))
    assert rule == "stuck"
    assert "0.01" in text
    assert said(steps([0.4] * 80, lr=0.1))[0] != "stuck"
    assert said(steps([math.log(2)] * 80, lr=0.1), classes=100)[0] != "stuck"


def test_a_change_of_rate_starts_a_new_judgement():
    events = [*steps([0.69] * 60, lr=1e-6), *steps([0.69] * 10, lr=1e-4, first=61)]
    assert said(events)[0] != "too_small"


def test_head_only_is_said_in_the_first_epoch_and_only_of_the_head():
    assert said(steps(falling(0.7, 0.6, 8), depth="head"))[0] == "head_only"
    assert said(steps(falling(0.7, 0.6, 8), depth="layer4"))[0] != "head_only"
    later = [*steps(falling(0.7, 0.3, 40), depth="head"), epoch(1)]
    assert said(later)[0] != "head_only"


def test_little_validation_data_is_mentioned_when_differences_are_noise():
    flat = steps([*falling(0.7, 0.2, 60), *[0.2] * 60])
    epochs = [epoch(n, valid=0.80 + 0.01 * (n % 2)) for n in range(1, 6)]
    rule, text = said([*flat, *epochs])
    assert rule == "within_noise"
    assert "153 examples" in text
    assert "6 points" in text
    plenty = [epoch(n, valid=0.80 + 0.01 * (n % 2), count=10_000) for n in range(1, 6)]
    assert said([*flat, *plenty])[0] != "within_noise"
    rising = [epoch(n, valid=0.5 + 0.09 * n) for n in range(1, 6)]
    assert said([*flat, *rising])[0] != "within_noise"


def test_a_high_and_level_loss_is_underfitting_and_a_low_or_falling_one_is_not():
    epochs = [epoch(n, 1.5, 0.5, 1.5, 0.5) for n in range(1, 4)]
    rule, text = said([*steps([*falling(2.3, 1.5, 20), *[1.5] * 60]), *epochs], classes=10)
    assert rule == "underfitting"
    assert "level at 1.5, with 50 % right" in text
    low = steps([*falling(2.3, 0.5, 20), *[0.5] * 60])
    assert said([*low, *epochs], classes=10)[0] != "underfitting"
    assert said([*steps(falling(2.3, 1.5, 80)), *epochs], classes=10)[0] != "underfitting"
    hard = [*steps([*falling(2.3, 1.5, 20), *[1.5] * 60]), *epochs]
    assert said(hard, classes=10, augment="strong")[0] != "underfitting"


def test_a_handful_of_validation_examples_is_said_to_be_too_few_and_a_hundred_is_not():
    run = steps(falling(0.7, 0.2, 60))
    rule, text = said([*run, epoch(1, valid=0.75, count=20)])
    assert rule == "few_to_validate"
    assert "20 validation examples are too few to tell: each is 5 points" in text
    assert said([*run, epoch(1, valid=0.75, count=100)])[0] != "few_to_validate"
    assert said([*steps(falling(0.7, 0.6, 8)), epoch(0, count=20)])[0] != "few_to_validate"


def test_validation_above_training_is_explained_by_augmentation_and_by_nothing_else():
    run = steps(falling(2.3, 0.6, 80))
    above = [epoch(n, 0.8, 0.75, 0.4, 0.88) for n in range(1, 5)]
    rule, text = said([*run, *above], augment="strong")
    assert rule == "augmented"
    assert "88 % against 75 %" in text
    assert said([*run, *above])[0] != "augmented"
    below = [epoch(n, 0.3, 0.95, 0.4, 0.88) for n in range(1, 5)]
    assert said([*run, *below], augment="strong")[0] != "augmented"


def test_a_loss_that_wanders_as_little_as_so_few_examples_allow_is_not_overfitting():
    curve = [(0.6, 0.8, 0.60, 0.75), (0.4, 0.9, 0.42, 0.8), (0.3, 0.92, 0.46, 0.8)]
    curve += [(0.2, 0.95, 0.46, 0.8)]
    events = [*steps(falling(0.7, 0.1, 80))]
    few = [epoch(n, *values, count=153) for n, values in enumerate(curve, 1)]
    many = [epoch(n, *values, count=5000) for n, values in enumerate(curve, 1)]
    assert said([*events, *few])[0] != "overfitting"
    assert said([*events, *many])[0] == "overfitting"


def test_a_falling_loss_is_learning_and_a_flat_one_is_level():
    assert said([*steps(falling(0.7, 0.2, 60)), epoch(1, valid=0.8)])[0] == "learning"
    assert said(steps([0.02] * 60, lr=0.01))[0] == "level"


@pytest.mark.parametrize("count", [1, 2, 5, 19, 20, 39, 40])
def test_some_rule_speaks_at_every_length_and_ends_its_sentence(count):
    text = said(steps([0.7] * count))[1]
    assert text.endswith(".")
    assert "\n" not in text


def test_a_run_without_validation_data_is_never_given_an_accuracy():
    empty = [epoch(n, valid_loss=None, count=0) for n in range(4)]
    for status in ("running", "paused", "ended"):
        assert "%" not in said([*steps(falling(0.7, 0.2, 60)), *empty], status)[1]


def test_a_rewind_takes_back_what_came_after_it():
    events = [*steps([0.7] * 30), epoch(1, step=10), epoch(2, step=20), Rewound(10, 30)]
    trace = coach.read(events, STAGES, "paused")
    assert [step.step for step in trace.steps] == list(range(1, 11))
    assert [done.epoch for done in trace.epochs] == [1]


def test_a_gap_that_is_small_or_within_the_noise_is_no_overfitting():
    """Both must be exceeded: what matters, and what so few examples can tell."""
    assert is_overfitting(gap=0.15, count=10_000)
    assert not is_overfitting(gap=0.07, count=10_000)  # clear, but too small to matter
    assert not is_overfitting(gap=0.15, count=20)  # large, but three examples
    assert is_overfitting(gap=0.24, count=100)


def is_overfitting(gap: float, count: int) -> bool:
    """Whether the rule speaks of a run whose validation loss has been rising since its first epoch."""
    epochs = [epoch(n, 0.3 / n, 0.95, 0.4 * n, 0.95 - gap, count) for n in range(1, 6)]
    trace = coach.read([*steps(falling(0.7, 0.1, 80)), *epochs], STAGES, "running", 2)
    return coach.overfitting(trace) is not None


class Counted(list):
    """A list that counts how many of its items were looked at."""

    looks = 0

    def __getitem__(self, key):
        found = super().__getitem__(key)
        self.looks += len(found) if isinstance(key, slice) else 1
        return found

    def __iter__(self):
        for item in super().__iter__():
            self.looks += 1
            yield item

    def __reversed__(self):
        for item in super().__reversed__():
            self.looks += 1
            yield item


def looks_of_all_rules(length: int) -> int:
    """How many steps the rules look at in a run of so many."""
    trace = coach.read(steps(falling(0.7, 0.2, length)), STAGES, "running", 2)
    trace.steps = Counted(trace.steps)
    for rule in coach.RULES:
        rule(trace)
    return trace.steps.looks


def test_the_rules_look_at_no_more_steps_in_a_longer_run():
    long = looks_of_all_rules(20_000)
    assert long <= 1.15 * looks_of_all_rules(2_000)
    held("the coach's rules", long, 5 * 20 * coach.WINDOW, "steps looked at")
