"""One-time codes by the clock (RFC 6238) from an app that shares a secret with us.

A user has one such secret, encrypted under the master key together with whose it is. It counts
once a code of it has been shown, and until then whatever was there before goes on.

A code is good once: the conditional write that takes note of its step lets one through, on
whichever replica. Wrong ones in a row are counted per account, whatever was going on when they were
given, before a code is compared: guesses at once, on many replicas, queue up behind the count. From
`LOGIN_MAX_FAILURES` on each locks the codes, for `LOGIN_LOCKOUT` and then twice as long each time.
"""

import hmac
import math
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import bindparam, or_, update
from sqlmodel import Field, Session, col, select

from identity.clock import now, utcnow
from identity.directory.users.table import User
from identity.errors import TooManyRequests
from identity.keys.master import MasterKey
from identity.settings import SettingsError, ThrottleSettings
from identity.store import (
    BIG,
    SOME,
    Statement,
    Stored,
    UtcDateTime,
    Work,
    execute,
    moment,
    select_of,
    value_of,
)

PERIOD = 30
"""Seconds of a step."""
DIGITS = 6
AROUND = (0, -1, 1)
"""Steps whose codes are taken: people type slowly, telephones' clocks differ (RFC 6238 §5.2)."""
TO_CONFIRM = timedelta(minutes=15)
"""How long a secret that was shown waits for its first code."""
LONGEST_LOCK = timedelta(days=1)


class Totp(Stored, table=True):
    __tablename__ = "totp"

    user_id: str = Field(foreign_key="user_account.id", primary_key=True, ondelete="CASCADE")
    secret: str | None = None
    """Sealed; None until its first code has come."""
    pending: str | None = None
    """Sealed; one that was shown, and replaces `secret` with its first code."""
    pending_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_step: int | None = Field(default=None, sa_type=BIG)
    """Of the last code that was taken: none of it and before is taken again."""
    wrong: int = 0
    """Wrong codes in a row."""
    locked_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    confirmed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


# --- Codes ----------------------------------------------------------------------------------


def step_of(secret: str, code: str, at: float) -> int | None:
    """Which step around `at` (Unix time) `code` is of; None: it is wrong. `secret`: base32."""
    import pyotp

    if len(code) != DIGITS or not code.isascii() or not code.isdigit():
        return None
    app, step = pyotp.TOTP(secret, digits=DIGITS, interval=PERIOD), int(at) // PERIOD
    for near in AROUND:
        if hmac.compare_digest(app.generate_otp(step + near), code):
            return step + near
    return None


def seal(master: MasterKey, user_id: str, secret: str) -> str:
    return master.encrypt(f"totp {user_id} {secret}".encode())


def unseal(master: MasterKey, user_id: str, sealed: str) -> str:
    """`SettingsError` where it was encrypted under another key, or for another user."""
    what, whose, secret = master.decrypt(sealed).decode().split(" ")
    if (what, whose) != ("totp", user_id):
        raise SettingsError(f"the one-time secret of user {user_id} is another's")
    return secret


_MINE = col(Totp.user_id) == bindparam("user_id")
_OPEN = or_(
    col(Totp.locked_until).is_(None), col(Totp.locked_until) <= value_of(Totp.locked_until, "now")
)


def _count() -> Any:
    wrong: Any = col(Totp.wrong)
    return (
        update(Totp)
        .where(_MINE, col(Totp.secret).is_not(None), _OPEN)
        .values({wrong: wrong + 1})
        .returning(col(Totp.secret), wrong)
    )


_COUNT = Statement(_count)
_LOCKED = Statement(
    lambda: select_of(Totp.locked_until).where(_MINE, col(Totp.secret).is_not(None))
)
_TAKE = Statement(
    lambda: (
        update(Totp)
        .where(
            _MINE,
            or_(
                col(Totp.last_step).is_(None),
                col(Totp.last_step) < value_of(Totp.last_step, "step"),
            ),
        )
        .values(
            {
                Totp.last_step: bindparam("step"),
                Totp.last_used_at: bindparam("now"),
                Totp.wrong: 0,
                Totp.locked_until: None,
            }
        )
    )
)
_LOCK = Statement(lambda: update(Totp).where(_MINE).values({Totp.locked_until: bindparam("until")}))
_FORGIVE = Statement(
    lambda: update(Totp).where(_MINE).values({Totp.wrong: 0, Totp.locked_until: None})
)


