"""What a run notes, what it goes on with, and the page that is made of it; each row in short."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.attacks import telling
from tests.attacks.__main__ import FILE as OF_ATTACKS
from tests.attacks.rows import ROWS as ATTACKS
from tests.faults.__main__ import FILE as OF_FAULTS
from tests.faults.rows import ROWS as FAULTS
from tests.proofs import WHOLE
from tests.templates import Templates
from tests.trials import lines, page, running
from tests.trials.row import Dice, Outcome, Place, Row, keeps

ELSEWHERE = {
    "refreshed at once": "faults/test_refresh_races.py",
    "redeemed at once": "faults/test_code_races.py",
    "refresh against the end": "faults/test_refresh_races.py",
    "eight rotate": "keys/test_at_once.py",
    "rights": "fuzz/test_rights.py",
}
"""Rows whose short form is a test of its own."""
LONG = {"an hour of it", "housekeeping"}
"""Rows of which one trial takes from a quarter of an hour to more than one."""
TRIED = {
    (trial["row"], trial["database"])
    for file in (OF_FAULTS, OF_ATTACKS)
    for trial in lines.read(file)
}
SHORT = [
    pytest.param(row, database, id=f"{row.name}-{database}")
    for row in (*FAULTS, *ATTACKS)
    for database in row.databases
    if row.name not in {*ELSEWHERE, *LONG} and (row.name, database) in TRIED
]
"""Of rows that were held before: what a run has never shown, a test cannot hold anybody to."""


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.skipif(not WHOLE, reason="`make test-proofs` runs it")
@pytest.mark.parametrize(("row", "database"), SHORT)
def test_the_promise_of_a_row_is_kept_once(
    row: Row, database: str, templates: Templates, tmp_path: Path
) -> None:
    if problem := row.lacking():
        pytest.skip(problem)
    trial = partial(telling.told_apart, pairs=100) if row.trial is telling.told_apart else row.trial
    with row.setting(database, Place(templates, tmp_path)) as stage:
        keeps(trial, stage, min(row.each, 1_000))


def test_rows_without_a_short_form_here_have_one_elsewhere() -> None:
    known = {row.name for row in (*FAULTS, *ATTACKS)}
    assert known >= LONG
    assert len(known) == len(FAULTS) + len(ATTACKS)
    for name, path in ELSEWHERE.items():
        assert name in known
        assert (Path(__file__).parents[1] / path).exists()


# --- The runner ----------------------------------------------------------------------------------


class Acts:
    """A row whose trials do what its list says, and what became of its stages."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.set = self.ended = 0
        self.seeds: list[int] = []

    @contextmanager
    def setting(self, database: str, place: Place) -> Iterator[str]:
        self.set += 1
        yield database
        self.ended += 1

    def trial(self, stage: str, dice: Dice) -> Outcome:
        self.seeds.append(dice.trial)
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome()
        if isinstance(outcome, Exception):
            raise outcome
        assert isinstance(outcome, Outcome)
        return outcome

    def row(self, name: str = "acts", **changed: Any) -> Row:
        chosen: dict[str, Any] = {"databases": ("sqlite",), **changed}
        return Row(name, "what is promised", self.setting, self.trial, 20, **chosen)


def run(file: Path, *rows: Row, options: tuple[str, ...] = ("--count", "2")) -> int:
    arguments = ["--file", str(file), *options]
    return running.main("faults", rows, Path("elsewhere"), arguments)


def noted(file: Path, member: str) -> list[Any]:
    return [trial[member] for trial in lines.read(file)]


def test_a_run_goes_on_where_it_was_cut_short(tmp_path: Path) -> None:
    file, acts = tmp_path / "trials.jsonl", Acts()
    assert run(file, acts.row()) == 0
    with file.open("ab") as last:
        last.write(b'{"row": "acts", "num')
    assert run(file, acts.row(), options=("--count", "4")) == 0
    assert noted(file, "number") == [0, 1, 2, 3]
    assert acts.seeds == noted(file, "seed") == [1, 2, 3, 4]
    assert run(file, acts.row(), options=("--count", "4")) == 0
    assert len(acts.seeds) == 4


