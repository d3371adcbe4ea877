"""Signed answers of `/authorize` (JARM): a JWT that says who answers whom, and until when.

`typ` is theirs alone: none passes for a token, nor a token for one of them.
"""

from collections.abc import Mapping

from identity.clock import now
from identity.directory.clients.registry import ClientSnapshot
from identity.errors import Unavailable
from identity.keys.ring import KeyRing
from identity.settings import Settings

TYPE = "oauth-authz-resp+jwt"
LIFE = 120
"""Seconds. What it brings is good for one minute; clocks differ."""


class Answers:
    def __init__(self, settings: Settings, ring: KeyRing) -> None:
        self._issuer = settings.issuer
        self._ring = ring

    def sign(self, client: ClientSnapshot, said: Mapping[str, str]) -> str:
        """`said`: the parameters of the answer. `Unavailable` while the key of the client's
        algorithm is too new to sign."""
        algorithm = client.settings.authorization_signed_response_alg
        signer = self._ring.signer_by(algorithm)
        if signer is None:
            raise Unavailable(
                60, f"the {algorithm} key is not known to all yet", audit="no such key active"
            )
        claims = {**said, "iss": self._issuer, "aud": client.id, "exp": int(now()) + LIFE}
        return signer.sign(claims, TYPE)
