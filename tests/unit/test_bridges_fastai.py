"""fastai, both ways: data there and back, what a recipe does, and any Learner as something that can be steered."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

pytest.importorskip("fastai", reason="left out: fastai is not installed")

from fastai.callback.core import Callback
from fastai.callback.training import BnFreeze
from fastai.data.core import DataLoaders
from fastai.data.transforms import Normalize
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.optimizer import SGD
from fastai.vision.augment import Resize, aug_transforms
from fastai.vision.core import imagenet_stats
from fastai.vision.data import ImageDataLoaders

import labkit
from labkit.bridges import fastai as bridge
from labkit.console.session import Session
from labkit.errors import BackboneError, CommandError, DataError, PlanError, SplitError
from labkit.tuning import EpochDone, PhaseChanged, Rewound, RunFailed, StepDone
from labkit.tuning.commands import KINDS
from labkit.tuning.loop import Loop
from tests.waiting import wait_until

Recipe = Callable[[Learner], Any]


def tiny(classes: int) -> nn.Module:
    def block(before: int, after: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(before, after, 3, 2), nn.BatchNorm2d(after), nn.ReLU())

    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
    return nn.Sequential(OrderedDict(stem=block(3, 8), layer1=block(8, 8), head=head))


NET = labkit.Backbone.from_module(tiny, ("stem", "layer1", "head"), "tiny")


@pytest.fixture(scope="module")
def digits() -> Any:
    return labkit.load_data("digits", size=16).subset(per_class=3)


@pytest.fixture
def steered(digits: Any) -> Callable[..., bridge.Steered]:
    def make(recipe: Recipe, batch_size: int = 10, **options: Any) -> bridge.Steered:
        return bridge.Steered(
            bridge.learner(NET, digits, batch_size, **options), recipe, data=digits
        )

    return make


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


class Rates(Callback):
    """The rates of all groups as each step is made: between two steps fastai's scheduler sets others."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    def before_step(self) -> None:
        self.seen.append([float(group["lr"]) for group in self.learn.opt.hypers])


def same(model: nn.Module, before: dict[str, torch.Tensor], stage: str = "") -> bool:
    now = model.state_dict()
    return all(torch.equal(now[k], v) for k, v in before.items() if k.startswith(stage))


def told(run: bridge.Steered, kind: type) -> list[Any]:
    return [event for _, event in run.journal.since() if isinstance(event, kind)]


# ---------------------------------------------------------------- data


def test_our_data_come_back_from_fastai_to_the_bit(digits: Any) -> None:
    back = bridge.from_dataloaders(bridge.dataloaders(digits, batch_size=7))
    assert back.classes == digits.classes
    for part in ("train", "valid", "test"):
        theirs, ours = getattr(back, part), getattr(digits, part)
        assert torch.equal(theirs.images, ours.images)
        assert torch.equal(theirs.labels, ours.labels)
    run = labkit.Run(NET, back, labkit.full(epochs=1, batch_size=10), seed=0)
    assert run.fit().status == "ended"


def test_fastai_is_given_the_numbers_that_our_split_gives(digits: Any) -> None:
    loaders = bridge.dataloaders(digits, batch_size=4)
    images, labels = next(iter(loaders.valid))
    expected, classes = digits.valid.batch(range(4))
    assert torch.equal(images.as_subclass(torch.Tensor).cpu(), expected)
    assert torch.equal(labels.as_subclass(torch.Tensor).cpu(), classes)
    assert loaders.c == len(digits.classes)


def test_no_image_is_left_out_of_an_epoch_and_the_seed_draws_the_order(digits: Any) -> None:
    def order(seed: int) -> list[int]:
        loaders = bridge.dataloaders(digits, batch_size=7, seed=seed)
        return [int(label) for _, labels in loaders.train for label in labels]

    assert len(order(0)) == len(digits.train) == 30
    assert order(0) == order(0) != order(1)


def test_images_of_a_folder_come_back_plain_and_named(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    for part in ("train", "valid"):
        for kind in ("ant", "bee"):
            (tmp_path / part / kind).mkdir(parents=True)
            for number in range(3):
                pixels = chance.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / kind / f"{number}.png")
    loaders = ImageDataLoaders.from_folder(
        tmp_path, train="train", valid="valid", bs=2, num_workers=0, item_tfms=Resize(16),
        batch_tfms=[*aug_transforms(), Normalize.from_stats(*imagenet_stats, cuda=False)],
    )  # fmt: skip
    back = bridge.from_dataloaders(loaders)
    assert back.classes == ("ant", "bee")
    for split in (back.train, back.valid):
        for image, name, label in zip(split.images, split.names, split.labels, strict=True):
            on_disk = torch.from_numpy(np.array(Image.open(name))).permute(2, 0, 1)
            assert (image.int() - on_disk.int()).abs().max() <= 1
            assert Path(name).parent.name == back.classes[int(label)]


