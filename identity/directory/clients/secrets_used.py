"""When a client's secret was last used. A request costs an entry in a set, which has no more of
them than there are secrets; a chore writes them once a minute, so the time is known to a minute."""

from sqlalchemy import bindparam
from sqlmodel import Session, col, update

from identity.clock import utcnow
from identity.directory.clients.table import ClientSecret
from identity.store import Database

Secret = tuple[str, str]
"""A client's id, and the digest of its secret."""


class SecretsUsed:
    """One a process. `note`: this secret has just proved its client."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._used: set[Secret] = set()
        self.note = self._used.add

    async def write(self) -> None:
        """What a failure keeps from being written waits for the next time."""
        written = sorted(self._used)
        if written:
            await self._db.write(lambda session: _write(session, written))
            self._used.difference_update(written)


def _write(session: Session, used: list[Secret]) -> None:
    """In one order in all processes, which else would wait for each other."""
    mine = (
        col(ClientSecret.client_id) == bindparam("of"),
        col(ClientSecret.digest) == bindparam("secret"),
    )
    noted = update(ClientSecret).where(*mine).values(last_used_at=utcnow())
    session.connection().execute(noted, [{"of": of, "secret": secret} for of, secret in used])
