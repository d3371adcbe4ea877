"""Proving a user by password: the same steps, answer and time for whoever it is not.

Used wherever a password is typed. The order matters: what can be refused without hashing is
refused first, nothing is written before the hash has been compared, and the write that follows
holds only if the user is still what was compared.
"""

from dataclasses import dataclass
from typing import NamedTuple

from identity.authentication.passwords.hashing import PasswordHasher
from identity.authentication.passwords.pool import HashingPool
from identity.authentication.passwords.preparing import prepare
from identity.authentication.throttle import Attempt, Throttle
from identity.clock import utcnow
from identity.directory.users import names
from identity.directory.users.table import Status
from identity.errors import InvalidGrant, InvalidRequest, TooManyRequests
from identity.records import audit
from identity.records.audit import AuditQueue
from identity.records.metrics import Metrics
from identity.store import Database, Work, changes, execute

WRONG = "the username or password is wrong"
LONGEST = 512
"""Characters of what may name a user. No name is that long, however it is typed."""


_ACCOUNT = """
SELECT u.id, u.username, u.email, u.status, u.password_hash, u.must_change_password, u.version
FROM login_name n JOIN user_account u ON u.id = n.user_id WHERE n.name = :name"""
_NOTE = """
UPDATE user_account SET
    last_login_at = :now,
    password_hash = CASE WHEN password_hash = :compared THEN :better ELSE password_hash END
WHERE id = :id AND status = 'active' AND (password_hash = :compared OR version = :version)"""
"""Another login may have given the same password a better hash: that alone leaves the version."""


class Account(NamedTuple):
    """What logging in takes of a user."""

    id: str
    username: str
    email: str | None
    status: Status
    password_hash: str | None
    must_change_password: bool
    version: int


@dataclass(frozen=True)
class Proven:
    """A user who gave the right password; nothing has been written yet."""

    user: Account
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
                await attempt.check(self.db)
                user = await self._find(login)
                proven = await self.pool.run(self._compare, attempt, user, password)
            except TooManyRequests as locked:
                self.metrics.login("locked")
                self.queue.put("login", outcome="refused", login=login[:100], why=locked.audit)
                raise
            if proven is None or proven.user.status != "active":
                await self.db.write_plain(lambda w: self._note_failure(w, attempt, user, login))
                self.metrics.login("refused")
                raise InvalidGrant(WRONG, audit=_why(user))
        return proven

    def settle(self, work: Work, proven: Proven) -> None:
        """Take the attempt back and note the login, in the unit of work that grants something.

        Raises `InvalidGrant` if the user was disabled or got another password meanwhile: the
        conditional write makes a login and such a change queue up.
        """
        user = proven.user
        values = {
            "id": user.id,
            "now": utcnow(),
            "compared": user.password_hash,
            "version": user.version,
            "better": proven.better_hash or user.password_hash,
        }
        if execute(work, _NOTE, values).rowcount != 1:
            why = "changed while the password was compared"
            audit.record(work, "login", outcome="refused", subject=user.id, why=why)
            raise InvalidGrant(WRONG, audit=why)
        proven.attempt.succeeded(work)
        changes.record(work, "user.changed", user.id)

    async def _find(self, login: str) -> Account | None:
        """By the driver: SQLAlchemy would hold up the event loop for two milliseconds."""
        rows = await self.db.query(_ACCOUNT, {"name": names.login_key(login)})
        return Account(*rows[0]) if rows else None

    def _compare(self, attempt: Attempt, user: Account | None, password: str) -> Proven | None:
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

    def _note_failure(self, work: Work, attempt: Attempt, user: Account | None, login: str) -> None:
        attempt.failed(work)
        audit.record(
            work, "login", outcome="refused", subject=user.id if user else None,
            login=login[:100], why=_why(user),
        )  # fmt: skip


def _why(user: Account | None) -> str:
    if user is None:
        return "unknown user"
    return "disabled" if user.status != "active" else "wrong password"
