"""What was measured, printed as it comes and written to docs/performance.md and a picture."""

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version

from bench.measure import Series
from tests.databases import ROOT

PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "performance.svg"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
PACKAGES = (
    "uvicorn", "uvloop", "httptools", "fastapi", "starlette", "sqlalchemy", "sqlmodel", "psycopg",
    "python-jose", "cryptography", "bcrypt", "orjson",
)  # fmt: skip


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
    def row(self) -> str:
        mark = ("yes" if self.met else "**no**") if self.goal else ""
        return f"| {self.name} | {self.value:.2f} {self.unit} | {self.goal} | {mark} |"


class Report:
    def __init__(self, rounds: int, seconds: float) -> None:
        self._method = f"{rounds} interleaved rounds of {seconds:g} s a job"
        self._jobs: dict[str, list[Series]] = {}
        self._figures: list[Figure] = []

    def add_jobs(self, dialect: str, series: list[Series], figures: Iterable[Figure]) -> None:
        self._jobs[dialect] = series
        _say(f"{dialect}: requests/s on one core")
        for row in _table(series):
            _say(row)
        self.add_figures(figures)

    def add_figures(self, figures: Iterable[Figure]) -> None:
        for figure in figures:
            self._figures.append(figure)
            _say(figure.row)

    def write(self) -> None:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n{self._measured()}\n{END}{after}")
        self._draw()

    def _measured(self) -> str:
        versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        lines = [
            f"{date.today():%d %B %Y}, Python {platform.python_version()}, {platform.machine()}, "
            f"two cores: the server on one, the load on the other; {self._method}, medians. "
            f"{versions}.",
        ]
        for dialect, series in self._jobs.items():
            lines += ["", f"### {dialect}", "", *_table(series)]
        lines += [
            "",
            "### Other figures",
            "",
            "| what | measured | goal | met |",
            "|---|---|---|---|",
        ]
        lines += [figure.row for figure in self._figures]
        return "\n".join(lines)

    def _draw(self) -> None:
        import matplotlib as mpl

        mpl.use("svg")
        mpl.rcParams["svg.hashsalt"] = "identity"
        from matplotlib import pyplot as plt

        series = self._jobs.get("sqlite", [])
        names = [one.name for one in reversed(series)]
        figure, axes = plt.subplots(figsize=(8, 0.5 * len(names) + 1.2))
        axes.barh(names, [one.ratio for one in reversed(series)], color="#3b6ea5", height=0.6)
        for at, one in enumerate(reversed(series)):
            if one.goal is not None:
                axes.plot([one.goal, one.goal], [at - 0.4, at + 0.4], color="#c0392b")
        axes.set_xlim(0, max([1.0, *(one.ratio for one in series)]))
        axes.set_xlabel("share of a bare ASGI answer's rate (red: goal)")
        axes.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        figure.savefig(PICTURE, metadata={"Date": None, "Creator": None})


def _table(series: list[Series]) -> list[str]:
    rows = [
        "| job | requests/s | spread | p50 ms | p99 ms | × floor | goal | p99 × floor's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in series:
        goal = f"≥ {one.goal:g}" if one.goal is not None else ""
        missed = one.goal is not None and one.ratio < one.goal
        ratio = f"**{one.ratio:.2f}**" if missed else f"{one.ratio:.2f}"
        rows.append(
            f"| {one.name} | {one.rate:,.0f} | {one.spread:.0%} | {one.p50:.2f} | {one.p99:.2f} "
            f"| {ratio} | {goal} | {one.p99 / one.floor_p99:.1f} |"
        )
    return rows


def _say(line: str) -> None:
    print(line, flush=True)
