"""The verifier and the pytest plugin's service against each other: nothing here is a fake."""

from __future__ import annotations

import time
from typing import Any

import pytest

from identity.testing import Service
from identity.verifier import (
    InsufficientScope,
    NotForUs,
    Revoked,
    StaleKnowledge,
    TokenRefused,
    Verifier,
)


def refused_within(seconds: float, verify: Any, token: str) -> float:
    """Seconds until `token` is refused for having been revoked."""
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        try:
            verify(token)
        except Revoked:
            return time.monotonic() - began
        time.sleep(0.005)
    raise AssertionError(f"still accepted after {seconds} s")


def test_a_user_of_the_real_service_is_verified_until_revoked(identity_service: Service) -> None:
    user = identity_service.user("alice", scopes=["orders:read"])
    token = identity_service.token("alice")
    with identity_service.sync_verifier() as verifier:
        claims = verifier.verify(token, "orders:read")
        assert (claims.subject, claims.username) == (user, "alice")
        assert verifier.staleness < 5
        with pytest.raises(InsufficientScope):
            verifier.verify(token, "orders:write")
        identity_service.revoke(token)
        assert refused_within(5, verifier.verify, token) < 5


def test_an_audience_is_held_to(identity_service: Service) -> None:
    with (
        identity_service.sync_verifier("https://orders.example") as verifier,
        pytest.raises(NotForUs),
    ):
        verifier.verify(identity_service.token())


@pytest.mark.parametrize("mode", ["poll", "introspection"])
def test_the_other_ways_of_knowing_work_too(identity_service: Service, mode: str) -> None:
    options = {"revocations": mode, "introspection_ttl": 0.1}
    with identity_service.sync_verifier(**options) as verifier:
        token = identity_service.token()
        verifier.verify(token)
        identity_service.revoke(token)
        refused_within(10, verifier.verify, token)


async def test_credentials_that_are_wrong_leave_the_verifier_ignorant_and_strict(
    identity_service: Service,
) -> None:
    wrong = {"client_id": "nobody", "client_secret": "wrong", "http_timeout": 2.0}
    async with Verifier(identity_service.url, identity_service.url, **wrong) as verifier:
        with pytest.raises(StaleKnowledge):
            await verifier.verify(identity_service.token())


def test_the_service_starts_within_two_seconds(
    identity_service: Service, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    template = request.getfixturevalue("_identity_template")
    began = time.monotonic()
    with Service(template, tmp_path / "another") as another:
        assert time.monotonic() - began < 2
        assert another.token()
        assert another.url != identity_service.url


def test_what_is_no_token_is_refused_without_asking(identity_service: Service) -> None:
    with identity_service.sync_verifier() as verifier:
        for rubbish in ("", "a.b.c", "\udcff", b"\xff", "x" * 9000):
            with pytest.raises(TokenRefused) as refused:
                verifier.verify(rubbish)
            assert refused.value.status == 401
