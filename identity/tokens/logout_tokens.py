"""Logout tokens (OpenID Connect Back-Channel Logout §2.4): that a session has ended, told to its
client.

They differ from ID tokens by `typ` and `events`, and from access tokens by both and the audience:
neither passes for the other at any gate of ours. `alg` is that of the client's ID tokens, so never
`none`.
"""

from identity.clock import now
from identity.directory.clients.registry import ClientSnapshot
from identity.errors import Unavailable
from identity.keys.ring import KeyRing
from identity.opaque import new_id
from identity.settings import Settings

TYPE = "logout+jwt"
LIFE = 120
"""Seconds, as §2.4 would have it at the most."""
EVENT = "http://schemas.openid.net/event/backchannel-logout"


class LogoutTokens:
    def __init__(self, settings: Settings, ring: KeyRing) -> None:
        self._issuer = settings.issuer
        self._ring = ring

    def mint(self, subject: str, session_id: str, client: ClientSnapshot) -> str:
        """Each time with another `jti`: a client that has failed to act on one may refuse to see it
        again. `Unavailable` while the key of the client's algorithm is too new to sign."""
        algorithm = client.settings.id_token_signed_response_alg
        signer = self._ring.signer_by(algorithm)
        if signer is None:
            words = f"the {algorithm} key is not known to all yet"
            raise Unavailable(60, words, audit="no such key active")
        issued_at = int(now())
        claims = {
            "iss": self._issuer,
            "sub": subject,
            "aud": client.id,
            "iat": issued_at,
            "exp": issued_at + LIFE,
            "jti": new_id(),
            "sid": session_id,
            "events": {EVENT: {}},
        }
        return signer.sign(claims, TYPE)
