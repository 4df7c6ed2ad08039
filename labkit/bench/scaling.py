"""Cost as work grows: more and more photographs of Tiny ImageNet at 64 px, seconds and peak memory for each."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import labkit
from labkit import runtime
from labkit.bench.processes import ask
from labkit.bench.record import machine, versions
from labkit.bench.work import Clock
from labkit.data import ImageData, ImageSplit
from labkit.data.cards import DatasetCard
from labkit.data.report import DataReport
from labkit.errors import BenchError
from labkit.pretraining.photos import read_photos

SIZES = (250, 1_000, 4_000, 16_000)  # training photographs
VALID = 500  # validation photographs, the same for all
DEPTHS = ("head", "layer4")
EPOCHS = 5
FOLDER = "tiny-imagenet-200"
MB = 1e6


@dataclass(frozen=True)
class Size:
    """One measurement to make: so many of the photographs that were kept in `folder`, frozen below this stage."""

    folder: str
    images: int
    trainable_from: str
    epochs: int = EPOCHS
    threads: int = 1


@dataclass(frozen=True)
class Grown:
    """What one size cost. Memory in MB: before training, the most ever held, and what the pixels alone take."""

    images: int
    trainable_from: str
    seconds: float
    first_epoch: float
    last_epoch: float
    before_mb: float | None
    pixels_mb: float
    correct: int
    count: int
    facts: dict[str, Any] = field(default_factory=dict)


def measure_scaling(
    folder: Path,
    sizes: Sequence[int] = SIZES,
    epochs: int = EPOCHS,
    tell: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Train head and layer4 + head of the shipped backbone on growing numbers of photographs.

    `folder` holds Tiny ImageNet, as `labkit pretrain photos` takes it. Each size has a process of its own.
    Raises BenchError for sizes that cannot be, DataError for a folder that is something else.
    """
    if not sizes or min(sizes) < 2:
        raise BenchError(f"sizes={list(sizes)} must be numbers of photographs, 2 or more each.")
    with tempfile.TemporaryDirectory(prefix="labkit-scaling-") as scratch:
        kept = str(Path(scratch) / "photographs")
        order = {"folder": str(folder.resolve()), "out": kept, "count": max(sizes), "valid": VALID}
        ask("photographs", order, Path(scratch))
        rows = []
        for images, depth in _turns(sizes):
            job = Size(kept, images, depth, epochs, runtime.threads())
            row = ask("scaling", asdict(job), Path(scratch))
            rows.append(_rounded(row))
            if tell is not None:
                tell(
                    f"{images:,} photographs, {depth}: {row['seconds']:.1f} s, {row['peak_mb']} MB"
                )
    when = datetime.now(UTC).isoformat(timespec="seconds")
    about = {"when": when, "machine": machine(), "versions": versions(), "epochs": epochs}
    return {"made_with": "labkit bench scaling", **about, "rows": rows}


