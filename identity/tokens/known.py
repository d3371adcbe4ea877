"""Access tokens that have passed the gate once, remembered with what they hang on.

Bounded and compact: a token costs about two kilobytes. The least recently used go first.
"""

import sys
from collections import OrderedDict
from typing import Any

from identity.directory.clients.registry import ClientSnapshot
from identity.directory.users.snapshot import UserSnapshot
from identity.verifier.gate.claims import KeptClaims, VerifiedClaims


class Session:
    """A session as long as a token of it is remembered."""

    __slots__ = ("ended", "id", "tokens", "user_id")

    def __init__(self, sid: str, user_id: str) -> None:
        self.id = sid
        self.user_id = sys.intern(user_id)
        """Whose it is, by whatever name its tokens call them."""
        self.tokens = 0
        self.ended = False


class Known:
    """What a token says that is looked at on every request, and an answer made of it."""

    __slots__ = (
        "answer", "audience", "bound", "client_id", "expires_at", "forwarded", "issued_at", "jti",
        "kept", "kid", "revoked", "session", "since", "spellings", "subject", "told",
    )  # fmt: skip

    def __init__(self, claims: VerifiedClaims, session: Session | None) -> None:
        self.kept: KeptClaims = claims.keep()
        self.jti = claims.token_id
        self.kid = claims.kid
        self.client_id = sys.intern(claims.client_id)
        self.subject = sys.intern(claims.subject)
        self.audience = tuple(map(sys.intern, claims.audience))
        self.bound = claims.confirmation
        """What else whoever sends it has to prove (`cnf`)."""
        self.issued_at = claims.issued_at
        self.expires_at = claims.expires_at
        self.session = session
        self.revoked = False
        self.spellings = 0
        """One signature can be written in several ways; all of them are this token."""
        self.since: int | None = None
        """Of a client's own token: the client's `good_from` behind which it was found to be."""
        self.answer: tuple[UserSnapshot | None, ClientSnapshot, bytes, tuple[str, ...]] | None = (
            None
        )
        """What introspection says, before it the owners of whom it says so, behind it the audience
        that may hear it."""
        self.forwarded: Any = None
        """The same for a gateway that asks by forward-auth."""
        self.told: tuple[UserSnapshot, ClientSnapshot, bytes] | None = None
        """The same for `/userinfo`."""


def session_of(claims: VerifiedClaims, user_id: str | None) -> Session | None:
    """The session of a token that is not remembered."""
    sid = claims.session
    return None if sid is None or user_id is None else Session(sid, user_id)


class KnownTokens:
    def __init__(self, size: int) -> None:
        self._size = size
        self._spelled: OrderedDict[bytes, Known] = OrderedDict()
        self._tokens: dict[str, Known] = {}
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._spelled)

    def find(self, spelling: bytes) -> Known | None:
        """By the digest of the token's text."""
        known = self._spelled.get(spelling)
        if known is not None:
            self._spelled.move_to_end(spelling)
        return known

    def put(self, spelling: bytes, claims: VerifiedClaims, user_id: str | None) -> Known:
        """Remember a token, and whose session it hangs on; others may have met it, or its session,
        meanwhile."""
        if (known := self._spelled.get(spelling)) is not None:
            return known
        known = self._tokens.get(claims.token_id)
        if known is None:
            known = Known(claims, self._join(claims.session, user_id))
            self._tokens[known.jti] = known
        elif not known.kept.says(claims):
            # Two tokens of one id: we mint none, but a stolen key might. Met anew every time.
            return Known(claims, session_of(claims, user_id))
        known.spellings += 1
        self._spelled[spelling] = known
        while len(self._spelled) > self._size:
            self._drop(self._spelled.popitem(last=False)[1])
        return known

    def revoke(self, jti: str) -> None:
        if known := self._tokens.get(jti):
            known.revoked = True

    def end(self, sid: str) -> None:
        if session := self._sessions.get(sid):
            session.ended = True

    def clear(self) -> None:
        self._spelled.clear()
        self._tokens.clear()
        self._sessions.clear()

    def _join(self, sid: str | None, user_id: str | None) -> Session | None:
        if sid is None or user_id is None:
            return None
        session = self._sessions.get(sid) or self._sessions.setdefault(sid, Session(sid, user_id))
        session.tokens += 1
        return session

    def _drop(self, known: Known) -> None:
        known.spellings -= 1
        if known.spellings:
            return
        del self._tokens[known.jti]
        session = known.session
        if session is not None:
            session.tokens -= 1
            if not session.tokens:
                del self._sessions[session.id]
