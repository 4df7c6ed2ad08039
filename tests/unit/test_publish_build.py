"""The builder makes the same two notebooks of a source every time, and refuses a source it cannot mean."""

from pathlib import Path

import nbformat
import pytest

from labkit.course import evidence
from labkit.errors import LabkitError
from labkit.publish import glossary
from labkit.publish.build import BuildError, build
from labkit.records import exam
from labkit.records.evidence import Evidence

SOURCE = """# %% [markdown]
# # 99 · A lesson
#
# A step is a step.

# %%
import labkit

# %% [markdown]
# ## Exercise 1 · Count
#
# {exercise:05-count}

# %% tags=["stub"]
answer = ...

# %% tags=["solution"]
answer = 42

# %%
print(answer)
"""
GLOSSARY = """# Glossary

## step
<!-- also: steps -->

One change of the weights.

## learning rate
<!-- also: rate, rates -->

How far a step goes.
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[tool.labkit]\nrepository = "someone/lab"\n')
    (tmp_path / "notebooks" / "src").mkdir(parents=True)
    write(tmp_path, SOURCE)
    (tmp_path / "notebooks" / "src" / "glossary.md").write_text(GLOSSARY)
    return tmp_path


def write(checkout: Path, text: str) -> None:
    (checkout / "notebooks" / "src" / "99_lesson.py").write_text(text)


def learner(checkout: Path) -> nbformat.NotebookNode:
    return nbformat.read(checkout / "notebooks" / "99_lesson.ipynb", 4)


def solution(checkout: Path) -> nbformat.NotebookNode:
    return nbformat.read(checkout / "notebooks" / "solutions" / "99_lesson.ipynb", 4)


def code(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_a_second_build_changes_nothing(checkout: Path) -> None:
    assert len(build(checkout).changed) == 3
    assert build(checkout).ok
    assert build(checkout, check=True).ok


def test_check_tells_and_writes_nothing(checkout: Path) -> None:
    stale = build(checkout, check=True)
    assert [path.name for path in stale.changed] == [
        "99_lesson.ipynb",
        "99_lesson.ipynb",
        "glossary.ipynb",
    ]
    assert not (checkout / "notebooks" / "99_lesson.ipynb").exists()


def test_an_edited_notebook_is_out_of_date(checkout: Path) -> None:
    build(checkout)
    path = checkout / "notebooks" / "99_lesson.ipynb"
    path.write_text(path.read_text().replace("import labkit", "import labkit  # mine"))
    assert build(checkout, check=True).changed == (path,)


def test_a_notebook_without_a_source_is_removed(checkout: Path) -> None:
    build(checkout)
    old = checkout / "notebooks" / "07_old.ipynb"
    old.write_text("{}")
    assert build(checkout, check=True).changed == (old,)
    build(checkout)
    assert not old.exists()


def test_the_learner_gets_the_stub_and_the_solution_folded_away(checkout: Path) -> None:
    build(checkout)
    assert "answer = ..." in code(learner(checkout))
    assert "answer = 42" not in code(learner(checkout))
    folded = [cell.source for cell in learner(checkout).cells if "<details>" in cell.source]
    assert len(folded) == 1
    assert "answer = 42" in folded[0]


def test_the_solution_stands_in_place_of_the_stub(checkout: Path) -> None:
    build(checkout)
    assert "answer = 42" in code(solution(checkout))
    assert "answer = ..." not in code(solution(checkout))


def test_nothing_but_cells_travels(checkout: Path) -> None:
    build(checkout)
    for notebook in (learner(checkout), solution(checkout)):
        assert "widgets" not in notebook.metadata
        assert notebook.metadata.kernelspec.name == "python3"
        assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")
        assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_a_new_cell_keeps_the_ids_of_the_others(checkout: Path) -> None:
    build(checkout)
    before = {cell.source: cell.id for cell in learner(checkout).cells}
    write(checkout, SOURCE.replace("# %%\nimport labkit", "# %%\n1 + 1\n\n# %%\nimport labkit"))
    build(checkout)
    after = {cell.source: cell.id for cell in learner(checkout).cells}
    assert {source: after[source] for source in before} == before


def test_badges_and_bootstrap_come_from_one_setting(checkout: Path) -> None:
    build(checkout)
    assert "someone/lab" in learner(checkout).cells[0].source
    assert "someone/lab" in code(learner(checkout))[0]


def test_the_first_cell_loads_what_the_lesson_imports_beyond_the_usual(checkout: Path) -> None:
    build(checkout)
    assert code(learner(checkout))[0].endswith("learn.warm_up()")
    slow = (
        "# %%\nfrom fastai.learner import Learner\n\n"
        "# %%\nwashed = data.shift('contrast')\n\n# %%\nimport labkit"
    )
    write(checkout, SOURCE.replace("# %%\nimport labkit", slow))
    build(checkout)
    assert code(learner(checkout))[0].endswith(
        'learn.warm_up("fastai.learner", "torchvision.transforms.v2")'
    )


def test_terms_are_linked_at_their_first_use_only(checkout: Path) -> None:
    build(checkout)
    text = learner(checkout).cells[0].source
    assert text.endswith("A [step](glossary.ipynb#step) is a step.")
    assert "](../glossary.ipynb#step)" in solution(checkout).cells[0].source


def test_labels_of_exercises_are_filled_in(checkout: Path) -> None:
    build(checkout)
    assert any("Difficulty 1 of 3" in cell.source for cell in learner(checkout).cells)


def test_results_are_filled_in_from_the_record(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Evidence, "cite", lambda _, *keys: " minus ".join(keys))
    write(checkout, SOURCE.replace("A step is", "It is {evidence:a/b/c against a/b/d}. A step is"))
    build(checkout)
    assert "It is a/b/c minus a/b/d." in learner(checkout).cells[0].source


def test_a_verdict_is_filled_in_from_the_record(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Evidence, "verdict", lambda _, number: {2: "supported", 5: "supported"}[number]
    )
    write(checkout, SOURCE.replace("A step is", "It is {verdict:2}, or {verdict:5}. A step is"))
    build(checkout)
    assert (
        "It is supported, or supported, with five new seeds as well."
        in learner(checkout).cells[0].source
    )


def test_what_the_confirming_runs_say_is_filled_in_from_their_record(checkout: Path) -> None:
    key = "head-start/digits-10/fine-tuned"
    write(
        checkout,
        SOURCE.replace(
            "A step is", f"It is {{confirmed:{key}}}, first {{evidence:{key}}}. A step is"
        ),
    )
    build(checkout)
    first, again = evidence.cite(key), evidence.confirming.cite(key)
    assert first != again
    assert f"It is {again}, first {first}." in learner(checkout).cells[0].source


def test_a_share_of_the_coachs_examination_is_filled_in_from_its_record(checkout: Path) -> None:
    write(checkout, SOURCE.replace("A step is", "It is {coach:right-first}. A step is"))
    build(checkout)
    assert f"It is {exam.share('right-first').words()}." in learner(checkout).cells[0].source


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (SOURCE.replace("# # 99", "# 99"), "begins with a title"),
        (SOURCE.replace('tags=["stub"]', ""), "without a stub"),
        (SOURCE.replace("A step", "{evidence:no/such/key} step"), "no/such/key"),
        (SOURCE.replace("A step", "{verdict:99} step"), "No rule decides claim 99"),
        (SOURCE.replace("A step", "{coach:luck} step"), "The coach has no 'luck'"),
        (SOURCE.replace("05-count", "05-nothing"), "05-nothing"),
    ],
)
def test_a_source_that_breaks_a_rule_is_refused_by_name(
    checkout: Path, source: str, said: str
) -> None:
    write(checkout, source)
    with pytest.raises(LabkitError, match=said):
        build(checkout)


def test_build_errors_name_the_source(checkout: Path) -> None:
    write(checkout, SOURCE.replace('tags=["stub"]', ""))
    with pytest.raises(BuildError, match=r"99_lesson\.py"):
        build(checkout)


# ---------------------------------------------------------------- the glossary


def linked(text: str) -> str:
    return glossary.link_first_uses([text], glossary.read(GLOSSARY), "g")[0]


@pytest.mark.parametrize(
    "text",
    [
        "`step`",
        "```\nstep\n```",
        "## A step",
        "## References\n\nA step.",
        "[a step](x)",
        "<b title='step'>",
        "stepwise",
        "two-step",
    ],
)
def test_code_headings_links_tags_and_other_words_are_left_alone(text: str) -> None:
    assert linked(text) == text


def test_the_longest_name_wins_and_other_forms_count() -> None:
    assert linked("A learning rate.") == "A [learning rate](g#learning-rate)."
    assert linked("Two Rates.") == "Two [Rates](g#learning-rate)."


def test_a_term_broken_over_two_lines_is_found() -> None:
    assert linked("a learning\nrate") == "a [learning\nrate](g#learning-rate)"
