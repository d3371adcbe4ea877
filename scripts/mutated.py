"""pytest with changed code in it: `mutants` runs this as processes of their own.

`--cold TESTS -- PATH:NUMBER` runs the tests with one change from the import on. `--warm TESTS --
PATH:NUMBER...` runs them as the code stands, then forks for each change, and prints its place in
the list and `killed`, `survived`, or `cold`: only that will show it.
"""

import gc
import importlib.machinery
import os
import signal
import sys
import threading
import time
from functools import _lru_cache_wrapper
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings

from scripts.mutations import Mutation, mutations

ROOT = Path(__file__).parent.parent
OPTIONS = [
    "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "-m", "not slow and not fuzz",
    "-k", "not postgresql", "-W", "ignore:Module already imported",
]  # fmt: skip
OUTCOMES = ("survived", "killed", "cold")
Lines = dict[tuple[str, int], set[Any]]


def changes(numbers: list[str]) -> list[tuple[str, Mutation]]:
    """File name and change of each `PATH:NUMBER`."""
    found = []
    known: dict[str, list[Mutation]] = {}
    for text in numbers:
        path, _, number = text.rpartition(":")
        if path not in known:
            known[path] = mutations(ROOT / path)
        found.append((str(ROOT / path), known[path][int(number)]))
    return found


class Forking:
    """A plugin in place of pytest's own loop over the tests."""

    def __init__(self, every: list[tuple[str, Mutation]]) -> None:
        self._changes = every
        self._files = {file for file, _ in every}
        self._until = float(os.environ.get("MUTANTS_UNTIL", "inf"))
        self._out = os.fdopen(os.dup(1), "w")
        self._failed = False
        self._lines: Lines = {}
        self._item: Any = None
        self._took: dict[Any, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed |= report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        session.config.pluginmanager.unregister(name="terminalreporter")
        gc.unfreeze()  # else `_become` finds no function that was there before the first test
        self._watch(session)
        for number, change in enumerate(self._changes):
            if time.time() > self._until:
                break
            print(number, self._outcome(session, *change), file=self._out, flush=True)
        os._exit(0)  # what the tests hold for the session is the forks' too: nobody tidies twice

    def _watch(self, session: pytest.Session) -> None:
        """Run every test as the code stands. One that fails is left out, and said so."""
        for item in session.items:
            self._item, self._failed, began = item, False, time.perf_counter()
            _forget_statements()  # so that each test comes by what makes those that it uses
            sys.settrace(self.called)
            # To the session's end: what is prepared for it stays.
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=session)
            sys.settrace(None)
            self._took[item] = time.perf_counter() - began
            if self._failed:
                print(f"{item.nodeid} fails as the code stands", file=sys.__stderr__, flush=True)
                del self._took[item]
        threading.settrace(None)  # type: ignore[arg-type]
        if len(self._took) < len(session.items) * 0.9:
            os._exit(1)

    def called(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._ran if frame.f_code.co_filename in self._files else None

    def _ran(self, frame: FrameType, event: str, argument: Any) -> Any:
        self._lines.setdefault((frame.f_code.co_filename, frame.f_lineno), set()).add(self._item)
        return self._ran

    def _outcome(self, session: pytest.Session, file: str, mutation: Mutation) -> str:
        passing = set().union(*(self._lines.get((file, line), ()) for line in mutation.lines))
        # Where an import came through as well, what it made is as it was.
        unnoticed = "cold" if None in passing else "survived"
        items = sorted((i for i in passing if i in self._took), key=self._took.__getitem__)
        if not items:
            return unnoticed
        child = os.fork()
        if child == 0:
            # A change may turn a loop endless.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20 + 5 * int(sum(self._took[item] for item in items)))
            outcome = "killed"
            try:
                outcome = self._alone(session, file, mutation, items)
            finally:
                os._exit(OUTCOMES.index(outcome))
        _, status = os.waitpid(child, 0)
        outcome = OUTCOMES[os.WEXITSTATUS(status)] if os.WIFEXITED(status) else "killed"
        return unnoticed if outcome == "survived" else outcome

    def _alone(
        self, session: pytest.Session, file: str, mutation: Mutation, items: list[Any]
    ) -> str:
        if not _become(file, mutation):
            return "cold"
        for item in items:
            self._failed = False
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=session)
            if self._failed:
                return "killed"
        return "survived"


def _codes(code: CodeType) -> dict[tuple[str, int], CodeType]:
    """Those of functions in it, by name and first line."""
    found = {(code.co_qualname, code.co_firstlineno): code}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _codes(constant)
    return found


def _become(file: str, mutation: Mutation) -> bool:
    """Give every living function of the file the changed code, and forget what was computed.
    False where one cannot take it, as its closure is another."""
    changed = _codes(compile(mutation.apply(), file, "exec"))
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename == file:
            old = thing.__code__
            new = changed.get((old.co_qualname, old.co_firstlineno))
            if new is None:
                continue
            if len(new.co_freevars) == len(old.co_freevars):
                thing.__code__ = new
            elif "<locals>" not in old.co_qualname:
                return False
        elif isinstance(thing, _lru_cache_wrapper):
            thing.cache_clear()
    _forget_statements()
    return True


def _forget_statements() -> None:
    """They are put together once a process."""
    from identity.store.statements import BOTH, STATEMENTS  # here: `--cold` changes what it imports

    for statement in STATEMENTS:
        for dialect in BOTH:
            vars(statement).pop(dialect, None)


class _Changed(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, file: str, mutation: Mutation) -> None:
        super().__init__(name, file)
        self._mutation = mutation

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._mutation.apply(), self.path, "exec")


class _Finder:
    """Finds the one changed module; asked before all others."""

    def __init__(self, file: str, mutation: Mutation) -> None:
        self._file = file
        self._mutation = mutation

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin == self._file:
            spec.loader = _Changed(name, self._file, self._mutation)
            return spec
        return None


def main() -> None:
    how, *rest = sys.argv[1:]
    cut = rest.index("--")
    tests, numbers = rest[:cut], changes(rest[cut + 1 :])
    # The same examples each time, and no looking for the smallest.
    hypothesis_settings.register_profile(
        "mutants", deadline=None, derandomize=True, database=None, max_examples=50,
        phases=(Phase.explicit, Phase.generate),
    )  # fmt: skip
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    if how == "--cold":
        sys.meta_path.insert(0, _Finder(*numbers[0]))
        raise SystemExit(pytest.main([*OPTIONS, "-x", *tests]))
    forking = Forking(numbers)
    sys.settrace(forking.called)
    threading.settrace(forking.called)
    raise SystemExit(pytest.main([*OPTIONS, *tests], plugins=[forking]))


if __name__ == "__main__":
    main()
