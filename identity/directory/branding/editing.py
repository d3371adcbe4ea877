"""What can be done to the brand and to logos. Each function is part of the caller's unit of
work."""

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from sqlmodel import Session, col, delete, select

from identity.clock import utcnow
from identity.directory.access.authority import Held
from identity.directory.branding import colours
from identity.directory.branding.current import LOGO, NOUN
from identity.directory.branding.logos import Drawn
from identity.directory.branding.table import ONE, Branding, Logo
from identity.directory.clients import accounts
from identity.directory.clients.table import Client
from identity.errors import Conflict, NotFound, ValidationFailed
from identity.records import audit
from identity.store import changes, insert_on_conflict

FIELDS: Final = ("name", *colours.FIELDS)
LONGEST: Final = 40
"""Characters of a name: it stands beside the logo, on a telephone too."""


def hold(session: Session) -> Branding:
    """The row, for this transaction alone."""
    new = insert_on_conflict(session, Branding).values(id=ONE, version=0, updated_at=utcnow())
    session.execute(new.on_conflict_do_nothing())
    query = select(Branding).where(Branding.id == ONE).with_for_update()
    return session.exec(query.execution_options(populate_existing=True)).one()


def update(session: Session, row: Branding, fields: Mapping[str, str | None]) -> None:
    """Set what `FIELDS` names, None: as the pages come; other members are ignored. Raises
    `ValidationFailed`, also for colours that people could not read."""
    before = {name: getattr(row, name) for name in FIELDS}
    after = {name: _plain(name, fields.get(name, before[name])) for name in FIELDS}
    changed = {name: value for name, value in after.items() if value != before[name]}
    _check(after)
    if not changed:
        return
    row.sqlmodel_update(changed)
    _touch(session, row)
    was = {name: before[name] for name in changed}
    audit.record(session, "branding.updated", before=was, after=changed)


def set_logo(session: Session, row: Branding, drawn: Drawn) -> None:
    _put(session, None, drawn)
    _touch(session, row)
    audit.record(session, "branding.logo_set", logo=drawn.digest)


def remove_logo(session: Session, row: Branding) -> None:
    """Raises `NotFound` where there is none."""
    gone = _take_away(session, None)
    _touch(session, row)
    audit.record(session, "branding.logo_removed", logo=gone)


def logo_of(session: Session, client_id: str | None) -> Logo:
    """Raises `NotFound`."""
    found = session.exec(select(Logo).where(Logo.client_id == client_id)).first()
    if found is None:
        raise NotFound("there is no logo")
    return found


def set_logo_of(session: Session, client: Client, drawn: Drawn, held: Held) -> None:
    """The caller has locked `client`. Raises `Forbidden` where it may do more than whoever acts,
    `Conflict` where nobody has vouched for it."""
    accounts.guard(session, client, held)
    if client.self_registered:
        raise Conflict("nobody has vouched for the client: a logo would say otherwise")
    _put(session, client.id, drawn)
    accounts.touch(session, client)
    audit.record(session, "client.logo_set", subject=client.id, logo=drawn.digest)


def remove_logo_of(session: Session, client: Client, held: Held) -> None:
    accounts.guard(session, client, held)
    gone = _take_away(session, client.id)
    accounts.touch(session, client)
    audit.record(session, "client.logo_removed", subject=client.id, logo=gone)


def _put(session: Session, client_id: str | None, drawn: Drawn) -> None:
    before = session.exec(select(Logo.digest).where(Logo.client_id == client_id)).first()
    session.exec(delete(Logo).where(col(Logo.client_id).is_not_distinct_from(client_id)))
    session.add(Logo(client_id=client_id, **drawn._asdict()))
    session.flush()
    for digest in {before, drawn.digest} - {None}:
        changes.record(session, f"{LOGO}.changed", str(digest))


def _take_away(session: Session, client_id: str | None) -> str:
    found = logo_of(session, client_id)
    session.delete(found)
    session.flush()
    changes.record(session, f"{LOGO}.deleted", found.digest)
    return found.digest


def _touch(session: Session, row: Branding) -> None:
    row.version += 1
    row.updated_at = utcnow()
    session.add(row)
    session.flush()
    changes.record(session, f"{NOUN}.changed", "*")


def _plain(name: str, value: Any) -> str | None:
    if not value:
        return None
    text = unicodedata.normalize("NFC", str(value)).strip()
    return (text if name == "name" else text.lower()) or None


def _check(after: Mapping[str, str | None]) -> None:
    name = after["name"]
    errors = []
    if name is not None and (len(name) > LONGEST or not name.isprintable()):
        errors.append(("/name", f"must be one line of at most {LONGEST} printable characters"))
    chosen = {each: after[each] for each in colours.FIELDS}
    for field, value in chosen.items():
        if value is not None and (words := colours.problem(value)):
            errors.append((f"/{field}", words))
    if errors or (errors := colours.problems(chosen)):
        raise ValidationFailed(errors)