def test_a_trial_in_which_the_run_is_told_to_end_is_not_noted(tmp_path: Path) -> None:
    """Whatever the trial makes of it: hypothesis would see a failure that does not come again."""
    before = signal.getsignal(signal.SIGTERM)

    def trial(stage: str, dice: Dice) -> Outcome:
        seen = Outcome()
        if dice.trial == 2:
            try:
                signal.raise_signal(signal.SIGTERM)
            except SystemExit:
                seen.see(False, "something ended it")
        return seen

    file, row = tmp_path / "trials.jsonl", Acts().row()
    try:
        with pytest.raises(SystemExit):
            run(file, replace(row, trial=trial), options=("--count", "3"))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert noted(file, "violations") == [[]]


def test_a_run_that_is_ended_early_has_some_of_each_row(tmp_path: Path) -> None:
    file = tmp_path / "trials.jsonl"
    run(file, Acts().row("one"), Acts().row("two"), options=("--count", "12"))
    rows = noted(file, "row")
    assert rows[:2] == ["one", "two"]
    assert rows[2:20] == ["one"] * 9 + ["two"] * 9
    assert len(rows) == 24


def test_what_a_trial_raises_is_a_broken_promise_and_ends_its_stage(tmp_path: Path) -> None:
    file, acts = tmp_path / "trials.jsonl", Acts(Outcome(), RuntimeError("it hangs"), Outcome())
    assert run(file, acts.row(), options=("--count", "3")) == 1
    assert noted(file, "violations") == [[], ["RuntimeError: it hangs"], []]
    assert (acts.set, acts.ended) == (3, 3)  # in the first turn, and twice in the second


def test_a_stage_that_cannot_be_set_is_no_trial_and_stops_no_other_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def setting(database: str, place: Place) -> Iterator[None]:
        raise TimeoutError("the server does not start")
        yield

    file, acts = tmp_path / "trials.jsonl", Acts()
    lost = Row("lost", "what is promised", setting, acts.trial, 20, databases=("sqlite",))
    assert run(file, lost, acts.row()) == 0
    assert noted(file, "row") == ["acts", "acts"]
    assert "lost sqlite: its stage could not be set" in capsys.readouterr().out


def test_a_recovery_that_takes_longer_than_its_goal_is_a_violation(tmp_path: Path) -> None:
    file, acts = tmp_path / "trials.jsonl", Acts(Outcome(recovery=0.9), Outcome(recovery=1.1))
    assert run(file, acts.row(goal=1.0)) == 1
    assert noted(file, "violations") == [[], ["well again after 1.10 s"]]


def test_a_line_of_several_trials_has_the_worst_of_them(tmp_path: Path) -> None:
    file = tmp_path / "trials.jsonl"
    acts = Acts(
        Outcome(recovery=2.0, measured={"MB": 3}),
        Outcome(violations=["a wrong answer"], strained=["late"], measured={"MB": 2}),
    )
    assert run(file, acts.row(each=2)) == 1
    (trial,) = lines.read(file)
    assert (trial["times"], trial["recovery"], trial["measured"]) == (2, 2.0, {"MB": 3})
    assert trial["violations"] == ["a wrong answer", "late"]
    table = page.table([trial], [acts.row(each=2)])
    assert table.endswith("| SQLite | 2 of 20 | **1** | 2.00 s, at most 2.00 s; MB 3 |")


def test_a_row_that_this_machine_cannot_do_is_left_out_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = Acts().row(lacking=lambda: "there is no haproxy")
    assert run(tmp_path / "trials.jsonl", row) == 0
    assert "acts: left out: there is no haproxy" in capsys.readouterr().out
    assert run(tmp_path / "trials.jsonl", row, options=("--row", "other")) == 2


@pytest.mark.parametrize(
    ("name", "file", "rows"), [("faults", OF_FAULTS, FAULTS), ("attacks", OF_ATTACKS, ATTACKS)]
)
def test_the_page_is_made_from_the_trials_that_are_committed(
    name: str, file: Path, rows: tuple[Row, ...]
) -> None:
    assert page.section(lines.read(file), rows) in page.PAGE.read_text(), f"make {name}"
