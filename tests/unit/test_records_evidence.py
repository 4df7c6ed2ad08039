"""Recorded runs: made once, resumed, held to their recipe, and cited with interval and seeds."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace

import pytest

import labkit
from labkit.course import evidence
from labkit.errors import EvidenceError
from labkit.insight.metrics import Estimate
from labkit.records import table
from labkit.records.evidence import making, rechecking
from labkit.records.evidence.claim import Claim
from labkit.records.evidence.record import EvidenceRow, Trial
from labkit.records.evidence.setting import TRIAL_SEEDS, Condition, Experiment, Measurement

PLACE = {
    "group": "digits-6",
    "net": "resnet10-glyphs",
    "data": {"name": "digits", "size": 16, "seed": 0},
    "split": "test",
    "trial_data": {"name": "digits", "size": 16},
    "trial_split": "valid",
    "labels": 6,
}
SMALL = Experiment(
    name="small",
    question="Does a record come about as it should?",
    settings=(
        Condition(**PLACE, plan=labkit.feature_extraction(3e-3, 1, name="linear probe")),
        Condition(
            **PLACE,
            plan=labkit.feature_extraction(3e-3, 1, name="trap", frozen_statistics="running"),
        ),
    ),
    seeds=(0, 1),
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A real, small record: two settings, two seeds."""
    out = tmp_path_factory.mktemp("records")
    told = []
    evidence.at(out).build(SMALL, tell=told.append)
    assert len(told) == 4
    return out


def row(setting, seed, correct, count=100):
    return EvidenceRow(
        group=setting.group, plan=setting.plan.name, seed=seed, correct=correct, count=count,
        valid_correct=correct, best_correct=correct, best_epoch=1, valid_count=count, epochs=1,
        steps=1, seconds=1.0, cpu_seconds=1.0, statistics=0.0, precision="fp32", recipe="0" * 12,
    )  # fmt: skip


@pytest.fixture
def types(tmp_path):
    """A hand-made record of the three types: probe 80 to 84 %, full always 2 points more."""
    probe, full = (
        next(s for s in evidence.find("types").settings if s.key == key)
        for key in ("ants-bees/linear-probe", "ants-bees/full")
    )
    rows = [row(probe, seed, 80 + seed) for seed in range(5)]
    rows += [row(full, seed, 82 + seed) for seed in range(5)]
    table.write(tmp_path / "types.csv", rows)
    return tmp_path


@pytest.mark.slow
def test_a_built_record_is_complete_and_passes_its_check(built):
    assert evidence.at(built).check(SMALL) == []
    runs = evidence.at(built).rows(SMALL)
    assert list(runs["seed"]) == [0, 1, 0, 1]
    assert runs["count"].nunique() == 1
    provenance = table.read_provenance(built / "small.json")
    assert provenance["machine"]["torch"]
    assert provenance["settings"]["digits-6/linear-probe"]["plan"]["phases"][0]["lr"] == 3e-3
    assert provenance["weights"]["resnet10-glyphs"]
    assert provenance["cpu_seconds"] > 0


@pytest.mark.slow
def test_a_record_holds_what_a_run_gives_again(built):
    setting = SMALL.settings[0]
    run = labkit.Run(labkit.load_backbone(setting.net), setting.load(1), setting.plan, seed=1).fit()
    end = run.evaluate("test")
    found = evidence.at(built).rows(SMALL).iloc[1]
    assert (found["correct"], found["count"]) == (end.correct, end.count)


@dataclass(frozen=True)
class Fewer:
    """A change that tells itself: so many examples a class are left."""

    per_class: int

    def __call__(self, data, seed):
        return data.subset(per_class=self.per_class, seed=seed)


def fresh(net):
    """A start without what the weights knew."""
    return replace(net, state=None)


def seen_before(run):
    """Asks a past state of a finished run."""
    return float(run.rewind(0).step_number)


