"""What would be done: files compared with what there is."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from sqlmodel import Session, select

from identity.cli.applying.files import Entry, Files
from identity.cli.applying.kinds.kind import Document, Kind, KnownSecret, Present
from identity.cli.applying.kinds.registry import KINDS
from identity.cli.applying.mistakes import Mistake, Mistaken
from identity.directory.configured import Configured
from identity.opaque import digest

Action = Literal["add", "change", "adopt", "remove", "keep", "release", "note"]
"""`keep`: made by the set, and changed by somebody since, so it is theirs now. `release`: taken
over by the set once, and in its files no longer. `note`: as the files say, and the row is
behind."""


class Step(NamedTuple):
    action: Action
    kind: Kind
    name: str
    before: Document
    after: Document
    entry: Entry | None = None
    made_at: Any = None
    created: bool = False
    new_secrets: tuple[str, ...] = ()
    """The ends of those that it gets."""
    old_secrets: tuple[str, ...] = ()
    lost_by: dict[str, int] = {}  # noqa: RUF012 - never changed
    """Of what is removed: how many of what lose something by that."""

    @property
    def seen(self) -> tuple[Any, ...]:
        """What of it a person agrees to."""
        return (self.action, self.kind.noun, self.name, self.before, self.after,
                self.new_secrets, self.old_secrets)  # fmt: skip

    @property
    def place(self) -> str:
        return str(self.entry.place) if self.entry else ""


class Plan(NamedTuple):
    set_name: str
    steps: list[Step]
    unchanged: int

    @property
    def visible(self) -> list[Step]:
        return [step for step in self.steps if step.action != "note"]

    def same(self, other: "Plan") -> bool:
        return [step.seen for step in self.visible] == [step.seen for step in other.visible]


class Way(NamedTuple):
    """How files are applied."""

    prune: bool = False
    adopt: bool = False


def plan(session: Session, files: Files, way: Way) -> Plan:
    """Raises `Mistaken` for what is somebody else's."""
    return _Planner(session, files, way).plan()


def digest_of(document: Document) -> str:
    return digest(json.dumps(document, sort_keys=True, separators=(",", ":")))


class _Planner:
    def __init__(self, session: Session, files: Files, way: Way) -> None:
        self._session = session
        self._files = files
        self._way = way
        self._mistakes: list[Mistake] = []

    def plan(self) -> Plan:
        wanted: list[Step] = []
        left: list[Step] = []
        count = 0
        for kind in KINDS:
            entries = self._files.entries[kind.noun]
            present, rows = kind.present(self._session), _rows(self._session, kind)
            count += len(entries)
            wanted += self._wanted(kind, entries, present, rows)
            if self._way.prune:
                left += self._left(kind, entries, present, rows)
        if self._mistakes:
            raise Mistaken(self._mistakes)
        order = {kind.noun: -n for n, kind in enumerate(KINDS)}
        left.sort(key=lambda step: (order[step.kind.noun], step.name))
        noted = [step for step in wanted if step.action != "note"]
        return Plan(self._files.set_name, wanted + left, count - len(noted))

    def _wanted(
        self,
        kind: Kind,
        entries: Mapping[str, Entry],
        present: Mapping[str, Present],
        rows: Mapping[str, Configured],
    ) -> Iterator[Step]:
        for name, entry in sorted(entries.items()):
            found = present.get(name)
            if found is None:
                yield _step("add", kind, name, None, entry, created=True)
                continue
            row = _row_of(found, rows.get(name))
            step = _step("change", kind, name, found, entry, created=bool(row and row.created))
            differs = bool(step.before != step.after or step.new_secrets or step.old_secrets)
            ours = row is not None and row.set_name == self._files.set_name
            if refused := self._refused(found, row, ours=ours, differs=differs):
                self._mistakes.append(entry.place.mistake(refused))
            elif not ours and self._way.adopt:
                yield step._replace(action="adopt", created=False)
            elif differs:
                yield step
            elif ours and row is not None and row.digest != digest_of(step.after):
                yield step._replace(action="note")

    def _refused(
        self, found: Present, row: Configured | None, *, ours: bool, differs: bool
    ) -> str | None:
        if found.self_registered:
            return "has registered itself, and is nobody's to describe"
        if ours or self._way.adopt:
            return None
        if row is not None:
            return f"belongs to the set {row.set_name}; --adopt takes it over"
        if differs and not found.builtin:
            return "is there already, and this set has not made it; --adopt takes it over"
        return None

    def _left(
        self,
        kind: Kind,
        entries: Mapping[str, Entry],
        present: Mapping[str, Present],
        rows: Mapping[str, Configured],
    ) -> Iterator[Step]:
        """What the set has made or taken over, and its files have no longer."""
        for name, row in rows.items():
            if row.set_name != self._files.set_name or name in entries:
                continue
            found = present.get(name)
            if found is None or _row_of(found, row) is None:
                continue
            action: Action = "remove"
            if not row.created or found.builtin or found.self_registered:
                action = "release"
            elif row.digest != digest_of(found.document):
                action = "keep"
            lost_by = kind.losers(self._session, name) if action == "remove" else {}
            yield Step(
                action, kind, name, found.document, {}, made_at=found.made_at, lost_by=lost_by
            )  # fmt: skip


def _step(
    action: Action,
    kind: Kind,
    name: str,
    found: Present | None,
    entry: Entry,
    *,
    created: bool,
) -> Step:
    have: tuple[KnownSecret, ...] = tuple(found.secrets) if found else ()
    new: list[str] = []
    old: list[str] = []
    if entry.wanted.secrets is not None:
        wanted = {digest(each.get_secret_value()): each.get_secret_value()[-4:]
                  for each in entry.wanted.secrets}  # fmt: skip
        known = {each.digest for each in have}
        new = [hint for each, hint in wanted.items() if each not in known]
        old = [each.hint for each in have if each.digest not in wanted]
    return Step(
        action,
        kind,
        name,
        found.document if found else {},
        entry.wanted.document,
        entry,
        found.made_at if found else None,
        created,
        tuple(new),
        tuple(old),
    )


def _rows(session: Session, kind: Kind) -> dict[str, Configured]:
    query = select(Configured).where(Configured.kind == kind.noun).order_by(Configured.name)
    # Rows that a plan before has read are read again.
    found = session.exec(query.execution_options(populate_existing=True))
    return {row.name: row for row in found}


def _row_of(found: Present, row: Configured | None) -> Configured | None:
    """The row, if it tells of this very thing."""
    return row if row is not None and row.made_at == found.made_at else None
