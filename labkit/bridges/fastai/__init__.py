"""fastai, both ways: our data and networks in its Learner, and any of its Learners on our console.

fastai's own code does its work, unchanged: what is compared with it here is the real thing. This room needs fastai
(the extra `lessons`), whose import takes seconds, so the rest of labkit imports it only when it is asked for.
"""

from __future__ import annotations

from typing import Any, Literal

from labkit.data import ImageData
from labkit.errors import BackboneError, LabkitError, PlanError
from labkit.hosts import how_to_install
from labkit.models import Backbone

try:
    from fastai.layers import apply_init
    from fastai.learner import Learner
    from fastai.metrics import accuracy
    from fastai.vision.learner import create_head
except ImportError as missing:
    raise LabkitError(
        f"fastai is not installed here. To have it: {how_to_install('lessons')}"
    ) from missing

from torch import nn

from labkit import runtime
from labkit.bridges.fastai.data import dataloaders, from_dataloaders
from labkit.bridges.fastai.recipes import Fit, fits
from labkit.bridges.fastai.steering import Steered
from labkit.tuning import Plan

__all__ = [
    "Fit",
    "Steered",
    "by_stage",
    "dataloaders",
    "fine_tuned",
    "fits",
    "from_dataloaders",
    "learner",
    "their_head",
]

Head = Literal["ours", "fastai"]


def learner(
    net: Backbone,
    data: ImageData,
    batch_size: int = 32,
    seed: int = 0,
    head: Head = "ours",
    **options: Any,
) -> Learner:
    """A fastai Learner around one of our backbones and our data; a parameter group is a stage.

    Args:
        net: as `labkit.load_backbone` gives it.
        data: as `labkit.load_data` gives it.
        batch_size: of training and validation.
        seed: of the new head and of the order of the images.
        head: "ours", one linear layer, or "fastai", the head that `vision_learner` would build.
        options: anything that Learner takes, such as `train_bn`, `wd` or `cbs`.
    """
    model = net.build(len(data.classes), seed=seed)
    if head == "fastai":
        with runtime.seeded_globals(seed, "fastai's head"):
            setattr(model, net.stages[-1], their_head(net, len(data.classes)))
    loaders = dataloaders(data, batch_size, seed)
    return Learner(loaders, model, splitter=by_stage, **{"metrics": accuracy, **options})


def by_stage(model: nn.Module) -> list[list[nn.Parameter]]:
    """fastai's parameter groups: one for every stage, input to output."""
    return [list(stage.parameters()) for stage in model.children()]


def their_head(net: Backbone, classes: int) -> nn.Module:
    """The head that fastai's `vision_learner` puts on a network that ends in maps, as it initialises it.

    Maximum and mean of every map, then two linear layers with BatchNorm and dropout. Raises BackboneError for a network
    whose features are no maps.
    """
    ours = net.build(classes).get_submodule(net.stages[-1])
    if not isinstance(next(ours.children(), None), nn.AdaptiveAvgPool2d):
        raise BackboneError(
            f"{net.name} does not end in maps that its head pools, as resnet10 and torchvision's resnets do, "
            "so fastai's head does not fit. Use head='ours'."
        )
    head: nn.Module = create_head(net.num_features, classes)
    apply_init(head, nn.init.kaiming_normal_)
    return head


def fine_tuned(
    net: Backbone, data: ImageData, plan: Plan, seed: int = 0, head: Head = "ours"
) -> Steered:
    """The Learner whose `fine_tune` does what a plan of two phases says, ready to run: what the plan is compared with.

    Epochs, batch size, weight decay and the rate are the plan's. All else is fastai's: optimiser, schedules, freezing.
    Raises PlanError for a plan that is not the head first and then everything at half the rate.
    """
    if len(plan.phases) != 2 or abs(plan.phases[1].lr / plan.phases[0].lr - 0.5) > 1e-9:
        raise PlanError(
            f"{plan.name!r} is not what fine_tune does: two phases, the second at half the rate of the first."
        )
    first, second = plan.phases
    learn = learner(net, data, plan.batch_size, seed, head, wd=plan.weight_decay)

    def recipe(learn: Learner) -> None:
        with runtime.seeded_globals(seed, "fine_tune"):  # dropout
            learn.fine_tune(second.epochs, base_lr=first.lr, freeze_epochs=first.epochs)

    return Steered(learn, recipe, data=data, net=net, plan=plan, seed=seed, name=plan.name)
