"""Proving a user by password: the same steps, answer and time for whoever it is not.

The caller has awaited `feed.catch_up()`.

Used wherever a password is typed. The order matters: what can be refused without hashing is
refused first, nothing is written before the hash has been compared, and the write that follows
holds only if the user is still what was compared.
"""

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

from sqlalchemy import bindparam, case, null, update
from sqlmodel import col

from identity.authentication.passwords.fair import Asked
from identity.authentication.passwords.hashing import PasswordHasher
from identity.authentication.passwords.pool import HashingPool
from identity.authentication.passwords.preparing import prepare
from identity.authentication.throttle import Attempt, Throttle, account_key
from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.directory.hashes import kinds
from identity.directory.hashes.recognising import recognise
from identity.directory.users import names
from identity.directory.users.table import LoginName, Status, User
from identity.errors import InvalidGrant, InvalidRequest, LockedDown, TooManyRequests
from identity.records import audit
from identity.records.audit import AuditQueue
from identity.records.audit.origins import network_of
from identity.records.metrics import Metrics
from identity.store import (
    Database,
    Statement,
    Work,
    changes,
    deadlines,
    execute,
    moment,
    select_of,
    value_of,
)
from identity.store.remembered import Remembered
from identity.tokens import lockdown
from identity.tokens.lockdown import Lockdowns

T = TypeVar("T")

WRONG = "the username or password is wrong"
LONGEST = 512
"""Characters of what may name a user. No name is that long, however it is typed."""


_ACCOUNT = Statement(
    lambda: (
        select_of(
            User.id,
            User.username,
            User.email,
            User.status,
            User.password_hash,
            User.must_change_password,
            User.version,
            User.password_expires_at,
            User.second_factor,
            User.deletion_due_at,
        )
        .join_from(LoginName, User)
        .where(col(LoginName.name) == bindparam("name"))
    )
)


def _note() -> Any:
    same = col(User.password_hash) == bindparam("compared")
    better = value_of(User.password_hash, "better")
    return (
        update(User)
        .where(
            col(User.id) == bindparam("id"),
            col(User.status) == "active",
            same | (col(User.version) == bindparam("version")),
        )
        .values(
            {
                User.last_login_at: bindparam("now"),
                User.deletion_due_at: null(),
                User.password_hash: case((same, better), else_=col(User.password_hash)),
            }
        )
    )


_NOTE = Statement(_note)
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
    password_expires_at: datetime | None
    second_factor: bool
    """Whether one is due beside the password."""
    deletion_due_at: object = None
    """When the account is to be deleted, as its user wished; whoever logs in wishes it no more."""


Due = Literal["new password", "second factor"]


def due(user: Account) -> Due | None:
    """What the right password is not enough without. Whoever has to change it first gets nothing
    but that said."""
    if user.must_change_password:
        return "new password"
    return "second factor" if user.second_factor else None


@dataclass(frozen=True)
class Proven:
    """A user who gave the right password; nothing has been written yet."""

    user: Account
    attempt: Attempt
    better_hash: str | None
    """The password under today's scheme and cost, where the stored hash was weaker."""


class NotedLockedDown(LockedDown):
    """On record as a refused login, before anything else was written."""

    commits = True


