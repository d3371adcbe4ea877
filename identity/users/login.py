"""Proving a user by password: the same steps, answer and time for whoever it is not.

Used wherever a password is typed. The order matters: what can be refused without hashing is
refused first, nothing is written before the hash has been compared, and the write that follows
holds only if the user is still what was compared.
"""

from dataclasses import dataclass

from sqlalchemy import update
from sqlmodel import Session, col

from identity import audit, changes
from identity.audit import AuditQueue
from identity.clock import utcnow
from identity.db import Database
from identity.errors import InvalidGrant, InvalidRequest, TooManyRequests
from identity.metrics import Metrics
from identity.passwords.hashing import PasswordHasher
from identity.passwords.pool import HashingPool
from identity.passwords.preparing import prepare
from identity.throttle import Attempt, Throttle
from identity.users import accounts
from identity.users.table import User

WRONG = "the username or password is wrong"
LONGEST = 512
"""Characters of what may name a user. No name is that long, however it is typed."""


@dataclass(frozen=True)
class Proven:
    """A user who gave the right password; nothing has been written yet."""

    user: User
    attempt: Attempt
    better_hash: str | None
    """The password under today's scheme and cost, where the stored hash was weaker."""


@dataclass(frozen=True)
class PasswordLogin:
    db: Database
    hasher: PasswordHasher
    pool: HashingPool
    throttle: Throttle
    queue: AuditQueue
    metrics: Metrics

    async def prove(self, login: str, password: str) -> Proven:
        """Raises `InvalidRequest` for what cannot be a password, `TooManyRequests`,
        `Overloaded`, and `InvalidGrant` alike for an unknown user, a disabled one and a wrong
        password."""
        self.pool.check_room()  # in a flood most are refused, at next to no cost
        try:
            prepare(password)
        except ValueError as refusal:
            raise InvalidRequest(str(refusal)) from None
        if len(login) > LONGEST:  # to normalise all of it could take seconds
            login = f"{login[:LONGEST]}…"
        with self.throttle.attempt(login, audit.origin.get().address) as attempt:
            try:
                user = await self.db.read(lambda s: self._admit(s, attempt, login))
                proven = await self.pool.run(self._compare, attempt, user, password)
            except TooManyRequests as locked:
                self.metrics.login("locked")
                self.queue.put("login", outcome="refused", login=login[:100], why=locked.audit)
                raise
            if proven is None or proven.user.status != "active":
                await self.db.write(lambda s: self._note_failure(s, attempt, user, login))
                self.metrics.login("refused")
                raise InvalidGrant(WRONG, audit=_why(user))
        return proven

    def settle(self, session: Session, proven: Proven) -> None:
        """Take the attempt back and note the login, in the unit of work that grants something.

        Raises `InvalidGrant` if the user was disabled or got another password meanwhile: the
        conditional write makes a login and such a change queue up.
        """
        user = proven.user
        noted = session.execute(
            update(User)
            .where(
                col(User.id) == user.id,
                col(User.status) == "active",
                col(User.password_hash) == user.password_hash,
            )
            .values(
                last_login_at=utcnow(),
                password_hash=proven.better_hash or user.password_hash,
            )
        )
        if noted.rowcount != 1:  # type: ignore[attr-defined]
            why = "changed while the password was compared"
            audit.record(session, "login", outcome="refused", subject=user.id, why=why)
            raise InvalidGrant(WRONG, audit=why)
        proven.attempt.succeeded(session)
        changes.record(session, "user.changed", user.id)

    def _admit(self, session: Session, attempt: Attempt, login: str) -> User | None:
        attempt.check(session)
        return accounts.find_by_login(session, login)

    def _compare(self, attempt: Attempt, user: User | None, password: str) -> Proven | None:
        """In a hashing thread. What comes back is right; it may be of a disabled user."""
        with attempt.turn():
            if user is None or user.password_hash is None:
                self.hasher.dummy(password)
                attempt.wrong = True
                return None
            verdict = self.hasher.verify(password, user.password_hash)
            attempt.wrong = not verdict.ok or user.status != "active"
            if not verdict.ok:
                return None
        better = self.hasher.hash(password) if verdict.rehash else None
        return Proven(user, attempt, better)

    def _note_failure(
        self, session: Session, attempt: Attempt, user: User | None, login: str
    ) -> None:
        attempt.failed(session)
        audit.record(
            session, "login", outcome="refused", subject=user.id if user else None,
            login=login[:100], why=_why(user),
        )  # fmt: skip


def _why(user: User | None) -> str:
    if user is None:
        return "unknown user"
    return "disabled" if user.status != "active" else "wrong password"
