"""The list of mutations does not rot: each has its place, its tests, and is a mistake that Python can run."""

from __future__ import annotations

import ast

import pytest

from tests.mutants import ROOT, Mutation, judged, mutations

ALL = mutations()


def test_there_are_forty_mutations_and_no_two_are_alike() -> None:
    assert len(ALL) >= 40
    assert len({one.name for one in ALL}) == len({(one.file, one.find) for one in ALL}) == len(ALL)
    rooms = {one.file.split("/")[1] for one in ALL}
    assert rooms >= {"tuning", "data", "insight", "records", "learn", "course"}


@pytest.mark.parametrize("mutation", ALL, ids=lambda one: one.name)
def test_a_mutation_has_its_place_once_and_tests_that_exist(mutation: Mutation) -> None:
    before = (ROOT / mutation.file).read_text("utf-8")
    after = mutation.applied(before)
    assert ast.dump(ast.parse(after)) != ast.dump(ast.parse(before))
    files = [name.partition("::")[0] for name in mutation.tests if name.startswith("tests/")]
    assert files
    assert all((ROOT / name).is_file() for name in files)


PRODUCT = "def larger(a, b):\n    return max(a, b)\n"
TEST = "from product import larger\n\n\ndef test_larger():\n    assert larger(1, 2) == 2\n"


@pytest.mark.parametrize(
    ("find", "put", "verdict"),
    [
        ("max", "min", "killed"),
        ("return max(a, b)", "raise SystemError", "killed"),
        ("max(a, b)", "max(b, a)", "survived"),
        ("no such words", "", "not applicable"),
        ("a", "b", "not applicable"),
    ],
)
@pytest.mark.slow
def test_a_mutation_is_killed_survives_or_has_lost_its_place(tmp_path, find, put, verdict) -> None:
    (tmp_path / "product.py").write_text(PRODUCT)
    (tmp_path / "test_product.py").write_text(TEST)
    mutation = Mutation("x", "product.py", find, put, ("test_product.py",))
    assert judged(tmp_path, mutation, {}) == verdict
    assert (tmp_path / "product.py").read_text() == PRODUCT