def test_what_is_no_set_of_square_images_is_refused() -> None:
    def loaders(*shape: int, **more: Any) -> DataLoaders:
        pairs = [(torch.rand(*shape), torch.tensor(i % 2)) for i in range(4)]
        found = DataLoaders.from_dsets(pairs, pairs, bs=2, drop_last=False, num_workers=0)
        for name, value in more.items():
            setattr(found, name, value)
        return found

    with pytest.raises(DataError, match="no list of classes"):
        bridge.from_dataloaders(loaders(3, 8, 8))
    with pytest.raises(DataError, match="8 by 6"):
        bridge.from_dataloaders(loaders(3, 8, 6, vocab=["a", "b"]))
    with pytest.raises(DataError, match=r"\(3, side, side\)"):
        bridge.from_dataloaders(loaders(6, vocab=["a", "b"]))


def test_without_a_validation_split_there_are_no_loaders(digits: Any) -> None:
    from dataclasses import replace

    with pytest.raises(SplitError, match="validates after every epoch"):
        bridge.dataloaders(replace(digits, valid=digits.valid.take(torch.arange(0))))


# ---------------------------------------------------------------- what a recipe does


def test_fine_tune_is_two_fits_and_asking_changes_nothing(digits: Any) -> None:
    learn = bridge.learner(NET, digits)
    learn.create_opt()
    before, hypers = weights(learn.model), [dict(group) for group in learn.opt.hypers]
    first, second = bridge.fits(learn, lambda learn: learn.fine_tune(4, base_lr=2e-3))
    assert (first.epochs, first.trainable_from) == (1, "head")
    assert (second.epochs, second.trainable_from) == (4, "stem")
    assert (first.peak, second.peak) == pytest.approx((0.99, 0.3), abs=0.001)
    assert (first.lr, second.lr) == pytest.approx((2e-3, 1e-3))
    assert second.rates(0.3) == pytest.approx({"stem": 1e-5, "layer1": 1e-4, "head": 1e-3})
    assert first.lowest_lr == pytest.approx(2e-4)  # frozen, and yet it has a rate: for BatchNorm
    assert same(learn.model, before)
    assert [dict(group) for group in learn.opt.hypers] == hypers
    assert "fit" not in vars(learn)
    assert all(parameter.requires_grad for parameter in learn.model.parameters())


def test_what_is_steered_has_the_loop_of_a_run_and_inherits_nothing(
    steered: Callable[..., bridge.Steered],
) -> None:
    run = steered(lambda learn: learn.fit(1))
    assert bridge.Steered.__mro__ == (bridge.Steered, object)
    assert isinstance(run.loop, Loop)
    assert run.handlers.keys() == set(KINDS) - run.refuses.keys()


def test_the_rates_foreseen_are_the_rates_used(steered: Callable[..., bridge.Steered]) -> None:
    run = steered(lambda learn: learn.fine_tune(2))
    foreseen = [
        fit.rates(step / (3 * fit.epochs))["head"]
        for fit in run.planned
        for step in range(3 * fit.epochs)
    ]
    assert run.total_steps == len(foreseen) == 9
    run.fit()
    assert [step.lr for step in told(run, StepDone)] == pytest.approx(foreseen, rel=1e-4)


# ---------------------------------------------------------------- a Learner that tells


def test_steering_leaves_fastai_to_do_what_it_does(
    digits: Any, steered: Callable[..., bridge.Steered]
) -> None:
    run = steered(lambda learn: learn.fine_tune(2)).fit()
    alone = bridge.learner(NET, digits, 10)
    with alone.no_bar(), alone.no_logging():
        alone.fine_tune(2)
    assert same(run.learn.model, weights(alone.model))
    assert run.learn.recorder.values[-1][-1] == pytest.approx(run.evaluate("valid").accuracy)


