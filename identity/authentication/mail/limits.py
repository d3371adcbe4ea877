"""How often mails go out that somebody asked for who has proved nothing: to one address, and from
one network. Counters of `throttle`'s table; each ends with its time, however often it is asked."""

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import bindparam, case
from sqlmodel import col

from identity.authentication.throttle import LoginFailure
from identity.clock import utcnow
from identity.opaque import digest
from identity.records.audit import origin
from identity.records.audit.origins import network_of
from identity.store import StatementBy, Work, execute, insert_for, value_of
from identity.store.statements import DialectName

TO_ONE: Final = (3, timedelta(minutes=15))
"""Mails of a kind to one target."""
FROM_ONE: Final = (10, timedelta(hours=1))
"""Mails of all kinds that one network (IPv6: one /64) asks for."""


def _count(dialect: DialectName) -> Any:
    count: Any = col(LoginFailure.count)
    ends: Any = col(LoginFailure.expires_at)
    new = insert_for(dialect, LoginFailure).values(
        {
            LoginFailure.key: bindparam("key"),
            count: 1,
            ends: bindparam("end"),
            LoginFailure.locked: False,
        }
    )
    over = ends <= value_of(ends, "now")
    return new.on_conflict_do_update(
        index_elements=[LoginFailure.key],
        set_={
            count: case((over, 1), else_=count + 1),
            ends: case((over, new.excluded[ends.key]), else_=ends),
        },
        where=over | (count < value_of(count, "limit")),
    )


_COUNT = StatementBy(_count)


def within(work: Work, kind: str, target: str) -> bool:
    """Whether one more mail of this kind may go to `target`, which counts it: of several processes
    that ask at once, as many hear yes as there may. The unit of work is committed either way."""
    network = network_of(origin.get().address)
    from_one = _counted(work, digest(f"mail from\n{network}"), *FROM_ONE)
    return from_one and to_one(work, kind, target)


def to_one(work: Work, kind: str, target: str) -> bool:
    """The same, whoever asks."""
    return _counted(work, digest(f"mail to\n{kind}\n{target}"), *TO_ONE)


def _counted(work: Work, key: str, limit: int, within: timedelta) -> bool:
    now = utcnow()
    values = {"key": key, "limit": limit, "now": now, "end": now + within}
    return execute(work, _COUNT, values).rowcount == 1
