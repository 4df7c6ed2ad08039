"""`labkit doctor` and `labkit progress`: what works here, and how far the learner is."""

from __future__ import annotations

import typer

from labkit.cli.output import (
    AsJson,
    tell,
)


def doctor(as_json: AsJson = False) -> None:
    """Say what works on this machine, and what to do about what does not."""
    from labkit.doctor import examine

    diagnosis = examine()
    tell(diagnosis.to_dict(), str(diagnosis), as_json)
    raise typer.Exit(0 if diagnosis.ok else 1)


def progress(as_json: AsJson = False) -> None:
    """Show the learner's map of the course: what is done, what is open, where to go on."""
    from labkit.learn import course_map, score

    found, judged = course_map(), score()
    facts = {
        **found.facts(),
        "score": {
            "right": judged.right,
            "count": judged.count,
            "confidence": judged.confidence,
            "brier": judged.brier,
            "said": str(judged),
        },
    }
    tell(facts, f"{found}\n\n{judged}", as_json)
