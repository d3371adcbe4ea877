"""Proving a user by passkey: alone, or beside the password.

The caller has awaited `feed.catch_up()`. What is asked for and what is answered are tied by the
challenge alone, so nothing is kept in between; nothing is written before a signature has been found
right.
"""

import asyncio
from importlib import import_module
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, func, or_, update
from sqlmodel import col

from identity.authentication import leaving
from identity.authentication.levels import Proof, by_passkey
from identity.authentication.passkeys import ceremonies
from identity.authentication.passkeys.ceremonies import Answer, Options, Signed
from identity.authentication.passkeys.challenges import Challenges
from identity.authentication.passkeys.errors import (
    DoubtedPasskey,
    PasskeyRefused,
    UnknownPasskey,
)
from identity.authentication.passkeys.relying import RelyingParty
from identity.authentication.passkeys.table import Passkey, descriptor
from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.directory.users.table import User
from identity.records import audit
from identity.store import (
    Database,
    Statement,
    Work,
    changes,
    document,
    execute,
    select_of,
    value_of,
)

SIGN = "sign"
"""What challenges are made for here."""

_FIND = Statement(
    lambda: (
        select_of(
            Passkey.id,
            Passkey.user_id,
            Passkey.public_key,
            Passkey.backup_eligible,
            Passkey.doubted_at,
            User.username,
            User.status,
        )
        .join_from(Passkey, User, col(User.id) == col(Passkey.user_id))
        .where(col(Passkey.credential_id) == bindparam("credential_id"))
    )
)
_OF_USER = Statement(
    lambda: (
        select_of(Passkey.credential_id, Passkey.transports)
        .where(
            col(Passkey.user_id) == bindparam("user_id"),
            col(Passkey.rp_id) == bindparam("rp_id"),
            col(Passkey.doubted_at).is_(None),
        )
        .order_by(col(Passkey.id))
    )
)


def _use() -> Any:
    before, count = col(Passkey.sign_count), value_of(Passkey.sign_count, "count")
    return (
        update(Passkey)
        .where(
            col(Passkey.id) == bindparam("id"),
            col(Passkey.doubted_at).is_(None),
            or_(before < count, and_(before == 0, count == 0)),
        )
        .values(
            {
                Passkey.sign_count: bindparam("count"),
                Passkey.backed_up: bindparam("backed_up"),
                Passkey.last_used_at: bindparam("now"),
            }
        )
    )


_USE = Statement(_use)
_DOUBT = Statement(
    lambda: (
        update(Passkey)
        .where(col(Passkey.id) == bindparam("id"))
        .values(
            {
                Passkey.sign_count: bindparam("count"),
                Passkey.doubted_at: func.coalesce(
                    col(Passkey.doubted_at), value_of(Passkey.doubted_at, "now")
                ),
            }
        )
    )
)
_LOG_IN = Statement(
    lambda: (
        update(User)
        .where(col(User.id) == bindparam("id"), col(User.status) == "active")
        .values({User.last_login_at: bindparam("now")})
    )
)


class Known(NamedTuple):
    """A passkey and its user, as far as proving looks at them."""

    id: str
    user_id: str
    public_key: str
    backup_eligible: bool
    doubted_at: Any
    username: str
    status: str


@dataclass(frozen=True)
class Shown:
    """A user who has shown a passkey of theirs; nothing but the challenge is written yet."""

    passkey_id: str
    user_id: str
    username: str
    said: Signed

    def proof(self, *, password: bool = False) -> Proof:
        """`password`: was given beside it."""
        return by_passkey(in_one_device=not self.said.backup_eligible, password=password)


@dataclass(frozen=True)
class Passkeys:
    db: Database
    party: RelyingParty
    challenges: Challenges

    @property
    def possible(self) -> bool:
        return self.party.possible

    def ask(self, whose: str) -> Options:
        """For anybody's, whom it tells us. `whose`: the browser's cookie, or the client, that the
        answer has to come from."""
        return ceremonies.to_sign(self.party, self.challenges.make(SIGN, whose))

    async def ask_of(self, whose: str, user_id: str) -> Options:
        """For one of this user's, who has proved who they are otherwise: it says which there are:
        all that let them in."""
        rows = await self.db.query(_OF_USER, {"user_id": user_id, "rp_id": self.party.id})
        allowed = [descriptor(id_, document(transports)) for id_, transports in rows]
        return ceremonies.to_sign(self.party, self.challenges.make(SIGN, whose), allowed)

    async def show(self, text: str, whose: str, user_id: str | None = None) -> Shown:
        """Who has answered, rightly and for the first time. `user_id`: who it has to be, where that
        is known. Raises `PasskeyRefused`."""
        if not self.possible:
            raise PasskeyRefused("passkeys are not possible here")
        answer = ceremonies.read(text)
        self.challenges.check(answer.challenge, SIGN, whose)
        rows = await self.db.query(_FIND, {"credential_id": answer.credential_id})
        if not rows:
            raise UnknownPasskey(answer.credential_id)
        known = Known(*rows[0])
        try:
            return await self._check(answer, known, user_id)
        except PasskeyRefused as refusal:
            refusal.user_id = known.user_id
            raise

    async def _check(self, answer: Answer, known: Known, user_id: str | None) -> Shown:
        if known.status != "active":
            raise PasskeyRefused("disabled")
        _check_owner(answer, known.user_id, user_id)
        await loaded()
        said = ceremonies.check_signed(self.party, answer, known.public_key)
        if said.backup_eligible != bool(known.backup_eligible):
            raise PasskeyRefused("it may be copied now, or no longer: that never changes")
        await self.challenges.use(answer.challenge)
        if known.doubted_at is not None:
            raise DoubtedPasskey("its counter fell before")
        return Shown(known.id, known.user_id, known.username, said)

    def settle(self, work: Work, shown: Shown) -> None:
        """Take note of its use. `DoubtedPasskey` where the counter fell, and then that is noted;
        the unit of work that this is part of is committed then too."""
        said, at = shown.said, utcnow()
        values = {"id": shown.passkey_id, "count": said.sign_count, "now": at}
        if execute(work, _USE, values | {"backed_up": said.backed_up}).rowcount == 1:
            return
        if execute(work, _DOUBT, values).rowcount == 1:
            audit.record(
                work, "passkey.doubted", outcome="refused", subject=shown.user_id,
                passkey=shown.passkey_id, sign_count=said.sign_count,
            )  # fmt: skip
            raise DoubtedPasskey("its counter fell")
        raise PasskeyRefused("removed a moment ago")

    def log_in(self, work: Work, shown: Shown) -> None:
        """`settle`, of a login by passkey alone."""
        self.settle(work, shown)
        if execute(work, _LOG_IN, {"id": shown.user_id, "now": utcnow()}).rowcount != 1:
            raise PasskeyRefused("disabled a moment ago")
        if not leaving.undo(work, shown.user_id):  # which is told of already
            changes.record(work, "user.changed", shown.user_id)


def _check_owner(answer: Answer, owner: str, user_id: str | None) -> None:
    """§7.2 step 6."""
    if user_id is not None and owner != user_id:
        raise PasskeyRefused("another user's passkey")
    if answer.user_handle != owner and (user_id is None or answer.user_handle is not None):
        raise PasskeyRefused("it says that it is another user's")


async def loaded() -> None:
    """`webauthn`, which is imported in a thread when somebody first shows a passkey."""
    await asyncio.sleep(0)  # a thread is waited for in a task (`wire.eager`)
    await asyncio.to_thread(import_module, "webauthn")
