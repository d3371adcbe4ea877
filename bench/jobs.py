"""What is measured: each job's requests, its floor, and what it ought to reach."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote_plus

from bench import doors
from bench.world import BASIC, World
from bench.wrk import request
from identity.authentication.assertions import ASSERTION_TYPE

INTROSPECTED = 2_000


@dataclass(frozen=True)
class Job:
    """`goal`: the ratio to its floor that it must reach, by dialect. `requests(world, seconds)`
    makes what is sent; with `once`, no request is sent twice. `sibling`: microservices ask it, and
    nobody who signs in."""

    name: str
    floor: Literal["GET", "POST"]
    requests: Callable[[World, float], Sequence[bytes]]
    goal: dict[str, float]
    once: bool = False
    sibling: bool = False


def _form(path: str, body: str, authorization: str | None = BASIC) -> bytes:
    headers = {"Authorization": authorization} if authorization else {}
    return request("POST", path, headers, body)


def _introspect_known(world: World, _: float) -> Sequence[bytes]:
    return [_form("/introspect", f"token={token}") for token in world.access_tokens(INTROSPECTED)]


def _introspect_new(world: World, seconds: float) -> Sequence[bytes]:
    tokens = world.access_tokens(int(12_000 * seconds))
    return [_form("/introspect", f"token={token}") for token in tokens]


def _me(world: World, _: float) -> Sequence[bytes]:
    return [
        request("GET", "/users/me", {"Authorization": f"Bearer {token}"})
        for token in world.access_tokens(INTROSPECTED)
    ]


def _client_credentials(world: World, _: float) -> Sequence[bytes]:
    return [_form("/token", "grant_type=client_credentials&scope=introspect")]


def _private_key_jwt(world: World, seconds: float) -> Sequence[bytes]:
    body = "grant_type=client_credentials&scope=introspect&client_assertion_type="
    body += quote_plus(ASSERTION_TYPE) + "&client_assertion="
    assertions = world.assertions(int(7_000 * seconds))
    return [_form("/token", body + assertion, None) for assertion in assertions]


def _refresh(world: World, seconds: float) -> Sequence[bytes]:
    tokens = world.refresh_tokens(int(7_000 * seconds))
    body = "grant_type=refresh_token&refresh_token="
    return [_form("/token", body + token, None) for token in tokens]


def _jwks(world: World, _: float) -> Sequence[bytes]:
    return [request("GET", "/.well-known/jwks.json")]


def _metadata(world: World, _: float) -> Sequence[bytes]:
    return [request("GET", "/.well-known/oauth-authorization-server")]


JOBS = (
    Job(
        "introspect, 2,000 known tokens",
        "POST",
        _introspect_known,
        {"sqlite": 0.60, "postgresql": 0.45},
        sibling=True,
    ),
    Job(
        "introspect, tokens never seen",
        "POST",
        _introspect_new,
        {"sqlite": 0.15},
        once=True,
        sibling=True,
    ),
    Job("/users/me", "GET", _me, {"sqlite": 0.60}, sibling=True),
    Job(
        "/token client credentials, ES256",
        "POST",
        _client_credentials,
        {"sqlite": 0.28},
        sibling=True,
    ),
    Job(
        "/token client credentials by private_key_jwt, ES256",
        "POST",
        _private_key_jwt,
        {"sqlite": 0.12},
        once=True,
    ),
    Job(
        "/token refresh, rotated and durable",
        "POST",
        _refresh,
        {"sqlite": 0.08, "postgresql": 0.05},
        once=True,
    ),
    Job(
        "/token code, ES256 ID token",
        "POST",
        doors.redeem,
        {"sqlite": 0.06, "postgresql": 0.04},
        once=True,
    ),
    Job("/authorize, signed in and agreed", "GET", doors.authorize, {"sqlite": 0.10}),
    Job("/userinfo", "GET", doors.userinfo, {"sqlite": 0.60}),
    Job(
        "/userinfo by DPoP, proofs never seen",
        "GET",
        doors.userinfo_by_key,
        {"sqlite": 0.10},
        once=True,
    ),
    Job("/token exchange, ES256", "POST", doors.exchange, {"sqlite": 0.12}),
    Job("JWKS", "GET", _jwks, {"sqlite": 0.75}, sibling=True),
    Job("metadata", "GET", _metadata, {"sqlite": 0.75}, sibling=True),
)
