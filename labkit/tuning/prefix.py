"""The frozen part of a model: cut off where training begins, and run once a sample.

A model whose children pass on what they make, one to the next (`nn.Sequential`, and so every staged backbone; see
`passes_on`), is cut before its first trainable layer. What lies below gives constants, which `cache` keeps. Layers that
learn nothing and behave the same in training, such as pooling, go below the cut too when they stand right at it: a
head then starts from short vectors, not from maps.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from labkit import runtime
from labkit.tuning.cache import CacheEntry, Key, PrefixCache, Values
from labkit.tuning.contracts import Inputs, Split, lengths_of
from labkit.tuning.evaluation import forward
from labkit.tuning.freezing import is_adapter
from labkit.tuning.precision import autocast, to_memory_format

BATCH = 32  # samples that go through the frozen part together, always; see `Prefix._compute`
LEARNS_NOTHING = (
    nn.AdaptiveAvgPool2d,
    nn.AvgPool2d,
    nn.MaxPool2d,
    nn.Flatten,
    nn.Identity,
    nn.ReLU,
)


@dataclass(frozen=True)
class View:
    """How the samples are changed: the level of augmentation, and which of its views, drawn from a seed."""

    augment: str = "none"
    number: int = 0
    seed: int = 0

    def __str__(self) -> str:
        return "" if self.augment == "none" else f"{self.augment} {self.number} of seed {self.seed}"

    def batch(self, split: Split, rows: Tensor) -> tuple[Inputs, Tensor]:
        """The samples at `rows` (n,) in this view, and their labels."""
        if self.augment == "none":  # a split of old examples knows no views
            return split.batch(rows)
        chance = runtime.generator(self.seed, "view", self.number)
        return split.batch(rows, self.augment, chance)


PLAIN = View()


def pass_on(layers: Sequence[nn.Module], values: Values) -> Values:
    """Run layers one after the other; each takes what the one before it gives."""
    for layer in layers:
        values = _as_values(layer(*values))
    return values


def _as_values(given: Any) -> Values:
    return given if isinstance(given, tuple) else (given,)


def passes_on(module: nn.Module) -> bool:
    """Whether a module does nothing but hand what each of its children makes to the next.

    A class derived from `nn.Sequential` may have a `forward` of its own, and a hook may change what goes through. A
    class whose `forward` takes several inputs but does nothing else says so: `passes_on = True`.
    """
    plain = type(module).forward is nn.Sequential.forward or vars(type(module)).get("passes_on")
    own = "forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks
    return bool(plain) and not own


def opened(model: nn.Module, stage: str) -> list[tuple[str, nn.Module]]:
    """The stages of a model in order, by name; `stage`, if it is a sequence, layer by layer.

    A layer that stands in two places is there twice: `children()` would give it once.
    """
    found: list[tuple[str, nn.Module]] = []
    for name, module in model.named_children():
        layers: list[nn.Module] = []
        if name == stage and type(module) is nn.Sequential and passes_on(module):
            layers = list(module)
        found += [(name, layer) for layer in layers or [module]]
    return found


class Prefix:
    """What lies below the first layer that trains, as a function of samples with a memory.

    `layers` are frozen and in eval mode, `tail` is the rest. `features` gives what enters the tail.

    Samples that differ in length go through it with those of their own length only, so that what one gives does not
    depend on how far others would have padded it.
    """

    def __init__(
        self,
        model: nn.Module,
        trainable_from: str,
        precision: runtime.Precision,
        device: torch.device,
        cache: PrefixCache,
    ) -> None:
        every = opened(model, trainable_from)
        self.cut = _cut(every, trainable_from)
        self.layers = [layer for _, layer in every[: self.cut]]
        self.tail = [layer for _, layer in every[self.cut :]]
        self._saved = 0.0  # seconds of frozen work that rows at hand have saved
        self._precision, self._device, self._cache = precision, device, cache
        self._frozen = [t for x in self.layers for t in (*x.parameters(), *x.buffers())]
        self._digests: list[str] = []  # of the layers below each possible cut
        self._writes, self._read_at, self._reading_took = -1, 0.0, 0.0

    @classmethod
    def below(cls, model: nn.Module, trainable_from: str, *rest: Any) -> Prefix | None:
        """The frozen part, or None where there is none, or where children do not pass on what they make."""
        if not passes_on(model):
            return None
        prefix = cls(model, trainable_from, *rest)
        return prefix if prefix.cut else None

    # ------------------------------------------------------------ features

    @torch.no_grad()
    def features(
        self, split: Split, rows: Tensor, view: View = PLAIN, coming: Tensor | None = None
    ) -> Values:
        """What enters the tail for the samples at `rows` (n,), in their order.

        `coming` are the rows that will be asked for next: they fill up a batch that some new rows leave short.
        """
        lengths, coming = lengths_of(split), rows[:0] if coming is None else coming
        if lengths is None:
            return self._alike(split, rows, view, coming)
        found, order = [], []
        for length in lengths[rows].unique().tolist():
            among = _of_length(split, length)
            there = torch.nonzero(lengths[rows] == length).flatten()
            soon = coming[lengths[coming] == length]
            found.append(self._alike(among, among.places(rows[there]), view, among.places(soon)))
            order.append(there)
        back = torch.cat(order).argsort()
        return tuple(_padded(part)[back.to(part[0].device)] for part in zip(*found, strict=True))

    def _alike(self, split: Split, rows: Tensor, view: View, coming: Tensor) -> Values:
        """The same for samples that are of one shape."""
        key = self._key(split, view)
        entry = self._cache.find(key)
        missing = rows if entry is None else entry.missing(rows)
        known = len(rows) - len(missing)
        if len(missing):
            fresh = self._learn(split, _together(missing, coming, entry), view, key, entry)
            entry = self._cache.find(key)
            if entry is None:  # no room: use what was just computed
                if len(missing) < len(rows):
                    return self._alike(split, rows, view, rows[:0])
                return tuple(part[: len(rows)] for part in fresh)
        assert entry is not None
        self._saved += known * entry.seconds_a_row
        found = entry.get(rows)
        if found is None:  # the disk has lost them: compute again
            return self._alike(split, rows, view, coming)
        return tuple(part.to(self._device) for part in found)

    def _learn(
        self, split: Split, rows: Tensor, view: View, key: Key, entry: CacheEntry | None
    ) -> Values:
        """Compute rows and keep them where there is room; gives the values of them all."""
        parts = []
        for some in rows.split(BATCH):
            began = time.perf_counter()
            values = self._compute(split, some, view)
            seconds = time.perf_counter() - began
            entry = entry or self._cache.add(key, len(split), values)
            if entry is not None:
                entry.put(some, values, seconds)
                values = entry.rounded(values)
            parts.append(values)
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    def _compute(self, split: Split, rows: Tensor, view: View) -> Values:
        """Run the frozen layers on at most BATCH samples, always in a batch of that size.

        A library may sum in another order for a batch of another size. With one size only, what a sample gives does
        not depend on whom it came with, and so a replay is the same to the bit whatever was known before.
        """
        short = BATCH - len(rows)
        full = torch.cat([rows, rows[-1:].expand(short)]) if short else rows
        with autocast(self._precision, self._device):
            start, values = self._begin(split, full, view)
            values = pass_on(self.layers[start:], values)
        return tuple(value[: len(rows)] for value in values)

    def _begin(self, split: Split, rows: Tensor, view: View) -> tuple[int, Values]:
        """Some first layers done: as many as an entry of a shallower cut has done already, else one."""
        for cut in range(self.cut - 1, 0, -1):
            entry = self._cache.find(self._key(split, view, cut))
            if entry is not None and not len(entry.missing(rows)):
                found = entry.get(rows)
                if found is not None:
                    return cut, tuple(part.to(self._device) for part in found)
        inputs, _ = view.batch(split, rows)
        inputs = to_memory_format(inputs, self._precision, self._device)
        return 1, _as_values(forward(self.layers[0], inputs))

    def take_saved(self) -> float:
        """Seconds of frozen work that were saved since this was last asked."""
        saved, self._saved = self._saved, 0.0
        return saved

    # ------------------------------------------------------------ keys

    def _key(self, split: Split, view: View, cut: int | None = None) -> Key:
        self._read_weights()
        digest = self._digests[self.cut if cut is None else cut]
        return Key(digest, fingerprint(split), str(view), str(self._precision))

    def _read_weights(self) -> None:
        """Know the frozen weights by their content, and read them again whenever they may have changed.

        torch counts the writes to a tensor, but not those that go past it (`tensor.data`); for these the weights are
        read again from time to time, in less than a hundredth of it.
        """
        now, writes = time.perf_counter(), sum(tensor._version for tensor in self._frozen)
        if writes != self._writes or now > self._read_at + 100 * self._reading_took:
            self._digests = _digests(self.layers)
            self._reading_took = time.perf_counter() - now
            self._writes, self._read_at = writes, now


def _cut(every: Sequence[tuple[str, nn.Module]], trainable_from: str) -> int:
    """How many layers lie below the first one that can learn: of `trainable_from`, or with an adapter in it."""
    cut = next(
        place
        for place, (name, layer) in enumerate(every)
        if name == trainable_from or any(map(is_adapter, layer.modules()))
    )
    if not cut:
        return 0
    while isinstance(every[cut][1], LEARNS_NOTHING) and cut + 1 < len(every):
        cut += 1
    return cut


def _together(missing: Tensor, coming: Tensor, entry: CacheEntry | None) -> Tensor:
    """The missing rows, and as many of the coming ones as fill up the last batch."""
    short = -len(missing) % BATCH
    if not short or not len(coming):
        return missing
    new = coming if entry is None else entry.missing(coming)
    return torch.cat([missing, new[~torch.isin(new, missing)][:short]])


def _digests(layers: Sequence[nn.Module]) -> list[str]:
    """For every possible cut, what the layers below it are: their code, settings and numbers."""
    digest, found = blake2b(digest_size=16), [""]
    for layer in layers:
        digest.update(repr(layer).encode())
        for module in layer.modules():
            code = getattr(type(module).forward, "__code__", None)
            digest.update(code.co_code if code else b"")
        for tensor in (*layer.parameters(), *layer.buffers()):
            plain = tensor.detach().cpu().contiguous()
            digest.update(repr((plain.dtype, tuple(plain.shape))).encode())
            digest.update(plain.view(-1).view(torch.uint8).numpy().data)
        found.append(digest.hexdigest())
    return found


# ---------------------------------------------------------------- samples that differ in length


class _OfLength:
    """Those samples of a split that are padded to one length when they come alone, as a split of their own."""

    def __init__(self, split: Split, length: int) -> None:
        lengths = lengths_of(split)
        assert lengths is not None
        self.rows = torch.nonzero(lengths == length).flatten()
        self._of: Split = weakref.proxy(split)  # which holds this one
        self._place = torch.full((len(split),), -1, device="cpu")
        self._place[self.rows] = torch.arange(len(self.rows), device="cpu")
        self.fingerprint = f"{fingerprint(split)}, of length {length}"

    def places(self, rows: Tensor) -> Tensor:
        """Where the samples at `rows` of the whole split stand in this one."""
        return self._place[rows]

    @property
    def labels(self) -> Tensor:
        return self._of.labels[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: Tensor, *view: Any) -> tuple[Any, Any]:
        return self._of.batch(self.rows[indices], *view)


_by_length: Any = WeakIdKeyDictionary()


def _of_length(split: Split, length: int) -> _OfLength:
    known: dict[int, _OfLength] = _by_length.setdefault(split, {})
    if length not in known:
        known[length] = _OfLength(split, length)
    return known[length]


def _padded(parts: Sequence[Tensor]) -> Tensor:
    """Values one under the other, padded with zeros (False in a mask) to the longest in every direction."""
    sizes = [max(side) for side in zip(*(part.shape[1:] for part in parts), strict=True)]
    whole = parts[0].new_zeros(sum(map(len, parts)), *sizes)
    at = 0
    for part in parts:
        whole[(slice(at, at + len(part)), *map(slice, part.shape[1:]))] = part
        at += len(part)
    return whole


_strangers: Any = WeakIdKeyDictionary()


def fingerprint(split: Split) -> str:
    """What the samples of a split are, as a short text: its own word, or else a name for this very object."""
    own = getattr(split, "fingerprint", None)
    if isinstance(own, str):
        return own
    if split not in _strangers:
        _strangers[split] = uuid4().hex
    return str(_strangers[split])
