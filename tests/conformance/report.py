"""`make conformance`: how each line went, as a table, and docs/conformance.md written anew.

A plugin of pytest, loaded by name: `-p tests.conformance.report -m conformance`.
"""

from collections import defaultdict

import pytest

from scripts import docs

Outcomes = dict[tuple[str, str], list[str]]


class Report:
    def __init__(self) -> None:
        self._lines: dict[str, list[tuple[str, str]]] = {}
        self._outcomes: dict[str, str] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            marks = item.iter_markers("conformance")
            self._lines[item.nodeid] = [(mark.args[0], mark.args[1]) for mark in marks]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self._outcomes[report.nodeid] = report.outcome

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        outcomes: Outcomes = defaultdict(list)
        for nodeid, lines in self._lines.items():
            for each in lines:
                outcomes[each].append(self._outcomes.get(nodeid, "not run"))
        rows = [
            (f"{area}: {words}", ", ".join(sorted(set(said))))
            for (area, words), said in sorted(outcomes.items())
        ]
        terminalreporter.section("conformance")
        terminalreporter.write_line(docs.table(("line", "outcome"), rows))
        page = docs.ROOT / "docs" / "conformance.md"
        page.write_text(docs.rendered(page.read_text(), docs.Service({}, "")))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Report(), "conformance-report")
