"""The lessons of the course in their order, as the package knows them where no notebook lies beside it.

README's table, the titles of the notebooks and the predictions they ask for are held to this list by a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

from labkit.learn import exercises, folders, questions


@dataclass(frozen=True)
class Lesson:
    """A lesson: the name of its notebook, its title, the question it answers, the ids of its predictions."""

    name: str
    title: str
    question: str
    predictions: tuple[str, ...]

    @property
    def number(self) -> str:
        """Two digits, with which all ids of the lesson begin."""
        return self.name[:2]

    @property
    def notebook(self) -> str:
        """The file of the notebook, without a folder."""
        return f"{self.name}.ipynb"

    def part(self, name: str) -> ModuleType | None:
        """A module of its folder, such as `claims`; None where it has no such."""
        return folders.module(self.number, name)

    @cached_property
    def exercises(self) -> tuple[str, ...]:
        """The ids of its exercises, in their order."""
        return exercises.ids(self.number)

    @cached_property
    def quiz(self) -> tuple[str, ...]:
        """What its quiz asks, in order."""
        return tuple(question.text for question in questions.load(self.number))

    def __str__(self) -> str:
        return f"{self.number} {self.title}"


LESSONS = (
    Lesson(
        "00_start_here",
        "Start here",
        "Does my machine work, and what is this place?",
        ("00-three-labels",),
    ),
    Lesson(
        "01_why_fine_tune",
        "Why fine-tune?",
        "What does pre-training buy?",
        ("01-labels", "01-steps"),
    ),
    Lesson(
        "02_what_it_knows",
        "The pre-trained model",
        "What does it already know?",
        ("02-zero-shot", "02-neighbours", "02-alike"),
    ),
    Lesson(
        "03_the_data",
        "The data",
        "How good must it be?",
        ("03-leak", "03-more", "03-find"),
    ),
    Lesson(
        "04_feature_extraction",
        "Feature extraction",
        "What if only the head learns?",
        ("04-what-matters", "04-fifty-labels"),
    ),
    Lesson(
        "05_partial_fine_tuning",
        "Partial fine-tuning",
        "Which layers should move?",
        ("05-frozen-drift", "05-depth"),
    ),
    Lesson(
        "06_full_fine_tuning",
        "Full fine-tuning",
        "When is moving everything right?",
        ("06-fifty-labels", "06-drift"),
    ),
    Lesson(
        "07_learning_rates",
        "Learning rates",
        "How big a step?",
        ("07-three-steps", "07-knob", "07-depth"),
    ),
    Lesson(
        "08_gradual_unfreezing",
        "Gradual unfreezing",
        "In what order?",
        ("08-remember", "08-reach"),
    ),
    Lesson(
        "09_when_to_stop",
        "Overfitting, underfitting, augmentation",
        "When do I stop?",
        ("09-morning", "09-evening", "09-above"),
    ),
    Lesson(
        "10_catastrophic_forgetting",
        "Catastrophic forgetting",
        "What did it cost the old task?",
        ("10-aggressive", "10-between"),
    ),
    Lesson(
        "11_is_it_better",
        "Evaluate and iterate",
        "Is it really better?",
        ("11-one-seed", "11-best", "11-sure"),
    ),
    Lesson(
        "12_domain_shift",
        "Domain shift",
        "What if my images look different?",
        ("12-pale", "12-which", "12-one-class"),
    ),
    Lesson(
        "13_what_it_costs",
        "What it costs",
        "What does it cost?",
        ("13-step", "13-memory", "13-money"),
    ),
    Lesson(
        "14_the_clinic",
        "The clinic",
        "What is wrong with this run?",
        ("14-old-head", "14-curves", "14-first-words"),
    ),
    Lesson(
        "15_the_same_in_fastai",
        "The same in fastai",
        "What does `fine_tune` do for me?",
        ("15-frozen", "15-rate", "15-match"),
    ),
    Lesson(
        "16_capstone",
        "Capstone",
        "Can I do it on my own data?",
        ("16-plan", "16-test", "16-parcel"),
    ),
)
