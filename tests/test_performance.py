"""The page on speed says what was measured, part by part."""

import json
from pathlib import Path

import pytest

from bench import report
from bench.report import Figure, Report


def measured() -> str:
    page = report.PAGE.read_text()
    return page.partition(report.BEGIN)[2].partition(report.END)[0].strip()


def test_the_page_shows_what_the_file_says() -> None:
    assert measured() == report.shown(json.loads(report.KEPT.read_text()))


def test_a_run_of_one_part_leaves_the_others_with_their_dates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PAGE", "KEPT", "PICTURE"):
        mine = tmp_path / getattr(report, name).name
        mine.write_bytes(getattr(report, name).read_bytes())
        monkeypatch.setattr(report, name, mine)
    monkeypatch.setattr(report, "_draw", lambda ratios: None)
    before = json.loads(report.KEPT.read_text())
    later = Report(9, 7)
    later.add_figures("floods", [Figure("logins beside a flood", 0.5, "", at_least=0.95)])
    later.write()
    after = json.loads(report.KEPT.read_text())
    assert {name: after[name] for name in before if name != "floods"} == {
        name: part for name, part in before.items() if name != "floods"
    }
    assert "9 interleaved rounds of 7 s" in measured()
    assert "| logins beside a flood | 0.50 | ≥ 0.95 | **no** |" in measured()
