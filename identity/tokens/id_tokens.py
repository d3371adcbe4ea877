"""ID tokens (OpenID Connect Core §2): who has signed in, told to the client that asked.

They differ from access tokens by `typ`, by their audience and by the claims that both must have:
neither passes for the other at any gate of ours.
"""

from collections.abc import Mapping
from hashlib import sha256, sha384, sha512
from typing import Any

from identity.clock import now
from identity.directory.clients.registry import ClientSnapshot
from identity.errors import Unavailable
from identity.keys.ring import KeyRing
from identity.keys.transitions import ID_TOKEN_TTL
from identity.settings import Settings
from identity.tokens.minting import Login
from identity.verifier.gate.encoding import b64url_encode

TYPE = "JWT"
_HASHES = {"ES256": sha256, "RS256": sha256, "PS256": sha256, "ES384": sha384, "EdDSA": sha512}


class IdTokens:
    def __init__(self, settings: Settings, ring: KeyRing) -> None:
        self._issuer = settings.issuer
        self._ring = ring

    def mint(
        self,
        subject: str,
        login: Login,
        client: ClientSnapshot,
        *,
        access_token: str,
        nonce: str | None = None,
        claims: Mapping[str, Any] | None = None,
    ) -> str:
        """`claims`: what is told of the user; protocol claims win. `Unavailable` while the key of
        the client's algorithm is too new to sign."""
        algorithm = client.settings.id_token_signed_response_alg
        signer = self._ring.signer_by(algorithm)
        if signer is None:
            raise Unavailable(
                60, f"the {algorithm} key is not known to all yet", audit="no such key active"
            )
        issued_at = int(now())
        life = min(ID_TOKEN_TTL, client.settings.lifetimes.get("id_token", ID_TOKEN_TTL))
        said: dict[str, Any] = {
            **(claims or {}),
            "iss": self._issuer,
            "sub": subject,
            "aud": client.id,
            "azp": client.id,
            "iat": issued_at,
            "exp": issued_at + life,
            "auth_time": int(login.authenticated_at.timestamp()),
            "amr": login.amr,
            "sid": login.id,
            "at_hash": _at_hash(access_token, algorithm),
        }
        if login.acr is not None:
            said["acr"] = login.acr
        if nonce is not None:
            said["nonce"] = nonce
        return signer.sign(said, TYPE)


def _at_hash(access_token: str, algorithm: str) -> str:
    """§3.1.3.6: the left half of the digest that the signature goes by."""
    whole = _HASHES[algorithm](access_token.encode("ascii")).digest()
    return b64url_encode(whole[: len(whole) // 2]).decode()