def test_a_changed_recipe_is_another_and_what_it_was_asked_for_can_be_cited(tmp_path):
    plain = SMALL.settings[0]
    asked = {
        "size": Measurement(lambda run: len(run.data.train)),
        "back": Measurement(seen_before, "steps"),
        "path": Measurement(lambda run: [1.0, 0.25]),
    }
    other = replace(plain, group="other", change=Fewer(2), start=fresh, readings=asked)
    assert len({making.recipe(s) for s in (plain, other, replace(other, change=Fewer(3)))}) == 3
    both = replace(SMALL, settings=(plain, other), seeds=(0,))
    evidence.at(tmp_path).build(both)
    assert evidence.at(tmp_path).check(replace(both, seeds=(0,))) == []
    row = table.read(tmp_path / "small.csv", EvidenceRow)[1]
    assert row.reading("size") == 20  # two of ten classes each
    assert row.reading("back") == 0
    assert row.reading("path") == 0.25, "a text gets the last number of a curve"
    assert row.steps > 0, "what is on record is from before a reading went back"
    told = table.read_provenance(tmp_path / "small.json")["settings"]["other/linear-probe"]
    assert (told["change"], told["start"]) == ("Fewer(per_class=2)", "fresh")
    assert told["readings"] == ["back", "path", "size"]


def test_the_trap_is_on_record_as_statistics_that_moved(built):
    table = evidence.at(built).rows(SMALL).set_index("key")
    assert (table.loc["digits-6/linear-probe", "statistics"] == 0).all()
    assert (table.loc["digits-6/trap", "statistics"] > 0.01).all()


def test_runs_done_again_are_the_same_to_the_example(built):
    told = []
    done = rechecking.recheck([[(SMALL, built)]], 2, chance=0, tell=told.append)
    assert len({one.run for one in done}) == 2
    assert all(one.same and one.inside for one in done)
    assert told == [str(one) for one in done]


def test_a_run_that_ends_where_no_seed_would_is_found_out(built, tmp_path):
    rows = table.read(built / "small.csv", EvidenceRow)
    table.write(tmp_path / "small.csv", [replace(row, correct=1) for row in rows])
    (one,) = rechecking.recheck([[(SMALL, tmp_path)]], chance=0)
    assert not one.inside
    assert "OUTSIDE" in str(one)


def test_building_again_makes_only_what_is_missing(built):
    told = []
    evidence.at(built).build(SMALL, tell=told.append)
    assert told == []
    longer = replace(SMALL, seeds=(0, 1, 2), settings=SMALL.settings[:1])
    evidence.at(built).build(longer, tell=told.append)
    assert len(told) == 1
    assert "seed 2" in told[0]
    evidence.at(built).build(SMALL)


def test_a_record_by_another_recipe_is_found_out(built):
    other = replace(SMALL.settings[0], plan=SMALL.settings[0].plan.with_(lr=1e-2))
    changed = replace(SMALL, settings=(other, SMALL.settings[1]))
    problems = evidence.at(built).check(changed)
    assert len(problems) == 1
    assert "another recipe" in problems[0]


def test_a_record_that_lacks_seeds_or_holds_impossible_counts_is_found_out(built, tmp_path):
    rows = table.read(built / "small.csv", EvidenceRow)
    table.write(tmp_path / "small.csv", [replace(rows[0], correct=rows[0].count + 1), *rows[2:]])
    problems = " ".join(evidence.at(tmp_path).check(SMALL))
    assert "has seeds [0]" in problems
    assert "counts that cannot be" in problems
    assert "no JSON" in problems


@pytest.mark.slow
def test_rates_are_tried_with_seeds_and_examples_that_are_not_reported(tmp_path):
    setting = replace(SMALL.settings[0], rates=(1e-3, 3e-2))
    tried = replace(SMALL, settings=(setting,))
    path = evidence.at(tmp_path).tune(tried)
    trials = table.read(path, Trial)
    assert not {trial.seed for trial in trials} & set(SMALL.seeds)
    assert len(trials) == 4
    for place in (setting, *evidence.find("types").settings):
        if place.trial_data["name"] == "digits":
            assert place.trial_split != place.split
        else:  # a part of train is set aside, and validation is what is reported
            assert place.trial_data["test"] > 0


def test_a_rate_that_was_not_the_best_of_those_tried_is_found_out(tmp_path):
    setting = replace(SMALL.settings[0], rates=(1e-3, 3e-3))
    experiment = replace(SMALL, settings=(setting,))
    trials = [
        Trial(setting.group, setting.plan.name, rate, 100, correct, 100, "0" * 12)
        for rate, correct in ((1e-3, 90), (3e-3, 80))
    ]
    table.write(tmp_path / "small.rates.csv", trials)
    assert "0.001 did best" in " ".join(evidence.at(tmp_path).check(experiment))


