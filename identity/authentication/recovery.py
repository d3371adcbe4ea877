"""Recovery codes: for whoever has lost their other second factor. Ten, each good once.

A code is 112 random bits, too many to be guessed, so wrong ones are not counted and lock nobody
out; its digest is all that is stored.
"""

import secrets
from base64 import b32encode
from datetime import datetime

from sqlalchemy import bindparam, update
from sqlmodel import Field, Session, col, delete, func, select

from identity.clock import utcnow
from identity.opaque import digest
from identity.records import audit
from identity.store import Statement, Stored, UtcDateTime, Work, execute

HOW_MANY = 10
OCTETS = 14
GROUP = 4
"""Characters between two hyphens."""


class RecoveryCode(Stored, table=True):
    __tablename__ = "recovery_code"

    digest: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="user_account.id", ondelete="CASCADE", index=True)
    created_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


_SPEND = Statement(
    lambda: (
        update(RecoveryCode)
        .where(
            col(RecoveryCode.digest) == bindparam("digest"),
            col(RecoveryCode.user_id) == bindparam("user_id"),
            col(RecoveryCode.used_at).is_(None),
        )
        .values({RecoveryCode.used_at: bindparam("now")})
    )
)


def spend(work: Work, user_id: str, code: str) -> bool:
    """Whether the code was good, and is now used: true once."""
    values = {"digest": digest(plain(code)), "user_id": user_id, "now": utcnow()}
    return execute(work, _SPEND, values).rowcount == 1


def renew(session: Session, user_id: str) -> list[str]:
    """Ten new codes, shown once; those before are good no longer."""
    remove(session, user_id)
    codes = [_mint() for _ in range(HOW_MANY)]
    session.add_all(RecoveryCode(digest=digest(plain(code)), user_id=user_id) for code in codes)
    session.flush()
    audit.record(session, "recovery_codes.made", subject=user_id, count=HOW_MANY)
    return codes


def remove(session: Session, user_id: str) -> None:
    session.exec(delete(RecoveryCode).where(col(RecoveryCode.user_id) == user_id))


def left(session: Session, user_id: str) -> tuple[int, datetime | None]:
    """How many are still good, and when they were made; None where none ever were."""
    mine = col(RecoveryCode.user_id) == user_id
    unused = select(func.count()).where(mine, col(RecoveryCode.used_at).is_(None))
    made = select(func.max(RecoveryCode.created_at)).where(mine)
    return session.exec(unused).one(), session.exec(made).one()


def plain(code: str) -> str:
    """As it is digested, however it was typed."""
    return typed(code).lower().replace("0", "o")


def typed(code: str) -> str:
    """A code of any kind without what people put between its characters."""
    return "".join(c for c in code if c.isalnum())


def _mint() -> str:
    text = b32encode(secrets.token_bytes(OCTETS)).decode().rstrip("=").lower()
    return "-".join(text[at : at + GROUP] for at in range(0, len(text), GROUP))
