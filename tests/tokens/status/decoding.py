"""A verifier of somebody else's: status lists read with PyJWT and integer arithmetic, nothing of
the service's own code (draft-ietf-oauth-status-list-21 §4, §5.1, §8.3)."""

import base64
import json
import zlib
from typing import Any

import httpx
import jwt

SIZE = 2**20


def bits_of(lst: str) -> int:
    """The list as one number: its bit n is the status at index n."""
    return int.from_bytes(
        zlib.decompress(base64.urlsafe_b64decode(lst + "=" * (-len(lst) % 4))), "little"
    )


def reference(token: str) -> tuple[str, int]:
    claims = jwt.decode(token, options={"verify_signature": False})
    entry = claims["status"]["status_list"]
    return entry["uri"], entry["idx"]


def opened(answer: httpx.Response, keys: Any, uri: str) -> dict[str, Any]:
    """The verified claims of a list."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/statuslist+jwt"
    header = jwt.get_unverified_header(answer.text)
    assert header["typ"] == "statuslist+jwt"
    key = next(key for key in keys["keys"] if key["kid"] == header["kid"])
    claims: dict[str, Any] = jwt.decode(
        answer.text,
        jwt.PyJWK.from_json(json.dumps(key)).key,
        algorithms=[header["alg"]],
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["sub"] == uri
    assert claims["status_list"]["bits"] == 1
    return claims


class Reader:
    """Statuses, each list fetched once."""

    def __init__(self, api: httpx.AsyncClient) -> None:
        self._api = api

    async def bits(self, uri: str) -> int:
        keys = (await self._api.get("/.well-known/jwks.json")).json()
        claims = opened(await self._api.get(uri), keys, uri)
        return bits_of(claims["status_list"]["lst"])

    async def revoked(self, *tokens: str) -> list[bool]:
        """Whether each token's bit is set."""
        places = [reference(token) for token in tokens]
        lists = {uri: await self.bits(uri) for uri in {uri for uri, _ in places}}
        return [bool(lists[uri] >> index & 1) for uri, index in places]
