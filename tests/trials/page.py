"""docs/proof.md's tables, made from the trials that were noted."""

import statistics
from collections.abc import Sequence

from tests.databases import ROOT
from tests.trials.lines import Trial
from tests.trials.row import Row

PAGE = ROOT / "docs" / "proof.md"
DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "none": ""}


def section(trials: Sequence[Trial], rows: Sequence[Row]) -> str:
    """What stands between the page's marks."""
    if not trials:
        return table(trials, rows)
    last = trials[-1]
    seeds = sorted({trial["seed"] for trial in trials})
    versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items())
    head = f"{last['date']}. {versions}. Seeds {seeds[0]} to {seeds[-1]}."
    loads = [trial["load"] for trial in trials if trial["load"] is not None]
    if loads:
        middle = statistics.median(loads)
        head += f" Load of the machine {min(loads):g} to {max(loads):g}, mostly {middle:g}."
    return f"{head}\n\n{table(trials, rows)}"


def table(trials: Sequence[Trial], rows: Sequence[Row]) -> str:
    lines = [
        "| promise | on | trials | violations | recovery, and what else was measured |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        for database in row.databases:
            of_row = [
                trial
                for trial in trials
                if (trial["row"], trial["database"]) == (row.name, database)
            ]
            cells = [f"**{row.name}**: {row.promise}", DATABASES[database], *_cells(of_row, row)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(trials: Sequence[Trial], row: Row) -> list[str]:
    done = sum(trial["times"] for trial in trials)
    broken = sum(bool(trial["violations"]) for trial in trials)
    counted = f"{done:,} of {row.wanted:,}"
    if not trials:
        return [counted, "", ""]
    return [counted, f"**{broken}**" if broken else "0", _numbers(trials, row)]


def _numbers(trials: Sequence[Trial], row: Row) -> str:
    said = []
    if spans := [trial["recovery"] for trial in trials if trial["recovery"] is not None]:
        words = f"{statistics.median(spans):.2f} s, at most {max(spans):.2f} s"
        said.append(f"{words} (goal {row.goal:g} s)" if row.goal is not None else words)
    named = sorted({words for trial in trials for words in trial["measured"]})
    for words in named:
        numbers = [t["measured"][words] for t in trials if words in t["measured"]]
        middle, most = statistics.median(numbers), max(numbers)
        span = f"{middle:,.4g}" if middle == most else f"{middle:,.4g}, at most {most:,.4g}"
        said.append(f"{words} {span}")
    return "; ".join(said)