def read_sizes(text: str) -> list[int]:
    """Sizes from text such as "250,1000"; raises BenchError where it holds something else."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise BenchError(f"{text!r} are no numbers; write them as in 250,1000.") from None


def _turns(sizes: Sequence[int]) -> Iterator[tuple[int, str]]:
    for images in sorted(sizes):
        yield from ((images, depth) for depth in DEPTHS)


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()
    }


def read_scaling(path: Path) -> dict[str, Any] | None:
    """What was measured and written to a file, or None where there is no such file."""
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def scaling_table(found: dict[str, Any]) -> str:
    """What `measure_scaling` found, in words: one line a size and depth."""
    head = f"{'photographs':>12}  {'trains':<8}{'seconds':>9}{'first epoch':>13}{'last':>8}"
    lines = [f"{head}{'peak MB':>9}{'pixels MB':>11}{'kept MB':>9}{'on disk MB':>12}"]
    for row in found["rows"]:
        facts = row["facts"]
        lines.append(
            f"{row['images']:>12,}  {row['trainable_from']:<8}{row['seconds']:>9.2f}{row['first_epoch']:>13.2f}"
            f"{row['last_epoch']:>8.3f}{row['peak_mb'] or 0:>9.0f}{row['pixels_mb']:>11.1f}"
            f"{facts['kept_mb']:>9.1f}{facts['on_disk_mb']:>12.1f}"
        )
    budget = found["rows"][0]["facts"]["budget_mb"]
    lines.append(f"Kept activations may take {budget:.0f} MB of memory; more goes to disk.")
    return "\n".join(lines)


# ---------------------------------------------------------------- in the process of one size


def train(size: Size) -> Grown:
    """Train once and count. The photographs lie in memory as uint8, as load_data keeps them."""
    data = _data(Path(size.folder), size.images)
    net = labkit.load_backbone("resnet10")
    plan = labkit.partial(size.trainable_from, lr=1e-3, epochs=size.epochs)
    labkit.Run(net, data, plan.with_(batch_size=8)).step()  # warm up: choice of precision, kernels
    _forget()
    before, clock = _resident(), Clock()
    run = labkit.Run(net, data, plan)
    run.fit()
    seconds, last = clock.lap(), run.evaluate("valid")
    epochs = run.history.query("split == 'valid' and epoch > 0")["seconds"].tolist()
    return Grown(
        images=size.images,
        trainable_from=size.trainable_from,
        seconds=seconds,
        first_epoch=epochs[0],
        last_epoch=epochs[-1],
        before_mb=before,
        pixels_mb=(len(data.train) + len(data.valid)) * data.train.store[0].numel() / MB,
        correct=last.correct,
        count=last.count,
        facts=_kept(),
    )


def _forget() -> None:
    """The warm-up leaves nothing behind that would help."""
    from labkit.tuning.cache import shared

    shared.clear()


def _kept() -> dict[str, float]:
    """What the frozen-prefix cache holds at the end, in MB."""
    from labkit.tuning.cache import shared

    return {
        "budget_mb": shared.memory / MB,
        "kept_mb": shared.held("memory") / MB,
        "on_disk_mb": shared.held("disk") / MB,
    }


def _resident() -> float | None:
    """What this process holds now, in MB, where the system tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError):
        return None
    import resource

    return pages * resource.getpagesize() / MB


def _data(folder: Path, images: int) -> ImageData:
    """The first `images` training photographs and all validation ones, as `load_data` would give them."""
    about = json.loads((folder / "about.json").read_text("utf-8"))
    labels = torch.from_numpy(np.load(folder / "labels.npy"))
    mapped = np.load(folder / "pixels.npy", mmap_mode="r")
    valid = about["valid"]
    store = torch.from_numpy(np.array(mapped[: valid + images]))
    classes = tuple(about["classes"])
    parts = {
        "valid": _part(store, labels, torch.arange(valid)),
        "train": _part(store, labels, torch.arange(valid, valid + images)),
        "test": _part(store, labels, torch.arange(0)),
    }
    card = DatasetCard("tiny-imagenet", "Tiny ImageNet", classes=classes, pictures=len(store))
    recipe: dict[str, Any] = {"name": "tiny-imagenet", "images": images}
    return ImageData(card.name, 64, classes, card, DataReport(), **parts, recipe=recipe)


def _part(store: Tensor, labels: Tensor, rows: Tensor) -> ImageSplit:
    return ImageSplit(
        store, rows, labels[rows], tuple(f"photograph-{row}" for row in rows.tolist())
    )


def keep_photographs(folder: Path, out: Path, count: int, valid: int) -> dict[str, Any]:
    """Draw `count` training and `valid` validation photographs of `folder` and keep their pixels in `out`.

    They lie in one file, validation first, so that every size is the beginning of the next. Raises BenchError when
    there are not so many.
    """
    photos = read_photos(folder)
    if len(photos.labels) < count:
        raise BenchError(
            f"{folder} has {len(photos.labels):,} photographs to train on, not {count:,}."
        )
    chance = runtime.generator(0, "scaling")
    chosen = torch.randperm(len(photos.labels), generator=chance)[:count]
    examined = torch.randperm(len(photos.valid_labels), generator=chance)[:valid]
    out.mkdir(parents=True)
    pixels = torch.cat([photos.valid_images[examined], photos.images[chosen]])
    np.save(out / "pixels.npy", pixels.numpy())
    np.save(out / "labels.npy", torch.cat([photos.valid_labels[examined], photos.labels[chosen]]))
    about = {"classes": photos.classes, "valid": len(examined), "train": len(chosen)}
    (out / "about.json").write_text(json.dumps(about), encoding="utf-8")
    return {"train": len(chosen), "valid": len(examined)}