def prove(
    work: Work, master: MasterKey, throttle: ThrottleSettings, user_id: str, code: str
) -> bool:
    """Whether `code` is good, and is now used: true once. `TooManyRequests` while too many were
    wrong, and then whatever the code. The caller commits either way."""
    whose, at = {"user_id": user_id}, utcnow()
    counted = execute(work, _COUNT, {**whose, "now": at}).fetchall()
    if not counted:
        _refuse_locked(work, user_id)
        return False
    sealed, wrong = counted[0]
    step = step_of(unseal(master, user_id, sealed), code, now())
    if step is not None and execute(work, _TAKE, {**whose, "step": step, "now": at}).rowcount == 1:
        return True
    over = wrong - throttle.login_max_failures
    if over >= 0:
        longer = throttle.login_lockout * 2 ** min(over, 16)
        execute(work, _LOCK, {**whose, "until": at + min(longer, LONGEST_LOCK)})
    return False


def forgive(work: Work, user_id: str) -> None:
    """Forget what was wrong: the user has shown otherwise who they are."""
    execute(work, _FORGIVE, {"user_id": user_id})


def _refuse_locked(work: Work, user_id: str) -> None:
    rows = execute(work, _LOCKED, {"user_id": user_id}).fetchall()
    if rows and rows[0][0] is not None:
        left = (moment(rows[0][0]) - utcnow()).total_seconds()
        raise TooManyRequests(math.ceil(left), audit="too many wrong codes")


# --- Setting it up --------------------------------------------------------------------------


class Enrolment(NamedTuple):
    """What an app has to be told, shown to its user alone."""

    secret: str
    """Base32, 160 bits."""
    uri: str
    """For a QR code."""
    expires_at: datetime


def begin(session: Session, master: MasterKey, issuer: str, user: User) -> Enrolment:
    """A new secret, which counts once `confirm` has seen a code of it. The user's row is locked."""
    import pyotp

    secret, ends = pyotp.random_base32(), utcnow() + TO_CONFIRM
    row = session.get(Totp, user.id) or Totp(user_id=user.id)
    row.pending, row.pending_until = seal(master, user.id, secret), ends
    session.add(row)
    session.flush()
    return Enrolment(secret, _uri(secret, issuer, user.username), ends)


def waiting(session: Session, master: MasterKey, issuer: str, user: User) -> Enrolment | None:
    """The secret that waits for its first code."""
    row = session.get(Totp, user.id)
    if row is None or row.pending is None or row.pending_until is None:
        return None
    if row.pending_until <= utcnow():
        return None
    secret = unseal(master, user.id, row.pending)
    return Enrolment(secret, _uri(secret, issuer, user.username), row.pending_until)


def confirm(session: Session, enrolment: Enrolment, user: User, code: str) -> bool:
    """Whether `code` is of the secret that waits, which then counts; the code is used. The user's
    row has been locked since before `waiting`."""
    step = step_of(enrolment.secret, code, now())
    if step is None:
        return False
    row = session.get(Totp, user.id)
    assert row is not None
    row.secret, row.pending, row.pending_until = row.pending, None, None
    row.last_step, row.wrong, row.locked_until = step, 0, None
    row.confirmed_at, row.last_used_at = utcnow(), None
    session.add(row)
    session.flush()
    return True


def find(session: Session, user_id: str) -> Totp | None:
    """What counts of this user."""
    row = session.get(Totp, user_id)
    return row if row is not None and row.secret is not None else None


def locked_until(row: Totp) -> datetime | None:
    """Until when no code of it is taken."""
    ends = row.locked_until
    return ends if ends is not None and ends > utcnow() else None


def sealed(session: Session) -> list[str]:
    """Everything that is encrypted under the master key."""
    pairs = session.exec(select(Totp.secret, Totp.pending)).all()
    return [text for pair in pairs for text in pair if text is not None]


def remove(session: Session, user_id: str) -> None:
    row = session.get(Totp, user_id)
    if row is not None:
        session.delete(row)
        session.flush()


def _uri(secret: str, issuer: str, username: str) -> str:
    import pyotp

    said = pyotp.TOTP(secret, digits=DIGITS, interval=PERIOD)
    return said.provisioning_uri(name=username, issuer_name=urlsplit(issuer).netloc)


# --- The master key -------------------------------------------------------------------------


def check(session: Session, master: MasterKey) -> None:
    """`SettingsError` where the secrets of those who have been here longest cannot be read."""
    oldest = select(Totp).where(col(Totp.secret).is_not(None)).order_by(Totp.user_id).limit(5)
    for row in session.exec(oldest):
        unseal(master, row.user_id, row.secret or "")


def reencrypt(session: Session, master: MasterKey) -> int:
    """Bring every secret under the newest master key; how many there were."""
    count, last = 0, ""
    while True:
        some = select(Totp).where(col(Totp.user_id) > last).order_by(Totp.user_id).limit(SOME)
        rows = session.exec(some.with_for_update()).all()
        for row in rows:
            for name in ("secret", "pending"):
                if sealed := getattr(row, name):
                    setattr(row, name, master.reencrypt(sealed))
                    count += 1
            last = row.user_id
        session.flush()
        if len(rows) < SOME:
            return count
