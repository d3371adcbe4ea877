"""The doors besides passwords and secrets: what a browser's session opens, the codes it brings
home, and what a token opens for the next service or for whoever holds its key."""

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from bench.registered import CALLBACK, EXCHANGE, FROM, GATEWAY, PEOPLE, ROLE, SCOPE, TO, WEB
from bench.world import World, basic
from bench.wrk import request
from identity.clock import utcnow
from identity.http.cookies import SESSION
from identity.opaque import digest, mint, new_id
from identity.tokens import codes
from identity.tokens.sessions.table import BrowserSession
from identity.verifier.testing.proofs import ProofKey

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
VERIFIER = secrets.token_urlsafe(48)
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def authorize(world: World, _: float) -> Sequence[bytes]:
    """By people who are signed in and have agreed: each answer is a redirect with a code."""
    asked = {
        "response_type": "code", "client_id": WEB, "redirect_uri": CALLBACK, "scope": SCOPE,
        "state": mint("st"), "nonce": mint("no"),
        "code_challenge": CHALLENGE, "code_challenge_method": "S256",
    }  # fmt: skip
    path = f"/authorize?{urlencode(asked)}"
    cookies, _ = _browsers(world, PEOPLE)
    return [request("GET", path, {"Cookie": f"{SESSION}={cookie}"}) for cookie in cookies]


def redeem(world: World, seconds: float, client_id: str = WEB) -> Sequence[bytes]:
    """Codes of as many browsers, each for an access, a refresh and an ID token."""
    count = int(2_500 * seconds)
    _, browsers = _browsers(world, count)
    made = [mint(codes.PREFIX) for _ in browsers]
    now = utcnow()
    common = {
        "client_id": client_id, "redirect_uri": CALLBACK, "code_challenge": CHALLENGE,
        "scope": SCOPE, "resources": [], "nonce": mint("no"), "authenticated_at": now,
        "amr": ["pwd"], "acr": "aal1", "expires_at": now + timedelta(hours=1),
    }  # fmt: skip
    world.insert(
        codes.AuthorizationCode,
        (
            common | {"digest": digest(code), "user_id": row["user_id"],
                      "browser_session_id": row["id"]}
            for code, row in zip(made, browsers, strict=True)
        ),
    )  # fmt: skip
    form = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    headers = {"Authorization": basic(client_id)}
    return [request("POST", "/token", headers, urlencode(form | {"code": code})) for code in made]


def userinfo(world: World, _: float) -> Sequence[bytes]:
    tokens = world.access_tokens(2_000, scope=SCOPE)
    return [request("GET", "/userinfo", {"Authorization": f"Bearer {token}"}) for token in tokens]


def userinfo_by_key(world: World, seconds: float) -> Sequence[bytes]:
    """Known tokens, each time with a proof of their key that nobody has seen."""
    key = ProofKey()
    address = f"{world.settings.issuer.rstrip('/')}/userinfo"
    tokens = world.access_tokens(500, scope=SCOPE, cnf={"jkt": key.jkt})
    return [
        request("GET", "/userinfo", key.headers("GET", address, tokens[n % len(tokens)]))
        for n in range(int(4_000 * seconds))
    ]


def exchange(world: World, _: float) -> Sequence[bytes]:
    tokens = world.access_tokens(PEOPLE, audience=FROM, roles=(ROLE,))
    form = {"grant_type": EXCHANGE, "subject_token_type": ACCESS_TOKEN, "audience": TO}
    headers = {"Authorization": basic(GATEWAY)}
    return [
        request("POST", "/token", headers, urlencode(form | {"subject_token": token}))
        for token in tokens
    ]


def _browsers(world: World, count: int) -> tuple[list[str], list[dict[str, Any]]]:
    """Cookies of people who have signed in, and their sessions."""
    cookies = [mint("bs") for _ in range(count)]
    now = utcnow()
    common = {
        "amr": ["pwd"], "acr": "aal1", "created_at": now, "authenticated_at": now,
        "last_used_at": now, "expires_at": now + timedelta(days=30),
    }  # fmt: skip
    rows = [
        common | {"id": new_id(), "digest": digest(cookie), "user_id": user_id}
        for cookie, (user_id, _) in zip(cookies, islice(world.users(), count), strict=True)
    ]
    world.insert(BrowserSession, iter(rows))
    return cookies, rows
