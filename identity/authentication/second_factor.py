"""The second factor, whichever it is: a code beside the password, and who may have which.

Nobody is asked for it, or told that there is one, before they have given the right password. A
recovery code is known by its length; every other code is one by the clock.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import bindparam, exists, select
from sqlmodel import Session, col

from identity.authentication import recovery, totp
from identity.authentication.password import WRONG
from identity.authentication.recovery import RecoveryCode
from identity.authentication.totp import Enrolment, Totp
from identity.directory.access.authority import Held
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.errors import (
    Conflict,
    InvalidGrant,
    NotFound,
    SecondFactorRequired,
    TooManyRequests,
    ValidationFailed,
)
from identity.keys.master import MasterKey
from identity.records import audit
from identity.records.audit import AuditQueue
from identity.records.metrics import Metrics
from identity.settings import Settings
from identity.store import Database, Statement, Work
from identity.tokens.sessions import lifecycle

Kind = Literal["totp", "recovery_code"]
LONGEST_OF_CLOCK = 8
"""Characters of what is taken for a code by the clock."""


class WrongCode(InvalidGrant):
    """Says no more than of a wrong password."""

    def __init__(self) -> None:
        super().__init__(WRONG, audit="wrong code")


def _kinds() -> Any:
    of_clock = exists().where(
        col(Totp.user_id) == bindparam("user_id"), col(Totp.secret).is_not(None)
    )
    of_recovery = exists().where(
        col(RecoveryCode.user_id) == bindparam("user_id"), col(RecoveryCode.used_at).is_(None)
    )
    return select(of_clock, of_recovery)


_KINDS = Statement(_kinds)


@dataclass(frozen=True)
class SecondFactor:
    db: Database
    master: MasterKey
    settings: Settings
    queue: AuditQueue
    metrics: Metrics

    async def kinds(self, user_id: str) -> list[Kind]:
        """What the user can give, strongest first."""
        ((of_clock, of_recovery),) = await self.db.query(_KINDS, {"user_id": user_id})
        kinds: list[Kind] = []
        if of_clock:
            kinds.append("totp")
        if of_recovery:
            kinds.append("recovery_code")
        return kinds

    async def required(self, user_id: str, client_id: str | None) -> SecondFactorRequired:
        """What to tell a program whose user gave the right password and nothing else."""
        self.queue.refused(
            "login", {"why": "second factor needed"}, subject=user_id, client_id=client_id
        )
        words = "a second factor is needed: send its code as otp"
        return SecondFactorRequired(words, factors=await self.kinds(user_id))

    def prove(self, work: Work, user_id: str, code: str) -> Kind:
        """Which kind `code` is of, which is now used. `WrongCode`, `TooManyRequests`; the unit of
        work that this is part of is committed then too."""
        text = recovery.typed(code)
        if len(text) <= LONGEST_OF_CLOCK:
            if totp.prove(work, self.master, self.settings.throttle, user_id, text):
                return "totp"
        elif recovery.spend(work, user_id, text):
            totp.forgive(work, user_id)
            audit.record(work, "recovery_code.used", subject=user_id)
            return "recovery_code"
        raise WrongCode

    @contextmanager
    def refusals_noted(self, user_id: str, client_id: str | None = None) -> Iterator[None]:
        """Around the unit of work of `prove`: what it refuses comes on record."""
        try:
            yield
        except (WrongCode, TooManyRequests) as refusal:
            self.metrics.login("refused" if isinstance(refusal, WrongCode) else "locked")
            why = {"why": str(refusal.audit)}
            self.queue.refused("login", why, subject=user_id, client_id=client_id)
            raise

    # --- Whoever owns them ------------------------------------------------------------------
    # Each is part of the caller's unit of work, which has locked the user's row.

    def begin_totp(self, session: Session, user: User) -> Enrolment:
        return totp.begin(session, self.master, self.settings.issuer, user)

    def waiting_totp(self, session: Session, user: User) -> Enrolment | None:
        return totp.waiting(session, self.master, self.settings.issuer, user)

    def confirm_totp(self, session: Session, user: User, code: str) -> list[str] | None:
        """The secret that waits counts from now on. Recovery codes, where it is the first factor.
        `Conflict` where none waits, `ValidationFailed` for a wrong code."""
        enrolment = self.waiting_totp(session, user)
        if enrolment is None:
            raise Conflict("no secret waits to be confirmed: begin again")
        if not totp.confirm(session, enrolment, user, recovery.typed(code)):
            raise ValidationFailed([("/code", "The code is wrong. Is the clock of the app right?")])
        first = not user.second_factor
        user.second_factor = True
        accounts.touch(session, user)
        audit.record(session, "factor.added", subject=user.id, kind="totp", replaces=not first)
        return recovery.renew(session, user.id) if first else None


def renew_recovery(session: Session, user: User) -> list[str]:
    """Ten new codes. `Conflict` where there is nothing to recover."""
    if not user.second_factor:
        raise Conflict("recovery codes are for who has another second factor")
    return recovery.renew(session, user.id)


def remove_totp(session: Session, user: User) -> None:
    """It was the last: the password is enough again. `NotFound` where there is none."""
    if totp.find(session, user.id) is None:
        raise NotFound("no authenticator app is set up")
    _forget(session, user)
    audit.record(session, "factor.removed", subject=user.id, kind="totp")


def reset(session: Session, user: User, held: Held, reason: str | None) -> int:
    """By an administrator, for whoever has lost theirs: the password is enough again, and all
    sessions end; how many. `NotFound` where there is none."""
    accounts.guard(session, user, held)
    if not user.second_factor:
        raise NotFound("the user has no second factor")
    _forget(session, user)
    audit.record(session, "factors.reset", subject=user.id, reason=reason)
    return lifecycle.end_all(session, "second factors reset", user_id=user.id)


def _forget(session: Session, user: User) -> None:
    totp.remove(session, user.id)
    recovery.remove(session, user.id)
    user.second_factor = False
    accounts.touch(session, user)
