"""Challenges: what an authenticator signs, so that its answer is good here, lately and once.

Nothing is kept of a challenge that nobody has answered. It says when it was made, and is sealed for
what it was made for: anonymous visitors write nothing. Only a right answer is taken note of.
"""

import hmac
import secrets
from datetime import UTC, datetime, timedelta

from identity.authentication import once
from identity.authentication.passkeys.errors import PasskeyRefused, StaleChallenge
from identity.clock import now
from identity.keys.master import MasterKey
from identity.opaque import digest
from identity.store import Database
from identity.verifier.gate.encoding import b64url_encode

LIFE = timedelta(hours=1)
"""How long a page may lie open, as long as the mark of a request (`marks`)."""
_PLAIN = 6 + 16
"""Octets: when, in milliseconds, and chance."""


class Challenges:
    def __init__(self, db: Database, master: MasterKey) -> None:
        self._db = db
        self._keys = master.derive_all("passkey challenge")

    def make(self, what: str, whose: str) -> bytes:
        """`what` is asked for; `whose` answer alone it is good for: a browser's, a client's, a
        user's."""
        plain = round(now() * 1000).to_bytes(6) + secrets.token_bytes(_PLAIN - 6)
        return plain + _seal(self._keys[0], plain, what, whose)

    def check(self, challenge: bytes, what: str, whose: str) -> None:
        """Raises `StaleChallenge`, `PasskeyRefused` where it is none of ours for them."""
        plain = challenge[:_PLAIN]
        seals = [_seal(key, plain, what, whose) for key in self._keys]
        if not any(hmac.compare_digest(plain + seal, challenge) for seal in seals):
            raise PasskeyRefused("the challenge is not one that was given here")
        if not -1 <= now() - _made_at(challenge) <= LIFE.total_seconds():
            raise StaleChallenge("the challenge is too old")

    async def use(self, challenge: bytes) -> None:
        """It has been answered rightly: raises `StaleChallenge` where it was before."""
        until = datetime.fromtimestamp(_made_at(challenge), UTC) + LIFE
        told = b64url_encode(challenge).decode()
        if not await once.first_use(self._db, "passkey challenge", told, until=until):
            raise StaleChallenge("the challenge has been answered before")


def _made_at(challenge: bytes) -> float:
    return int.from_bytes(challenge[:6]) / 1000


def _seal(key: bytes, plain: bytes, what: str, whose: str) -> bytes:
    return hmac.digest(key, plain + f"{what}\n{digest(whose)}".encode(), "sha256")