@dataclass(frozen=True)
class PasswordLogin:
    db: Database
    hasher: PasswordHasher
    pool: HashingPool
    throttle: Throttle
    kinds: Remembered[tuple[str, ...]]
    """Those of all stored hashes (`hashes.kinds`)."""
    lockdowns: Lockdowns
    queue: AuditQueue
    metrics: Metrics

    async def prove(self, login: str, password: str) -> Proven:
        """Raises `InvalidRequest` for what cannot be a password, `TooManyRequests`,
        `Overloaded`, and `InvalidGrant` alike for an unknown user, a disabled one and a wrong
        password. During a lockdown `LockedDown` for all of these, and for the right password of
        whoever may not lift it."""
        if len(login) > LONGEST:  # to normalise all of it could take seconds
            login = f"{login[:LONGEST]}…"
        asked = await self._ask(login)  # in a flood most are refused here, at next to no cost
        try:
            prepare(password)
        except ValueError as refusal:
            raise InvalidRequest(str(refusal)) from None
        stored = self.kinds.at_hand("*") or await self.kinds.get("*") or ()
        with self.throttle.attempt(login, audit.origin.get().address) as attempt:
            try:
                await attempt.check(self.db)
                asked.known = attempt.known
                user = await self.find(login)
                why = self.why_not(user)
                compare = partial(self._compare, attempt, user, why, password, stored)
                proven = await self._hash(asked, compare)
            except TooManyRequests as locked:
                await self._note_locked(login, locked)
                raise
            if proven is None:
                why = why or "wrong password"
                counted = user is None and self.queue.counted("login", {"why": why})
                noted = None if counted else {"login": names.as_typed(login), "why": why}
                await self.db.write_plain(lambda w: self._note_failure(w, attempt, user, noted))
                self.metrics.login("refused")
                if (await lockdown.now_in_force(self.lockdowns)).active:
                    raise LockedDown(audit=why)
                raise InvalidGrant(WRONG, audit=why)
            if (await lockdown.now_in_force(self.lockdowns)).active:
                found = proven.user
                await self.db.write_plain(lambda work: self.admit(work, found))
        return proven

    def settle(self, work: Work, proven: Proven) -> None:
        """Take the attempt back and note the login, in the unit of work that grants something.

        Raises `InvalidGrant` if the user was disabled or got another password meanwhile: the
        conditional write makes a login and such a change queue up. `LockedDown`.
        """
        user = proven.user
        self.admit(work, user)
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
        if user.deletion_due_at is not None:
            audit.record(work, "user.deletion_undone", subject=user.id)
        if proven.better_hash is not None:
            kinds.note(work, proven.better_hash)
        changes.record(work, "user.changed", user.id)

    def admit(self, work: Work, user: Account) -> None:
        """As the database has it: comparing has taken a while. `LockedDown`, and then that is
        noted: first of all in a unit of work that writes something before `settle`."""
        try:
            lockdown.admit(work, user.id)
        except LockedDown:
            self.metrics.login("refused")
            audit.record(work, "login", outcome="refused", subject=user.id, why="lockdown")
            raise NotedLockedDown from None

    async def hash(self, login: str, password: str) -> str:
        """What to store of a new password for `login`, whoever sets it. It takes its turn among the
        logins: `Overloaded`."""
        return await self._hash(await self._ask(login, "new"), partial(self.hasher.hash, password))

    async def is_of(self, user: Account, password: str) -> bool:
        """Whether this is the password that `user` has, asked by `user` themselves: no attempt to
        log in, and not counted. `ValueError` for what is no password at all."""
        stored = self.kinds.at_hand("*") or await self.kinds.get("*") or ()
        asked = await self._ask(user.username, "new")
        verify = partial(self.hasher.verify, prepare(password), user.password_hash or "", stored)
        return (await self._hash(asked, verify)).ok

    async def _hash(self, asked: Asked, job: Callable[[], T]) -> T:
        result = await self.pool.run(asked, job)
        deadlines.resumed()
        return result

    def _ask(self, login: str, what: str = "") -> Awaitable[Asked]:
        """`what`: does not count among the account's logins."""
        account = f"{what}\n{account_key(login)}"
        return self.pool.ask(account, network_of(audit.origin.get().address))

    def given_before(self, user: Account, login: str) -> Proven:
        """Of a user whose password was found right a moment ago, for `settle`."""
        return Proven(user, self.throttle.attempt(login, audit.origin.get().address), None)

    async def find(self, login: str) -> Account | None:
        """Whom this name logs in. By the driver: SQLAlchemy would hold up the event loop for two
        milliseconds."""
        rows = await self.db.query(_ACCOUNT, {"name": names.login_key(login)})
        if not rows:
            return None
        found = Account(*rows[0])
        if (expires := found.password_expires_at) is not None:
            found = found._replace(password_expires_at=moment(expires))
        return found

    def why_not(self, user: Account | None) -> str | None:
        """Why the right password would not do; for the audit, and administrators who ask."""
        if user is None:
            return "unknown user"
        if user.status != "active":
            return "disabled"
        expires = user.password_expires_at if user.must_change_password else None
        if expires and expires <= utcnow():
            return "one-time password expired"
        if user.password_hash is None:
            return "no password"
        return None if recognise(user.password_hash) else "unreadable password hash"

    def _compare(
        self,
        attempt: Attempt,
        user: Account | None,
        why_not: str | None,
        password: str,
        stored: Collection[str],
    ) -> Proven | None:
        """In a hashing thread. `why_not`: the user cannot log in, whatever the password."""
        with attempt.turn():
            if user is None or user.password_hash is None or why_not is not None:
                self.hasher.dummy(password, stored)
                attempt.wrong = True
                return None
            verdict = self.hasher.verify(password, user.password_hash, stored)
            attempt.wrong = not verdict.ok
            if not verdict.ok:
                return None
        better = self.hasher.hash(password) if verdict.rehash else None
        return Proven(user, attempt, better)

    def _note_failure(
        self, work: Work, attempt: Attempt, user: Account | None, noted: dict[str, str] | None
    ) -> None:
        """`noted`: what the event says, None where there is none."""
        attempt.failed(work, user.id if user else None)
        if noted is not None:
            subject = user.id if user else None
            audit.record(work, "login", outcome="refused", subject=subject, **noted)

    async def _note_locked(self, login: str, locked: TooManyRequests) -> None:
        """Comes cheap to whoever guesses, and so would fill the disk."""
        self.metrics.login("locked")
        user = await self.find(login)
        subject = user.id if user else None
        typed = names.as_typed(login)
        self.queue.refused("login", {"why": str(locked.audit)}, subject=subject, login=typed)