def test_every_step_and_epoch_is_told_with_exact_counts(
    digits: Any, steered: Callable[..., bridge.Steered]
) -> None:
    run = steered(lambda learn: learn.fine_tune(2)).fit()
    steps, epochs = told(run, StepDone), told(run, EpochDone)
    assert [step.step for step in steps] == list(range(1, 10))
    assert sum(step.count for step in steps) == 3 * len(digits.train)
    assert [epoch.epoch for epoch in epochs] == [0, 1, 2, 3]
    assert {epoch.valid_count for epoch in epochs} == {len(digits.valid)}
    end = run.evaluate("valid")
    assert epochs[-1].valid_correct == end.correct
    assert epochs[-1].valid_loss == pytest.approx(end.loss, rel=1e-4)
    assert [phase.trainable_from for phase in told(run, PhaseChanged)] == ["head", "stem"]
    assert run.status == "ended"
    assert len(run.history.query("split == 'train'")) == 9


def test_the_audit_shows_that_frozen_leaves_batchnorm_training(
    steered: Callable[..., bridge.Steered],
) -> None:
    def frozen_epoch(learn: Learner) -> None:
        learn.freeze()
        learn.fit(1, 1e-2)

    loose = steered(frozen_epoch).fit().audit()
    assert not loose.ok
    assert [(row.tensors_changed, row.buffers_changed) for row in loose.rows[:2]] == [
        (2, 3),
        (2, 3),
    ]
    half = steered(frozen_epoch, train_bn=False).fit().audit()
    assert [(row.tensors_changed, row.buffers_changed) for row in half.rows[:2]] == [(0, 3), (0, 3)]
    assert steered(frozen_epoch, train_bn=False, cbs=BnFreeze()).fit().audit().ok


def test_a_range_test_in_a_recipe_is_neither_told_nor_steered(
    steered: Callable[..., bridge.Steered], tmp_path: Path
) -> None:
    def recipe(learn: Learner) -> None:
        learn.lr_find(num_it=6, show_plot=False, suggest_funcs=None)
        learn.fit(1, 1e-3)

    run = steered(recipe, path=tmp_path).fit()
    assert run.step_number == 3
    assert len(told(run, PhaseChanged)) == 1


def test_a_loss_that_is_no_number_ends_the_run_and_a_reset_saves_it(digits: Any) -> None:
    body = nn.Sequential(nn.Flatten(), nn.Linear(768, 8), nn.LeakyReLU())  # nothing to hold it
    model = nn.Sequential(OrderedDict(body=body, head=nn.Linear(8, 10)))
    learn = Learner(bridge.dataloaders(digits, 10), model, opt_func=SGD, splitter=bridge.by_stage)
    run, before = bridge.Steered(learn, lambda learn: learn.fit(20, 1e12)), weights(model)
    run.fit()
    assert run.status == "failed"
    assert "the loss is" in told(run, RunFailed)[0].reason
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    with pytest.raises(CommandError, match="Reset it"):
        run.submit("resume").wait(20)
    run.reset()
    assert run.status == "ready"
    assert same(model, before)


def test_a_mistake_in_the_recipe_is_told_where_it_was_called(
    steered: Callable[..., bridge.Steered],
) -> None:
    def recipe(learn: Learner) -> None:
        learn.fit(1, 1e-3)
        raise ValueError("of my own")

    run = steered(recipe)
    with pytest.raises(ValueError, match="of my own"):
        run.fit()
    assert run.status == "failed"
    behind = steered(recipe)
    behind.start()
    assert behind.wait(20).status == "failed"
    assert "of my own" in told(behind, RunFailed)[0].reason


def test_a_learner_that_does_not_classify_is_refused(digits: Any) -> None:
    pairs = [(torch.rand(6), torch.rand(2)) for _ in range(8)]
    loaders = DataLoaders.from_dsets(pairs, pairs, bs=4, num_workers=0)
    learn = Learner(loaders, nn.Linear(6, 2), loss_func=nn.MSELoss())
    with pytest.raises((CommandError, RuntimeError, IndexError)):
        bridge.Steered(learn, lambda learn: learn.fit(1)).fit()


# ---------------------------------------------------------------- a Learner that obeys


def test_a_rate_set_by_hand_is_held_until_the_fit_is_over(
    steered: Callable[..., bridge.Steered],
) -> None:
    rates = Rates()
    run = steered(lambda learn: learn.fine_tune(2), cbs=rates)
    run.step()
    run.set(lr=0.05).wait(20)
    assert run.settings.lr == 0.05
    first = run.step()
    assert rates.seen[1] == pytest.approx([0.005, 0.005, 0.05])  # the proportions of slice(base_lr)
    assert [first.lr, run.step().lr] == pytest.approx([0.05, 0.05])
    after = run.step()
    assert after.trainable_from == "stem"
    assert after.lr < 1e-3
    assert [command.args for command in run.log] == [{"lr": 0.05}]
    run.stop()


