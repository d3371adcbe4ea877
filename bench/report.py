"""What was measured: printed as it comes, kept in docs/performance.json part by part, and shown in
docs/performance.md and a picture.

A run that measures some parts leaves the others as they were, with their dates: all of it takes
longer than a machine is quiet.
"""

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from typing import Any

from bench.measure import Series
from tests.databases import ROOT

PAGE = ROOT / "docs" / "performance.md"
KEPT = ROOT / "docs" / "performance.json"
PICTURE = ROOT / "docs" / "performance.svg"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
PACKAGES = (
    "uvicorn", "uvloop", "httptools", "fastapi", "starlette", "sqlalchemy", "sqlmodel", "psycopg",
    "python-jose", "cryptography", "bcrypt", "orjson",
)  # fmt: skip
JOBS = ("job", "requests/s", "spread", "p50 ms", "p99 ms", "× floor", "goal", "p99 × floor's")
FIGURES = ("what", "measured", "goal", "met", "run")

Part = dict[str, Any]
"""As JSON: `on`, `how`, `jobs` and `figures` as rows of cells, `ratios` as [job, ratio, goal]."""


@dataclass(frozen=True)
class Figure:
    """One number and what it ought to be."""

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def goal(self) -> str:
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return f"≤ {self.at_most:g}" if self.at_most is not None else ""

    @property
    def met(self) -> bool:
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def cells(self) -> list[str]:
        mark = ("yes" if self.met else "**no**") if self.goal else ""
        return [self.name, f"{self.value:.2f} {self.unit}".strip(), self.goal, mark]


class Report:
    def __init__(self, rounds: int, seconds: float) -> None:
        self._run = {
            "on": f"{date.today():%d %B %Y}",
            "how": f"Python {platform.python_version()}, {platform.machine()}, two cores: the "
            f"server on one, the load on the other; {rounds} interleaved rounds of {seconds:g} s a "
            "job, medians. " + ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        }
        self._parts: dict[str, Part] = {}

    def add_jobs(self, part: str, series: Sequence[Series], figures: Iterable[Figure]) -> None:
        rows = [_cells(one) for one in series]
        _say(f"{part}: requests/s on one core")
        for row in (JOBS, *rows):
            _say(_row(row))
        self.add_figures(part, figures)
        ratios = [[one.name, round(one.ratio, 3), one.goal] for one in series]
        self._parts[part] |= {"jobs": rows, "ratios": ratios}

    def add_figures(self, part: str, figures: Iterable[Figure]) -> None:
        rows = []
        for figure in figures:
            rows.append(figure.cells)
            _say(_row(figure.cells))
        self._parts[part] = {**self._run, "figures": rows}

    def write(self) -> None:
        """What other runs have measured stays."""
        kept = json.loads(KEPT.read_text()) | self._parts
        KEPT.write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n")
        before, _, rest = PAGE.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n{shown(kept)}\n{END}{after}")
        _draw(kept["sqlite"]["ratios"])


def shown(parts: Mapping[str, Part]) -> str:
    runs = list(dict.fromkeys((part["on"], part["how"]) for part in parts.values()))
    lines = [f"{number}. {on}, {how}." for number, (on, how) in enumerate(runs, 1)]
    for name, part in parts.items():
        if "jobs" in part:
            number = runs.index((part["on"], part["how"])) + 1
            lines += ["", f"### {name}", "", f"Run {number}.", "", *_table(JOBS, part["jobs"])]
    others = [
        [*row, str(runs.index((part["on"], part["how"])) + 1)]
        for part in parts.values()
        for row in part["figures"]
    ]
    return "\n".join([*lines, "", "### Other figures", "", *_table(FIGURES, others)])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_row(head), "|---" * len(head) + "|", *map(_row, rows)]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(one: Series) -> list[str]:
    goal = f"≥ {one.goal:g}" if one.goal is not None else ""
    missed = one.goal is not None and one.ratio < one.goal
    ratio = f"**{one.ratio:.2f}**" if missed else f"{one.ratio:.2f}"
    return [
        one.name, f"{one.rate:,.0f}", f"{one.spread:.0%}", f"{one.p50:.2f}", f"{one.p99:.2f}",
        ratio, goal, f"{one.p99 / one.floor_p99:.1f}",
    ]  # fmt: skip


def _draw(ratios: Sequence[tuple[str, float, float | None]]) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "identity"
    from matplotlib import pyplot as plt

    jobs = list(reversed(ratios))
    figure, axes = plt.subplots(figsize=(8, 0.5 * len(jobs) + 1.2))
    axes.barh(
        [name for name, _, _ in jobs], [ratio for _, ratio, _ in jobs], color="#3b6ea5", height=0.6
    )
    for at, (_, _, goal) in enumerate(jobs):
        if goal is not None:
            axes.plot([goal, goal], [at - 0.4, at + 0.4], color="#c0392b")
    axes.set_xlim(0, max([1.0, *(ratio for _, ratio, _ in jobs)]))
    axes.set_xlabel("share of a bare ASGI answer's rate (red: goal)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None, "Creator": None})


def _say(line: str) -> None:
    print(line, flush=True)