def test_a_citation_gives_mean_interval_and_seeds(types):
    assert evidence.at(types).cite("types/ants-bees/linear-probe") == "82 % (80 to 84, 5 seeds)"
    difference = evidence.at(types).cite(
        "types/ants-bees/full", against="types/ants-bees/linear-probe"
    )
    assert difference == "+2.0 points (+2.0 to +2.0, 5 seeds)"


@pytest.fixture
def knobs(tmp_path):
    """A hand-made record of step-size: for every seed the rates reach 60 to 90 %, the batches 80 to 85 %."""
    spreads = evidence.find("step-size").spreads
    settings = {s.key: s for s in evidence.find("step-size").settings}
    reached = dict(zip(spreads["digits-10/rate-far"], (60, 70, 80, 90, 85), strict=True))
    reached |= dict(zip(spreads["digits-10/batch-near"], (82, 80, 85), strict=True))
    rows = [
        replace(row(settings[key], seed, right + seed), drift=seed / 10)
        for key, right in reached.items()
        for seed in range(5)
    ]
    table.write(tmp_path / "step-size.csv", rows)
    return tmp_path


def test_a_spread_is_the_best_less_the_worst_seed_by_seed(knobs):
    far, near = "step-size/digits-10/rate-far", "step-size/digits-10/batch-near"
    assert evidence.at(knobs).cite(far) == "30 points (30 to 30, 5 seeds)"
    assert evidence.at(knobs).estimate(near).mean == pytest.approx(0.05)
    assert evidence.at(knobs).cite(far, against=near) == "+25.0 points (+25.0 to +25.0, 5 seeds)"
    with pytest.raises(EvidenceError, match="Nothing is on record"):
        evidence.at(knobs).estimate("step-size/digits-10/batch-far")


def test_a_race_lasts_until_the_goal_is_first_reached_or_as_long_as_the_training(tmp_path):
    home = "digits-10"
    settings = {s.key: s for s in evidence.find("head-start").settings}
    curves = {  # right answers before training and after each of 4 epochs
        "fine-tuned": "10 80 90 90 95",
        "from-scratch": "10 20 50 85 80",
        "from-scratch-longer": "10 20 50 85 94",
    }
    rows = [
        replace(
            row(settings[f"{home}/{plan}"], seed, 0),
            valid_correct=int(curve.split()[-1]),
            curve=tuple(map(int, curve.split())),
            epochs=4,
            steps=40,
            cpu_seconds=8.0,
        )
        for plan, curve in curves.items()
        for seed in range(5, 10)
    ]
    table.write(tmp_path / "head-start.csv", rows)

    def cite(key, against=None):
        return evidence.at(tmp_path).cite(f"head-start/{home}/{key}", against)

    assert cite("fine-tuned-to-scratch") == "10 steps (10 to 10, 5 seeds)"
    assert cite("from-scratch-to-scratch/seconds") == "6.0 s (6.0 to 6.0, 5 seeds)"
    assert cite("from-scratch-longer-to-fine-tuned") == "40 steps (40 to 40, 5 seeds)"
    assert cite("fine-tuned/steps") == "40 steps (40 to 40, 5 seeds)"
    other = f"head-start/{home}/from-scratch-to-scratch"
    assert cite("fine-tuned-to-scratch", other) == "-20.0 steps (-20.0 to -20.0, 5 seeds)"


def test_how_far_the_layers_moved_is_cited_by_the_same_key(knobs):
    drift = evidence.at(knobs).estimate("step-size/digits-10/rate-0.001/drift")
    assert drift.mean == pytest.approx(0.2)


def test_a_record_from_before_the_drift_was_kept_is_still_read(types):
    text = (types / "types.csv").read_text().splitlines()
    (types / "types.csv").write_text("\n".join(line.rsplit(",", 2)[0] for line in text))
    assert evidence.at(types).cite("types/ants-bees/full") == "84 % (82 to 86, 5 seeds)"
    assert evidence.at(types).rows("types")["drift"].isna().all()