def test_a_stage_frozen_on_the_way_stands_still(steered: Callable[..., bridge.Steered]) -> None:
    run = steered(lambda learn: learn.fit(3, 0.05, wd=0.1), train_bn=False, cbs=BnFreeze())
    for _ in range(3):
        run.step()
    run.set(trainable_from="head")
    run.step()  # the epoch's border: BnFreeze looks when an epoch begins
    before = weights(run.learn.model)
    for _ in range(2):
        run.step()
    assert run.settings.trainable_from == "head"
    for stage in ("stem", "layer1"):
        assert same(
            run.learn.model,
            {k: v for k, v in before.items() if "running" not in k and "num_b" not in k},
            stage,
        )
    assert not same(run.learn.model, before, "head")
    run.stop()


def test_left_to_itself_fastai_goes_on_decaying_what_it_froze_on_the_way(digits: Any) -> None:
    learn = bridge.learner(NET, digits, 10, train_bn=False)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.05, wd=0.1)
        learn.freeze()
        before = learn.model.stem[0].weight.detach().clone()
        learn.fit(1, 0.05, wd=0.1)
    shrunk = learn.model.stem[0].weight.detach() / before
    assert shrunk.mean() == pytest.approx((1 - 0.05 * 0.1) ** 3, abs=1e-4)


def test_it_pauses_goes_on_and_is_reset_from_another_thread(
    steered: Callable[..., bridge.Steered],
) -> None:
    run = steered(lambda learn: learn.fit(500, 1e-3))
    before = weights(run.learn.model)
    run.start()
    wait_until(lambda: run.step_number >= 5, 60)
    run.pause().wait(20)
    run.wait(20)
    at = run.step_number
    assert run.status == "paused"
    time.sleep(0.05)
    assert run.step_number == at
    run.evaluate("valid")  # while it stands still
    run.resume().wait(20)
    wait_until(lambda: run.step_number >= at + 5, 60)
    assert run.status == "running"
    run.reset()
    assert (run.status, run.step_number, run.epoch) == ("ready", 0, 0)
    assert same(run.learn.model, before)
    assert isinstance(run.journal.since()[-2][1], Rewound)
    run.resume().wait(20)  # and begins again from the first line
    wait_until(lambda: run.step_number >= 3, 60)
    run.stop()
    assert run.status == "ended"


@pytest.mark.parametrize(
    "asked", ["batch_size", "epochs", "augment", "lr_decay", "hold", "rehearse"]
)
def test_what_is_not_ours_to_change_is_refused_with_a_reason(
    steered: Callable[..., bridge.Steered], asked: str
) -> None:
    run = steered(lambda learn: learn.fit(1))
    with pytest.raises(CommandError, match="fastai holds the loop"):
        run.set(**{asked: 2})
    with pytest.raises(CommandError, match="cannot go back"):
        run.rewind(0)
    with pytest.raises(CommandError, match="second Learner"):
        run.branch()
    with pytest.raises(CommandError, match="Call fit"):
        run.fit(epochs=1)


# ---------------------------------------------------------------- on the console


def test_the_console_shows_a_learner_and_what_it_cannot_do(
    steered: Callable[..., bridge.Steered],
) -> None:
    run = steered(lambda learn: learn.fine_tune(1))
    assert labkit.console(run).run is run
    session = Session([run])

    def command(name: str, **args: Any) -> dict[str, Any]:
        message = {"kind": "command", "id": f"{name}{time.perf_counter()}", "command": name}
        return session.answer({**message, "args": args})

    assert command("set", lr=0.01)["ok"]
    assert command("run")["ok"]
    run.wait(20)
    delta = session.answer({"kind": "poll", "since": 0, "hidden": True})
    meta = delta["points"][0][2]
    assert [name for name, _ in meta["stages"]] == ["stem", "layer1", "head"]
    assert {"rewind", "branch", "plan", "find_lr", "share", "batch_size"} <= set(meta["refuses"])
    assert sum(point[0] == "s" for point in delta["points"]) == 6
    assert delta["state"]["runs"][0]["status"] == "ended"
    for name in ("rewind", "branch", "plan", "find_lr", "share"):
        refused = command(name, step=0) if name == "rewind" else command(name)
        assert not refused["ok"]
        assert refused["error"] == run.refuses[name]
    assert command("reset")["ok"]


def test_a_run_of_ours_refuses_nothing(digits: Any) -> None:
    run = labkit.Run(NET, digits, labkit.full(epochs=1, batch_size=10))
    assert not run.refuses
    delta = Session([run]).answer({"kind": "poll", "since": 0, "hidden": True})
    assert delta["points"][0][2]["refuses"] == {}


