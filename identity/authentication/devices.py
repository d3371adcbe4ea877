"""Browsers that somebody has signed in with, so that a new one can be told of: by a lasting cookie,
or by the network and the browser's own words. Digests; the table says nothing of either."""

import re
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, select
from sqlmodel import Field, Session, col

from identity.authentication.mail.outbox import Outbox
from identity.clock import utcnow
from identity.directory.users.table import User
from identity.opaque import digest, mint
from identity.records.audit import origin
from identity.records.audit.origins import network_of
from identity.store import (
    Statement,
    StatementBy,
    Stored,
    UtcDateTime,
    Work,
    delete_some,
    execute,
    insert_for,
    select_of,
)
from identity.store.statements import DialectName

PREFIX: Final = "dv"
REMEMBERED: Final = timedelta(days=400)
"""Browsers keep no cookie longer."""
LONGEST: Final = 400
"""Characters of what a browser says of itself."""
BROWSERS: Final = ("Edg", "OPR", "Firefox", "Chrome", "Safari")
"""The first of these that one names is it; most name those behind it too."""
SYSTEMS: Final = ("Windows", "Android", "iPhone", "iPad", "Mac OS X", "Linux")


class KnownDevice(Stored, table=True):
    __tablename__ = "known_device"

    key: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="user_account.id", ondelete="CASCADE", index=True)
    seen_at: datetime = Field(sa_type=UtcDateTime, index=True)


def _look() -> Any:
    mine = col(KnownDevice.user_id) == bindparam("user_id")
    keys: list[Any] = [bindparam("cookie"), bindparam("place")]
    here = select(col(KnownDevice.key)).where(mine, col(KnownDevice.key).in_(keys)).exists()
    anywhere = select(col(KnownDevice.key)).where(mine).exists()
    return select_of(User.device_notices, here, anywhere).where(
        col(User.id) == bindparam("user_id")
    )


def _remember(dialect: DialectName) -> Any:
    new = insert_for(dialect, KnownDevice).values(
        {
            KnownDevice.key: bindparam("key"),
            KnownDevice.user_id: bindparam("user_id"),
            KnownDevice.seen_at: bindparam("now"),
        }
    )
    seen: Any = col(KnownDevice.seen_at)
    return new.on_conflict_do_update(
        index_elements=[KnownDevice.key], set_={seen: new.excluded[seen.key]}
    )


_LOOK = Statement(_look)
_REMEMBER = StatementBy(_remember)


def named(cookie: str | None) -> str:
    """The browser's name: the one that it brings, or a new one."""
    if cookie is not None and re.fullmatch(rf"{PREFIX}_[A-Za-z0-9_-]{{43}}", cookie):
        return cookie
    return mint(PREFIX)


def signed_in(work: Work, mails: Outbox, user_id: str, device: str, user_agent: str) -> None:
    """With the browser `device`. A mail goes out where it is a new one of a user who has others
    and wants to know; the first is no news."""
    said, address = user_agent[:LONGEST], origin.get().address
    keys = {
        "cookie": digest(f"{user_id}\ncookie\n{device}"),
        "place": digest(f"{user_id}\nplace\n{network_of(address)}\n{said}"),
    }
    found = execute(work, _LOOK, {"user_id": user_id, **keys}).fetchall()
    if found:
        wanted, here, anywhere = found[0]
        if wanted and anywhere and not here:
            at = f"{utcnow():%Y-%m-%d %H:%M} UTC"
            told = {"at": at, "browser": shown(said), "address": address or "?"}
            mails.write(work, "new_device", to="", user_id=user_id, values=told)
        now = utcnow()
        for key in sorted(keys.values()):
            execute(work, _REMEMBER, {"key": key, "user_id": user_id, "now": now})


def shown(user_agent: str) -> str:
    """In our words: what a browser says of itself is whatever somebody made it say."""
    names = {"Edg": "Edge", "OPR": "Opera", "Mac OS X": "macOS"}
    found = (
        next((each for each in there if each in user_agent), "?") for there in (BROWSERS, SYSTEMS)
    )
    return ", ".join(names.get(each, each) for each in found)


def prune(session: Session) -> int:
    return delete_some(session, KnownDevice, col(KnownDevice.seen_at) < utcnow() - REMEMBERED)