def test_a_verdict_is_what_its_rule_says_of_every_place():
    def claim(*answers):
        return Claim(0, "", "", lambda ask: ((str(n), yes) for n, yes in enumerate(answers)))

    assert claim(True, True).verdict(None) == "supported"
    assert claim(False, False).verdict(None) == "not supported"
    assert claim(True, False).verdict(None) == "it depends"


@pytest.mark.parametrize("number", [claim.number for claim in evidence.claims])
def test_the_record_that_ships_decides_every_claim(number):
    assert evidence.verdict(number) in ("supported", "not supported", "it depends")


PREREGISTERED = {
    2,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    16,
    17,
    19,
}  # whose rule the history shows before their record


def test_a_rule_that_came_with_its_record_is_asked_of_new_seeds_as_well() -> None:
    assert {claim.number for claim in evidence.claims if claim.preregistered} == PREREGISTERED
    for claim in evidence.claims:
        if claim.preregistered:
            with pytest.raises(EvidenceError, match="committed before its runs"):
                evidence.confirmed(claim.number)
        else:
            assert evidence.confirmed(claim.number) in ("supported", "not supported", "it depends")


def test_confirming_runs_differ_from_the_first_in_their_seeds_alone() -> None:
    for again in evidence.confirming.experiments:
        first = evidence.find(again.name)
        assert not set(again.seeds) & set(first.seeds)
        for setting in again.settings:
            assert replace(setting, rates=()) in [replace(one, rates=()) for one in first.settings]


def test_a_text_says_both_verdicts_where_runs_confirm_a_claim() -> None:
    assert evidence.stated(2) == evidence.verdict(2)
    first, again = evidence.verdict(3), evidence.confirmed(3)
    assert evidence.stated(3).startswith(first)
    assert "five new seeds" in evidence.stated(3)
    assert evidence.stated(3).endswith("as well" if first == again else again)


def test_one_unclear_interval_is_enough_to_make_a_verdict_depend():
    def ask(key, against=None):
        low = -0.01 if key.endswith("rate-near") else 0.01
        return Estimate(0.02, low, 0.03, 5)

    assert evidence.claim(15).verdict(ask) == "it depends"
    with pytest.raises(EvidenceError, match=r"5, .*15, .*18"):
        evidence.claim(99)


def test_a_summary_gives_both_intervals(types):
    table = evidence.at(types).show("types").dropna().set_index("plan")
    assert table.loc["linear probe", "over seeds"] == "80.0 to 84.0"
    assert table.loc["linear probe", "over examples"] == "73 to 88 (n = 100)"


def test_what_is_not_on_record_is_said_with_what_is(types):
    with pytest.raises(EvidenceError, match="types/ants-bees/full"):
        evidence.at(types).cite("types/ants-bees/best")
    with pytest.raises(EvidenceError, match=r"head-start, .*batchnorm-trap, "):
        evidence.at(types).cite("nothing/at/all")
    with pytest.raises(EvidenceError, match="labkit evidence build"):
        evidence.at(types).show("batchnorm-trap")


def test_a_damaged_record_is_an_error_that_says_what_to_do(types):
    (types / "types.csv").write_text("group,plan\nants-bees,full\n")
    with pytest.raises(EvidenceError, match="Build it again"):
        evidence.at(types).rows("types")
    assert evidence.at(types).check("types")


@pytest.mark.parametrize("experiment", evidence.experiments, ids=lambda e: e.name)
def test_what_ships_is_complete_and_by_todays_recipe(experiment):
    assert evidence.check(experiment) == []


def test_every_setting_has_a_key_of_its_own_and_five_seeds():
    for experiment in evidence.experiments:
        keys = [setting.key for setting in experiment.settings]
        assert len(set(keys)) == len(keys)
        assert len(experiment.seeds) >= 5 or experiment.seeds == TRIAL_SEEDS


def test_no_lesson_and_no_claim_cites_what_was_only_tried(root):
    tried = [
        experiment.name for experiment in evidence.experiments if experiment.seeds == TRIAL_SEEDS
    ]
    assert tried
    texts = [path.read_text("utf-8") for path in (root / "notebooks" / "src").glob("*.py")]
    rules = [inspect.getsource(claim.asked) for claim in evidence.claims]
    assert not [name for name in tried for text in texts + rules if f"{name}/" in text]