def test_the_prober_finds_words_drift_and_images(steered: Callable[..., bridge.Steered]) -> None:
    from labkit.console.probe import Prober

    run = steered(lambda learn: learn.fine_tune(1)).fit()
    prober = Prober()
    prober.look(run, "r0", "r0")
    wait_until(lambda: prober.result is not None, 60)
    assert prober.result is not None
    assert set(prober.result["drift"]) == {"stem", "layer1", "head"}
    assert len(prober.result["strip"]) == 12
    assert prober.sentence
    assert "cannot be looked at" not in prober.sentence
    assert prober.expected == ""  # what is on record is of our loop


# ---------------------------------------------------------------- any Learner


def test_any_learner_is_steered_by_its_parameter_groups(digits: Any) -> None:
    loaders = bridge.dataloaders(digits, 10)
    body = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()
    )
    model = nn.Sequential(
        body, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    )
    learn = Learner(
        loaders, model, loss_func=CrossEntropyLossFlat(),
        splitter=lambda m: [list(m[0][:3].parameters()), list(m[0][3:].parameters()), list(m[1].parameters())],
    )  # fmt: skip
    run = bridge.Steered(learn, lambda learn: learn.fine_tune(1))
    assert run.stages == ("group1", "group2", "head")
    assert [len(list(stage.parameters())) for stage in run.model.children()] == [4, 2, 2]
    run.fit()
    assert run.evaluate("valid").count == len(digits.valid)
    audit = {row.stage: row for row in run.audit().rows}
    assert audit["group1"].buffers_changed == 3
    assert audit["group2"].parameters == 8 * 8 * 9 + 8
    assert run.drift()["head"] > 0
    assert labkit.compare([run]).table["valid (%)"][0] > 0
    delta = Session([run]).answer({"kind": "poll", "since": 0, "hidden": True})
    assert [name for name, _ in delta["points"][0][2]["stages"]] == ["group1", "group2", "head"]


def test_a_learner_with_one_group_has_one_stage(digits: Any) -> None:
    learn = Learner(bridge.dataloaders(digits, 10), tiny(10), loss_func=CrossEntropyLossFlat())
    run = bridge.Steered(learn, lambda learn: learn.fit_one_cycle(1, 1e-3)).fit()
    assert run.stages == ("head",)
    assert run.status == "ended"


# ---------------------------------------------------------------- the comparison


def test_fine_tuned_does_what_its_plan_says_by_fastais_own_means(digits: Any) -> None:
    plan = labkit.Plan(
        "two", (labkit.Phase("head", 2e-3, 1), labkit.Phase("all", 1e-3, 2)), batch_size=10
    )
    run = bridge.fine_tuned(NET, digits, plan, seed=3).fit()
    assert [phase.trainable_from for phase in told(run, PhaseChanged)] == ["head", "stem"]
    assert [phase.lr for phase in told(run, PhaseChanged)] == pytest.approx([2e-3, 1e-3])
    assert run.epoch == 3
    assert type(run.learn.opt).__module__.startswith("fastai")
    again = bridge.fine_tuned(NET, digits, plan, seed=3).fit()
    assert same(again.learn.model, weights(run.learn.model))
    with pytest.raises(PlanError, match="half the rate"):
        bridge.fine_tuned(NET, digits, labkit.full())


def test_fastais_own_head_is_the_one_that_vision_learner_builds(digits: Any) -> None:
    learn = bridge.learner(NET, digits, 10, head="fastai")
    kinds = [type(layer).__name__ for layer in learn.model.head]
    assert kinds[0] == "AdaptiveConcatPool2d"
    assert kinds.count("Dropout") == 2
    assert bridge.Steered(learn, lambda learn: learn.fit(1, 1e-3)).fit().status == "ended"
    flat = labkit.Backbone.from_module(
        lambda c: nn.Sequential(OrderedDict(body=nn.Flatten(), head=nn.Linear(768, c))),
        ("body", "head"),
        "flat",
    )
    with pytest.raises(BackboneError, match="does not end in maps"):
        bridge.their_head(flat, 10)


def test_a_learner_that_was_steered_can_still_be_exported(
    digits: Any, steered: Callable[..., bridge.Steered], tmp_path: Path
) -> None:
    run = steered(lambda learn: learn.fit(1, 1e-3), path=tmp_path).fit()
    run.learn.export("learner.pkl")
    assert (tmp_path / "learner.pkl").stat().st_size < 200_000  # without the images
    assert isinstance(run.learn.dls.train.rng, Random)
