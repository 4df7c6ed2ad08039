"""Pre-training on glyphs: letters that we draw ourselves, so there is nothing to download and no digit to be seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from labkit import runtime
from labkit.models.card import Measure, ModelCard
from labkit.models.files import read_weights, save_weights
from labkit.models.vision.shipped import sha256
from labkit.models.vision.staging import Staged, cut
from labkit.pretraining.letters import CLASSES, Letters, distort, draw_letters, fonts
from labkit.pretraining.loop import (
    MEAN,
    STD,
    Pretraining,
    PretrainingRecipe,
    Watcher,
    describe_machine,
)
from labkit.pretraining.transfer import measure_transfer

GLYPHS = PretrainingRecipe(
    epochs=8, steps_per_epoch=200, notes="32 px, distorted afresh for every step; bf16"
)
NAME = "resnet10-glyphs"
JUDGED = 10_000  # letters


def pretrain_glyphs(
    out: Path | str, recipe: PretrainingRecipe = GLYPHS, watch: Watcher | None = None
) -> Path:
    """Train resnet10 on distorted letters and write weights and card into the folder `out`; return the weights' path.

    A few minutes on two cores; interrupted, it goes on from the last epoch when called again. `watch` is told the
    progress. The card also records what the features are worth on handwritten digits.
    """
    out = Path(out)
    letters = draw_letters()
    steps = recipe.steps_per_epoch or len(letters) // recipe.batch_size
    training = Pretraining(recipe, len(CLASSES), steps, out / f"{NAME}.checkpoint")

    def batches(epoch: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(steps):
            batch = torch.randint(len(letters), (recipe.batch_size,), generator=generator)
            yield (distort(letters.images[batch], generator) - MEAN) / STD, letters.labels[batch]

    net = training.run(batches, watch=watch)
    path = save_weights(cut(net.float().cpu()), out / f"{NAME}.safetensors", NAME, CLASSES)
    _write_card(cut(net), path, letters, recipe, training.seconds)
    training.checkpoint.unlink(missing_ok=True)
    return path


def _write_card(
    net: Staged, path: Path, letters: Letters, recipe: PretrainingRecipe, seconds: float
) -> None:
    """Judge the file as written and write its card beside it."""
    net.load_state_dict(read_weights(path))
    correct = correct_letters(net, letters, JUDGED)
    card = ModelCard(
        name=NAME,
        title="a small residual network that has seen printed letters, and never a digit",
        architecture="ResNet-10 (torchvision's BasicBlock; 32, 64, 192, 384 channels; 3 x 3 stride-2 stem)",
        parameters=sum(p.numel() for p in net.parameters()),
        data=f"letters drawn by labkit from {len(fonts())} fonts (DejaVu, STIX, Computer Modern), then distorted",
        data_licence="drawn by labkit; the fonts are free: Bitstream Vera / DejaVu, SIL Open Font, and AMS licences",
        classes=CLASSES,
        made_with="labkit pretrain glyphs",
        recipe=asdict(recipe),
        seconds=round(seconds),
        machine=describe_machine(),
        measures=(
            Measure.of("top-1 on freshly distorted letters", correct, JUDGED),
            *measure_transfer(net),
        ),
        sha256=sha256(path),
    )
    runtime.write_atomic(path.with_suffix(".json"), card.to_json().encode())


@torch.no_grad()
def correct_letters(net: nn.Module, letters: Letters, count: int, seed: int = 0) -> int:
    """How many of `count` letters, distorted in ways never trained on, the staged network names rightly."""
    generator = runtime.generator(seed, "judged letters")
    net.eval()
    correct = 0
    for batch in torch.randint(len(letters), (count,), generator=generator).split(250):
        answers = net(distort(letters.images[batch], generator)).argmax(1)
        correct += int((answers == letters.labels[batch]).sum())
    return correct
