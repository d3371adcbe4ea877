"""What of a trial is a violation, and the table that is made of all of them."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.databases import ROOT
from tests.trials import lines
from tests.trials.lines import Trial

FILE = Path(__file__).parent / "trials.jsonl"
PAGE = ROOT / "docs" / "high-availability.md"
GOAL = 1.0
"""Seconds from `/primary` until every request is answered."""


def remaining(trials: Iterable[Trial], rows: Sequence[str], count: int) -> list[tuple[str, int]]:
    """Which trials are missing, rows in turn: a run that is ended early has some of each."""
    wanted = [(row, number) for number in range(count) for row in rows]
    return lines.missing(trials, wanted, "row", "number")


def violations(trial: Trial) -> list[str]:
    """Promises that were broken, in words. What an asynchronous failover loses was not promised;
    that it is noticed was."""
    found = {
        "wrong answers": trial["wrong"],
        "answers other than 200 and 503": trial["odd_count"],
        "503 without Retry-After": trial["without_retry_after"],
        "answers after four seconds": trial["late"],
        "services that did not notice": sum(not each for each in trial["noticed"].values()),
        "siblings that were not told": sum(not each for each in trial["told"].values()),
    }
    mode = "asynchronous" if trial["row"] == "asynchronous" else "synchronous"
    found["words of doctor that do not fit"] = f", {mode}" not in trial["doctor"]
    if mode == "synchronous":
        found["revocations lost"] = trial["revocations_lost"]
        found["logins lost"] = trial["logins_lost"]
        found["sessions ended"] = trial["ended"]
    else:  # a client whose last refresh was lost has a token that nobody knows
        found["answers other than 200 and 503"] -= trial["ended"]
    words = [f"{count:d} {what}" for what, count in found.items() if count]
    # A fact about the cluster, which says why.
    why = ["the cluster took the old primary back"] if trial.get("led_again") else []
    return [*words, *why] if words else []


def table(trials: list[Trial], rows: Sequence[tuple[str, str]]) -> list[str]:
    """`rows`: names, and what happens to the primary."""
    rows_of_it = [
        "| the primary is … | trials | requests, of these 503 | acknowledged revocations, lost "
        "| violations | new primary after | well again: by HAProxy | by several hosts |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, what in rows:
        of_row = [trial for trial in trials if trial["row"] == name]
        if of_row:
            rows_of_it.append(f"| **{name}**: {what} | {' | '.join(_cells(of_row))} |")
    return rows_of_it


def _cells(trials: list[Trial]) -> list[str]:
    def total(name: str) -> str:
        return f"{sum(trial[name] for trial in trials):,}"

    broken = sum(bool(violations(trial)) for trial in trials)
    after = statistics.median(trial["promoted_after"] for trial in trials)
    ways = ("HAProxy", "several hosts")
    spans = [[trial["recovery"][way] for trial in trials if way in trial["recovery"]]
             for way in ways]  # fmt: skip
    return [
        str(len(trials)),
        f"{total('requests')}, {total('refused')}",
        f"{total('revoked')}, {total('revocations_lost')}",
        f"**{broken}**" if broken else "0",
        f"{after:.1f} s",
        *(_span(each) for each in spans),
    ]


def _span(seconds: Sequence[float]) -> str:
    if not seconds:
        return ""
    late = sum(each > GOAL for each in seconds)
    words = f"{statistics.median(seconds):.2f} s, at most {max(seconds):.2f} s"
    return f"{words} ({late} over {GOAL:g} s)" if late else words


def measured(trials: list[Trial], rows: Sequence[tuple[str, str]]) -> str:
    last = trials[-1]
    versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items())
    seeds = sorted({trial["seed"] for trial in trials})
    head = (
        f"{last['date']}. {versions}. `ttl` {last['ttl']}, `loop_wait` {last['loop_wait']}, "
        f"seeds {seeds[0]} to {seeds[-1]}, two cores for all of it."
    )
    return "\n".join([head, "", *table(trials, rows)])
