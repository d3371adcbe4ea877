"""The single gate, fed with the service's own keys, and what is still alive behind it.

A token that has passed once is remembered with the state it hangs on: its session, its own
revocation. The change feed keeps that state true, so a known token costs no query.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import NamedTuple, Protocol, TypeVar

from sqlalchemy import bindparam, exists, select
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session as DatabaseSession
from sqlmodel import col

from identity.clock import now, utcnow
from identity.directory.access.granting import ACCOUNT
from identity.directory.clients.registry import Clients, ClientSnapshot
from identity.directory.users.snapshot import UserSnapshot
from identity.keys.ring import KeyRing
from identity.settings import Settings
from identity.store import Database, Statement, changes, delete_some
from identity.store.changes import ChangeFeed
from identity.store.remembered import Lookups, Remembered
from identity.tokens import exchanged
from identity.tokens.known import Known, KnownTokens, session_of
from identity.tokens.sessions.table import LoginSession
from identity.tokens.status.questions import ENDED
from identity.tokens.status.table import block_of, place_in
from identity.tokens.subjects import Subjects
from identity.tokens.table import RevokedToken
from identity.verifier.gate.claims import MAX_LEEWAY
from identity.verifier.gate.gate import Gate, Refused, VerificationKey, VerifiedClaims

Users = Remembered[UserSnapshot]
T = TypeVar("T")


class InARow(Protocol):
    """Awaited, gives what `work()` returns or raises; work of many may be done in a row."""

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]: ...


BY_PASSWORD = frozenset({"password", "refresh_token", "client_credentials"})
"""Grants by which a client acts for nobody who has not given it their password. Any other, and any
to come, is for people who have said what it may know."""

_STATE = Statement(
    lambda: select(
        exists().where(col(RevokedToken.jti) == bindparam("jti")),
        select(col(LoginSession.user_id))
        .where(col(LoginSession.id) == bindparam("sid"), col(LoginSession.ended_at).is_(None))
        .scalar_subquery(),
    )
)
"""Not whether the session has expired: no token outlives it (`minting`)."""


def own_gate(issuer: str, keys: Callable[[str], VerificationKey | None]) -> Gate:
    """For our own tokens: what a machine with a clock that is ahead has just issued is good."""
    return Gate(issuer, keys, audience=None, clock=now, skew=MAX_LEEWAY)


class Live(NamedTuple):
    """An access token that is good at this moment, and whose it is."""

    known: Known
    client: ClientSnapshot
    user: UserSnapshot | None
    """None for a client that acts for itself."""
    token: str
    """Its text, from which the claims are read again: the process keeps only their digest."""

    @property
    def claims(self) -> VerifiedClaims:
        return self.known.kept.unfold(self.token)

    @property
    def scopes(self) -> tuple[str, ...]:
        """What the token may do now: its own scopes, less what its client and user lost since."""
        own = self.claims.claims.get("scope", "").split()
        held = self.user.scopes if self.user else None
        return tuple(s for s in own if self.client.may_hold(s) and (held is None or s in held))

    @property
    def sees_account(self) -> bool:
        """Whether it may be told all about its user. To applications that people sign in to at our
        pages they say what each may know; whoever is given passwords knows it anyway."""
        client = self.client
        if client.settings.first_party or client.grants <= BY_PASSWORD:
            return True
        return ACCOUNT in self.scopes


class LiveTokens:
    def __init__(
        self,
        settings: Settings,
        db: Database,
        feed: ChangeFeed,
        ring: KeyRing,
        users: Users,
        clients: Clients,
        lookups: Lookups,
        in_a_row: InARow,
        subjects: Subjects,
    ) -> None:
        self._in_a_row = in_a_row
        self._subjects = subjects
        self._db = db
        self._feed = feed
        self._ring = ring
        self._users = users
        self._clients = clients
        self._lookups = lookups
        self._known = KnownTokens(settings.tokens.token_cache)
        self._changes = 0
        self.gate = own_gate(settings.issuer, ring.find)
        feed.listen("token", self._token_changed)
        feed.listen("session", self._session_changed)

    async def find(self, token: str) -> Live | None:
        """The token if it is alive: signed by us, in time, not revoked, its session, user,
        client and key in force. Reflects every commit that ended before the call. Raises
        `Unavailable` when the database cannot be asked; never for the token's sake."""
        await self._feed.catch_up()
        return await self.look(token)

    async def look(self, token: str) -> Live | None:
        """The same for a caller that has caught up since its request came."""
        if self._ring.stale:
            await self._ring.refresh()
        key = sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.find(key)
        if known is None:
            self._lookups.misses += 1
            known = await self._meet(key, token)
            if known is None:
                return None
        else:
            self._lookups.hits += 1
        if known.revoked or known.expires_at <= now():
            return None
        if known.session is not None and known.session.ended:
            return None
        return await self._with_owner(known, token)

    async def still(self, live: Live) -> Live | None:
        """The same in the middle of what was begun with it and takes its time: whether nobody has
        ended it since. That its time is over does not count."""
        await self._feed.catch_up()
        claims = live.claims
        asked = {"jti": claims.token_id, "sid": claims.session}
        ((revoked, user_id),) = await self._db.query(_STATE, asked)
        if revoked or (claims.session and user_id is None):
            return None
        return await self._with_owner(live.known, live.token)

    async def _with_owner(self, known: Known, token: str) -> Live | None:
        if self._ring.find(known.kid) is None:
            return None
        client = self._clients.at_hand(known.client_id)
        if client is None:
            client = await self._clients.get(known.client_id)
        if client is None or not client.active or known.issued_at < client.good_from:
            return None
        own = known.session is None and known.since != client.good_from
        if own and await self._ended_with(client, known, token):
            return None
        user = None
        if known.session is not None:
            user = self._users.at_hand(known.session.user_id)
            if user is None:
                user = await self._users.get(known.session.user_id)
            if user is None or not user.active:
                return None
            if known.subject != self._subjects.of(client, user.id):
                return None  # we say of nobody's session that it is another's
            if user.below:
                user = user.at(known.kept.unfold(token).claims.get("acr"))
        elif known.subject != known.client_id and not await self._principal_lives(known, token):
            return None
        return Live(known, client, user, token)

    async def _ended_with(self, client: ClientSnapshot, known: Known, token: str) -> bool:
        """Whether a client's own token died when the client was ended. Soon after `good_from`, by a
        clock that is ahead, may have been before it: the token's place knows."""
        good_from = client.good_from
        if known.issued_at <= good_from + MAX_LEEWAY:
            place = place_in(known.kept.unfold(token).claims)
            if place is not None:
                ((ended,),) = await self._db.query(ENDED, block_of(place))
                if ended:
                    known.revoked = True
        if self._feed.steady:
            known.since = good_from
        return known.revoked  # by whoever was quicker, too

    async def _principal_lives(self, known: Known, token: str) -> bool:
        """Of a token that one client got for another's own: whether that one is active, and may
        still do all that the token may."""
        principal = await self._clients.get(known.subject)
        if principal is None or not principal.active or known.issued_at < principal.good_from:
            return False
        return all(map(principal.may_hold, known.kept.unfold(token).scopes))

    async def _meet(self, key: bytes, token: str) -> Known | None:
        """Put a token never seen before through the gate, and ask once what it hangs on."""
        try:
            claims = await self._in_a_row(partial(self.gate.check, token))
        except Refused:
            return None
        before, jti, sid = self._changes, claims.token_id, claims.session
        if "\0" in f"{jti}{sid}{claims.subject}{claims.client_id}":
            return None  # nothing that we minted, and PostgreSQL cannot be asked about it
        ((revoked, user_id),) = await self._db.query(_STATE, {"jti": jti, "sid": sid})
        if revoked or (sid and user_id is None):
            return None
        if before != self._changes or not self._feed.steady:
            # Something was revoked while we read, or that was another history.
            return Known(claims, session_of(claims, user_id))
        return self._known.put(key, claims, user_id)

    def _token_changed(self, verb: str, ref: str) -> None:
        self._changes += 1
        if verb == "reset":
            self._known.clear()
        else:
            self._known.revoke(ref)

    def _session_changed(self, verb: str, ref: str) -> None:
        self._changes += 1
        if verb == "reset":
            self._known.clear()
        else:
            self._known.end(ref)


def revoke(session: DatabaseSession, claims: VerifiedClaims) -> None:
    """Revoke one access token; part of the caller's unit of work, safe to repeat."""
    expires_at = datetime.fromtimestamp(claims.expires_at, UTC)
    if claims.session is None:
        exchanged.hold(session, claims.subject)
        exchanged.revoke_children(session, claims.token_id)
    try:
        with session.begin_nested():
            session.add(
                RevokedToken(
                    jti=claims.token_id,
                    expires_at=expires_at,
                    status_index=place_in(claims.claims),
                )
            )
    except IntegrityError:
        return  # somebody else just did
    changes.record(session, "token.revoked", claims.token_id)


def prune(session: DatabaseSession) -> int:
    """Forget revocations of tokens that have expired since."""
    return delete_some(session, RevokedToken, col(RevokedToken.expires_at) < utcnow())
