"""Who is measured: one file a peer, each a function `train(work) -> Outcome` that does the work its usual way.

What is the same for all: the files, the network and its initial weights, the size, the batch, the epochs, the
optimiser (SGD, Nesterov's momentum 0.9, constant rate, no decay), the threads, a validation after every epoch.
What each does differently is its `differs`, which goes into the record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from labkit.bench.work import Outcome, Work
from labkit.errors import BenchError


@dataclass(frozen=True)
class Peer:
    """A way of doing the works: its file, what has to be installed for it, and what it does differently."""

    name: str
    title: str
    differs: str
    needs: tuple[str, ...] = ()
    augments: bool = True
    deeper_than_head: bool = True
    forks: bool = True  # whether worker processes decode for it, whose memory counts
    extends: bool = True  # whether all its epochs cost the same, so that a few tell the rest

    def load(self) -> Callable[[Work], Outcome]:
        """The function that does a work; imports what the peer needs."""
        train: Callable[[Work], Outcome] = import_module(f"labkit.bench.peers.{self.name}").train
        return train

    def missing(self) -> list[str]:
        """The packages that this peer needs and that are not installed."""
        return [name for name in self.needs if find_spec(name) is None]

    def does(self, work: Work) -> bool:
        """Whether the work makes sense for this peer."""
        return (self.augments or not work.augment) and (
            self.deeper_than_head or work.trainable_from == "head"
        )


PEERS = (
    Peer(
        "labkit",
        "labkit",
        "Decodes once and keeps what frozen stages compute. Frozen stages stay in eval mode. Arithmetic and memory "
        "layout follow from what the processor says of itself.",
        forks=False,
        extends=False,
    ),
    Peer(
        "pytorch",
        "PyTorch tutorial loop",
        "Decodes the files anew in every epoch, in worker processes. model.train() for the whole network, as the "
        "tutorial does, so BatchNorm statistics of the frozen part drift. fp32. Saves no best weights.",
    ),
    Peer(
        "fastai",
        "fastai",
        "Learner with the same network, frozen by learn.freeze(): BatchNorm layers of the frozen part train on "
        "(train_bn=True, its default). fp32. With augmentation, its own aug_transforms of the same extent.",
        needs=("fastai",),
    ),
    Peer(
        "trainer",
        "Hugging Face Trainer",
        "The network in a module that returns loss and logits; the tutorial's pictures and worker processes. fp32.",
        needs=("transformers", "accelerate"),
    ),
    Peer(
        "keras",
        "Keras 3 (torch backend)",
        "keras.applications has no ResNet-18: torchvision's runs in TorchModuleWrapper, the frozen part called with "
        "training=False as the Keras guide does. The tutorial's pictures and worker processes. fp32.",
        needs=("keras",),
    ),
    Peer(
        "sklearn",
        "scikit-learn on features",
        "Frozen part once in fp32, then LogisticRegression (L-BFGS until it converges, L2 penalty): another optimiser, "
        "no epochs.",
        needs=("sklearn",),
        augments=False,
        deeper_than_head=False,
        extends=False,
    ),
    Peer(
        "floor",
        "floor",
        "Not a tool but a bound: three bare loops, timed one by one: decode once, frozen part once, trainable part for "
        "all epochs. Fastest of four precisions, chosen during the rehearsal.",
        augments=False,
        forks=False,
        extends=False,
    ),
)


def find_peers(names: Sequence[str] = ()) -> tuple[Peer, ...]:
    """The peers of these names, by default all; raises BenchError for a name that no peer has."""
    known = {peer.name: peer for peer in PEERS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BenchError(f"There is no peer {unknown[0]!r}. Use {', '.join(known)}.")
    return tuple(peer for peer in PEERS if not names or peer.name in names)
