"""How quickly the atlas answers: random questions about every sheet on record, the first one apart.

python tests/bench/atlas.py
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from pathlib import Path
from typing import Any

LIMIT = 50.0  # ms, at the 95th percentile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=5000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--records", type=Path, help="another folder than the package's own")
    given = parser.parse_args()
    found = facts(given.questions, given.records)
    print(json.dumps(found) if given.json else words(found))


def facts(questions: int, folder: Path | None) -> dict[str, float]:
    """Milliseconds of the import, of the first answer of every sheet, and of the others."""
    began = time.perf_counter()
    from labkit.records import atlas
    from labkit.records.atlas.record import RECORDS

    imported = time.perf_counter() - began
    folder = folder or RECORDS
    sheets = [s for s in atlas.SHEETS if (folder / f"{s.file}.csv").exists()]
    draw = random.Random(0)
    first = [_ask(sheet, draw, folder) for sheet in sheets]
    times = sorted(_ask(draw.choice(sheets), draw, folder) for _ in range(questions))
    return {
        "sheets": len(sheets),
        "import_ms": 1000 * imported,
        "first_answer_ms": 1000 * max(first),
        "questions": questions,
        "median_ms": 1000 * times[questions // 2],
        "p95_ms": 1000 * times[int(0.95 * questions)],
        "limit_ms": LIMIT,
    }


def _ask(sheet: Any, draw: random.Random, folder: Path) -> float:
    """Seconds from the question to the sentence and the message for a page."""
    from labkit.records import atlas

    low, high = math.log(sheet.rates[0]), math.log(sheet.rates[-1])
    depth = draw.choice(["head", "layer4", "layer3", "layer2", "stem"])
    labels = draw.choice(sheet.per_class)
    lr = min(max(math.exp(draw.uniform(low, high)), sheet.rates[0]), sheet.rates[-1])
    began = time.perf_counter()
    atlas.expect(sheet.data, sheet.net, depth, lr, labels, out=folder).as_message()
    return time.perf_counter() - began


def words(found: dict[str, float]) -> str:
    return "\n".join(f"{name:>16}  {value:10.2f}" for name, value in found.items())


if __name__ == "__main__":
    main()
