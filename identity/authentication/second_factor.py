"""The second factor, whichever it is: a code or a passkey beside the password, and who has which.

Nobody is asked for it, or told that there is one, before they have given the right password. A
recovery code is known by its length; every other code is one by the clock.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal

from sqlalchemy import bindparam, exists, select
from sqlmodel import Session, col

from identity.authentication import recovery, totp
from identity.authentication.passkeys import keeping
from identity.authentication.passkeys.ceremonies import Made
from identity.authentication.passkeys.errors import PasskeyRefused
from identity.authentication.passkeys.relying import RelyingParty
from identity.authentication.passkeys.table import Passkey
from identity.authentication.password import WRONG
from identity.authentication.recovery import RecoveryCode
from identity.authentication.totp import Enrolment, Totp
from identity.dataclass import dataclass
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

Kind = Literal["passkey", "totp", "recovery_code"]
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
    of_passkeys = exists().where(
        col(Passkey.user_id) == bindparam("user_id"),
        col(Passkey.rp_id) == bindparam("rp_id"),
        col(Passkey.doubted_at).is_(None),
    )
    return select(of_passkeys, of_clock, of_recovery)


_KINDS = Statement(_kinds)


@dataclass(frozen=True)
class SecondFactor:
    db: Database
    master: MasterKey
    settings: Settings
    queue: AuditQueue
    metrics: Metrics

    @cached_property
    def party(self) -> RelyingParty:
        return RelyingParty.of(self.settings)

    async def kinds(self, user_id: str) -> list[Kind]:
        """What the user can give, strongest first."""
        whose = {"user_id": user_id, "rp_id": self.party.id}
        ((of_passkeys, of_clock, of_recovery),) = await self.db.query(_KINDS, whose)
        kinds: list[Kind] = []
        if of_passkeys and self.party.possible:
            kinds.append("passkey")
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
    def refusals_noted(self, user_id: str | None, client_id: str | None = None) -> Iterator[None]:
        """Around the unit of work of `prove`, or what looks at a passkey: what it refuses comes on
        record."""
        try:
            yield
        except (WrongCode, PasskeyRefused, TooManyRequests) as refusal:
            locked = isinstance(refusal, TooManyRequests)
            self.metrics.login("locked" if locked else "refused")
            if isinstance(refusal, PasskeyRefused):
                user_id = user_id or refusal.user_id
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
        replaces = totp.find(session, user.id) is not None
        if not totp.confirm(session, enrolment, user, recovery.typed(code)):
            raise ValidationFailed([("/code", "The code is wrong. Is the clock of the app right?")])
        audit.record(session, "factor.added", subject=user.id, kind="totp", replaces=replaces)
        return _added(session, user)

    def add_passkey(
        self, session: Session, user: User, made: Made, name: str
    ) -> tuple[Passkey, list[str] | None]:
        """It counts at once. With recovery codes, where it is the first factor. `Conflict` where
        there are too many, or somebody has it already; `ValidationFailed` for the name."""
        passkey = keeping.add(session, user.id, self.party.id, made, name)
        user.passkey = True
        return passkey, _added(session, user)


def renew_recovery(session: Session, user: User) -> list[str]:
    """Ten new codes. `Conflict` where there is nothing to recover."""
    if not user.second_factor:
        raise Conflict("recovery codes are for who has another second factor")
    return recovery.renew(session, user.id)


def remove_totp(session: Session, user: User) -> None:
    """Where it was the last, the password is enough again. `NotFound` where there is none."""
    if totp.find(session, user.id) is None:
        raise NotFound("no authenticator app is set up")
    totp.remove(session, user.id)
    audit.record(session, "factor.removed", subject=user.id, kind="totp")
    _removed(session, user)


def remove_passkey(session: Session, user: User, passkey_id: str) -> None:
    """As `remove_totp`."""
    keeping.remove(session, user.id, passkey_id)
    _removed(session, user)


def is_last(session: Session, passkey: Passkey) -> bool:
    """Whether the password would be enough without it."""
    alone = keeping.count(session, passkey.user_id) == 1
    return alone and totp.find(session, passkey.user_id) is None


def reset(session: Session, user: User, held: Held, reason: str | None) -> int:
    """By an administrator, for whoever has lost theirs: the password is enough again, and all
    sessions end; how many. `NotFound` where there is none."""
    accounts.guard(session, user, held)
    if not user.second_factor:
        raise NotFound("the user has no second factor")
    totp.remove(session, user.id)
    keeping.remove_all(session, user.id)
    _removed(session, user)
    audit.record(session, "factors.reset", subject=user.id, reason=reason)
    return lifecycle.end_all(session, "second factors reset", user_id=user.id)


def forget_all(session: Session, user: User, *, keep_app: bool) -> None:
    """What its user has lost is good no longer; the caller sets up something in its place, which
    counts as the first. `keep_app`: the secret that waits to be confirmed, and then replaces the
    one of before, stays."""
    if not keep_app:
        totp.remove(session, user.id)
    keeping.remove_all(session, user.id)
    recovery.remove(session, user.id)
    user.passkey = user.second_factor = False


def _added(session: Session, user: User) -> list[str] | None:
    first = not user.second_factor
    user.second_factor = True
    accounts.touch(session, user)
    return recovery.renew(session, user.id) if first else None


def _removed(session: Session, user: User) -> None:
    user.passkey = keeping.count(session, user.id) > 0
    user.second_factor = user.passkey or totp.find(session, user.id) is not None
    if not user.second_factor:
        recovery.remove(session, user.id)
    accounts.touch(session, user)
