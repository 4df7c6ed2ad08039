"""The claims that a rule decides, by their number in the curriculum, and what the record says of them."""

from __future__ import annotations

from pathlib import Path

from labkit.errors import EvidenceError
from labkit.insight.evidence.claim import Claim
from labkit.insight.evidence.lessons import CLAIMS


def find(number: int) -> Claim:
    """The claim of that number in the curriculum; EvidenceError with those that a rule decides."""
    for claim in CLAIMS:
        if claim.number == number:
            return claim
    known = ", ".join(str(claim.number) for claim in CLAIMS)
    raise EvidenceError(f"No rule decides claim {number}. There are rules for {known}.")


def verdict(number: int, out: Path | None = None) -> str:
    """What the record says of a claim: `supported`, `not supported` or `it depends`."""
    from labkit.insight.evidence import estimate

    return find(number).verdict(lambda key, against=None: estimate(key, against, out))
