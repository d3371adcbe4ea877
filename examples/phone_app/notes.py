"""What an app on a telephone does, step by step: AppAuth for Android and iOS does the same.

The app cannot keep a secret, so it has none; PKCE says that whoever brings the code is who asked
for it. It is signed in by the telephone's own browser, never by a view inside the app.
"""

import base64
import hashlib
import json
import secrets
import urllib.parse
import urllib.request
from typing import Any, NamedTuple

CLIENT_ID = "phone-app"
REDIRECT_URI = "com.example.notes:/signed-in"


class Waiting(NamedTuple):
    """What the app keeps while the browser is open."""

    address: str
    """What the browser is opened at."""
    verifier: str
    state: str


def begin(metadata: dict[str, Any]) -> Waiting:
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
    asked = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT_URI,
        "scope": "openid profile offline_access",
        "state": state,
        "code_challenge": challenge.rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    query = urllib.parse.urlencode(asked)
    return Waiting(f"{metadata['authorization_endpoint']}?{query}", verifier, state)


def finish(metadata: dict[str, Any], waiting: Waiting, opened: str) -> dict[str, Any]:
    """The tokens. `opened`: the address by which the system has brought the app back."""
    answer = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(opened).query))
    if answer.get("state") != waiting.state or answer.get("iss") != metadata["issuer"]:
        raise ValueError("this answer is to another question")
    if "code" not in answer:
        raise PermissionError(answer.get("error"))
    return post(
        metadata["token_endpoint"],
        grant_type="authorization_code",
        code=answer["code"],
        redirect_uri=REDIRECT_URI,
        code_verifier=waiting.verifier,
    )


def refresh(metadata: dict[str, Any], refresh_token: str) -> dict[str, Any]:
    """Each refresh token is good once: keep the one that comes back."""
    return post(metadata["token_endpoint"], grant_type="refresh_token", refresh_token=refresh_token)


def post(address: str, **form: str) -> dict[str, Any]:
    data = urllib.parse.urlencode({"client_id": CLIENT_ID, **form}).encode()
    with urllib.request.urlopen(address, data, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
