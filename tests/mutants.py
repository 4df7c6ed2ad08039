"""Small mistakes, made on purpose in a copy of the checkout: does a test notice each of them?

    make mutants                                 all of them
    python -m tests.mutants 3 7 coach            some: by number, or by a part of the name or of the file's

A mutation is killed when the tests nearest to it pass without it and fail with it. It survives when they still pass:
then a test is missing. The working tree is never touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "tests" / "mutations.toml"
SECONDS = 300  # for the tests of one mutation
PASSED, FAILED, INTERRUPTED = (
    0,
    1,
    2,
)  # how pytest ends; interrupted: a module could not even be imported

Verdict = Literal["killed", "survived", "not applicable", "no verdict"]


@dataclass(frozen=True)
class Mutation:
    """A mistake: what stands in a file, what is put in its place, and the tests that should notice."""

    name: str
    file: str
    find: str
    put: str
    tests: tuple[str, ...]

    def applied(self, text: str) -> str:
        """The file's text with the mistake in it. Raises ValueError where its place is not found exactly once."""
        found = text.count(self.find)
        if found != 1:
            raise ValueError(f"{self.file}: {self.find!r} stands there {found} times, not once")
        return text.replace(self.find, self.put)


def mutations() -> list[Mutation]:
    """All of the list, in its order."""
    tables = tomllib.loads(LIST.read_text("utf-8"))["mutation"]
    return [Mutation(**{**table, "tests": tuple(table["tests"])}) for table in tables]


def chosen(words: list[str]) -> list[tuple[int, Mutation]]:
    """The mutations with these numbers, counted from 1, or with these words in them; all where there are none."""
    listed = list(enumerate(mutations(), start=1))
    return [
        (number, one)
        for number, one in listed
        if not words or any(word in (str(number), one.file) or word in one.name for word in words)
    ]


def copy_of_the_checkout(folder: Path) -> Path:
    """What git knows, and what it does not ignore, as it lies here now."""
    told = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(told, cwd=ROOT, text=True).split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def run_tests(copy: Path, tests: tuple[str, ...]) -> int | None:
    """How pytest ends, or None where it takes too long. Nothing is compiled to disk: a second is too coarse a stamp."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    call = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        ended = subprocess.run(
            call, cwd=copy, env=environment, capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return ended.returncode


def judged(copy: Path, mutation: Mutation, sound: dict[tuple[str, ...], int | None]) -> Verdict:
    """Make the mistake, run the tests, take it back. `sound` remembers how the tests end without any mistake."""
    path = copy / mutation.file
    before = path.read_text("utf-8")
    try:
        wrong = mutation.applied(before)
    except ValueError:
        return "not applicable"
    if mutation.tests not in sound:
        sound[mutation.tests] = run_tests(copy, mutation.tests)
    if sound[mutation.tests] != PASSED:
        return "no verdict"
    path.write_text(wrong, "utf-8")
    try:
        ended = run_tests(copy, mutation.tests)
    finally:
        path.write_text(before, "utf-8")
    if ended == PASSED:
        return "survived"
    return "killed" if ended in (FAILED, INTERRUPTED) else "no verdict"


def main(words: list[str]) -> int:
    """Judge the mutations that were chosen; 1 where one is not killed."""
    verdicts: list[Verdict] = []
    sound: dict[tuple[str, ...], int | None] = {}
    with tempfile.TemporaryDirectory(prefix="labkit-mutants-") as folder:
        copy = copy_of_the_checkout(Path(folder))
        for number, mutation in chosen(words):
            began = time.monotonic()
            verdicts.append(judged(copy, mutation, sound))
            took = time.monotonic() - began
            print(f"{number:3}  {verdicts[-1]:<15}{took:5.0f} s  {mutation.name}", flush=True)
    killed = verdicts.count("killed")
    print(f"{killed} of {len(verdicts)} mutations were killed.")
    return int(killed < len(verdicts) or not verdicts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
