"""A promise, what is done to it, and how often: one row of docs/proof.md."""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.templates import Templates

BOTH = ("sqlite", "postgresql")
MOST_NOTED = 10
"""Violations of one trial that are written down; more say nothing new."""


@dataclass
class Outcome:
    """What came of a trial."""

    violations: list[str] = field(default_factory=list)
    """Promises that were broken, in words."""
    strained: list[str] = field(default_factory=list)
    """Of these, those about time and size, which a crowded machine breaks too."""
    recovery: float | None = None
    """Seconds until all was well again, where something was to recover."""
    measured: dict[str, float] = field(default_factory=dict)
    """What else is worth a number, under its words."""

    def see(self, kept: bool, broken: str) -> bool:
        """Note `broken` unless this was `kept`; which it was."""
        if not kept:
            self.violations.append(broken)
        return kept

    def strain(self, kept: bool, broken: str) -> None:
        """The same of a promise about time or size."""
        if not kept:
            self.strained.append(broken)

    def recovered(self, seconds: float) -> None:
        self.recovery = max(self.recovery or 0.0, seconds)

    def add(self, other: "Outcome") -> None:
        """Another one, of the same line: the worst of both."""
        self.violations = [*self.violations, *other.violations][:MOST_NOTED]
        self.strained = [*self.strained, *other.strained][:MOST_NOTED]
        if other.recovery is not None:
            self.recovered(other.recovery)
        for words, number in other.measured.items():
            self.measured[words] = max(number, self.measured.get(words, number))


@dataclass(frozen=True)
class Place:
    """Where a stage may be set."""

    templates: Templates
    folder: Path


class Dice(random.Random):
    """What a trial does at random hangs on these alone."""

    def __init__(self, trial: int) -> None:
        super().__init__(trial)
        self.trial = trial
        """Its number, for those who go through something one by one."""


Trial = Callable[[Any, Any], Outcome]
Setting = Callable[[str, Place], AbstractContextManager[Any]]


def _nothing() -> str:
    return ""


@dataclass(frozen=True)
class Row:
    """`setting(database, place)` sets a stage on which one `trial(stage, dice)` after the other is
    held."""

    name: str
    promise: str
    setting: Setting
    trial: Trial
    wanted: int
    """Trials of a whole run, on each database."""
    each: int = 1
    """Trials that make one line of the file."""
    databases: tuple[str, ...] = BOTH
    goal: float | None = None
    """Seconds in which all is to be well again."""
    lacking: Callable[[], str] = _nothing
    """Why this machine cannot do it; empty where it can."""

    def lines(self, trials: int | None = None) -> int:
        """How many lines so many trials make, all that are wanted if none are named."""
        return -(-(self.wanted if trials is None else trials) // self.each)


def held(row: Row, stage: Any, seed: int) -> Outcome:
    """As many trials as one line stands for. What a trial raises is a promise broken too: nobody
    knows what else it would have seen."""
    dice, outcome = Dice(seed), Outcome()
    for _ in range(row.each):
        outcome.add(row.trial(stage, dice))
    if row.goal is not None and outcome.recovery is not None:
        outcome.strain(outcome.recovery <= row.goal, f"well again after {outcome.recovery:.2f} s")
    return outcome


def keeps(trial: Trial, stage: Any, times: int) -> None:
    """The short form that a test is: so many trials, and no promise broken, but of those that a
    crowded machine would break."""
    for seed in range(1, 1 + times):
        outcome = trial(stage, Dice(seed))
        assert not outcome.violations, (seed, outcome)
