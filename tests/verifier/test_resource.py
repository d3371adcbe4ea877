"""Challenges and metadata as RFC 6750 and RFC 9728 write them."""

from __future__ import annotations

import pytest

from identity.verifier import (
    BadRequest,
    Expired,
    InsufficientScope,
    IssuerUnavailable,
    TokenMissing,
    TokenRefused,
)
from identity.verifier.resource import ProtectedResource, credentials

ISSUER = "https://identity.example"


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("https://orders.example", ""),
        ("https://orders.example/", ""),
        ("https://orders.example/v1/", "/v1"),
    ],
)
def test_metadata_lie_behind_the_well_known_name(resource: str, path: str) -> None:
    described = ProtectedResource.of(resource, ISSUER, scopes=("a", "b"), name="Orders")
    assert described.metadata_path == f"/.well-known/oauth-protected-resource{path}"
    assert described.metadata_address == f"https://orders.example{described.metadata_path}"
    assert described.metadata() == {
        "resource": resource,
        "authorization_servers": [ISSUER],
        "bearer_methods_supported": ["header"],
        "scopes_supported": ["a", "b"],
        "resource_name": "Orders",
    }


def test_an_audience_that_is_no_address_has_challenges_but_no_metadata() -> None:
    for audience in ("orders", ["https://a.example", "https://b.example"]):
        described = ProtectedResource.of(audience, ISSUER)
        assert described.metadata_address is described.metadata_path is None
        assert described.challenge(TokenMissing()) == "Bearer"
    named = ProtectedResource.of("orders", ISSUER, identifier="https://orders.example")
    assert named.metadata_address is not None


RESOURCE = ProtectedResource.of("https://orders.example", ISSUER, realm='the "shop"')
WHERE = 'resource_metadata="https://orders.example/.well-known/oauth-protected-resource"'


@pytest.mark.parametrize(
    ("refused", "challenge"),
    [
        (TokenMissing(), f'Bearer realm="the \\"shop\\"", scope="a b", {WHERE}'),
        (
            Expired("at 17"),
            'Bearer realm="the \\"shop\\"", error="invalid_token", '
            f'error_description="the access token has expired", scope="a b", {WHERE}',
        ),
        (
            InsufficientScope(["c"]),
            'Bearer realm="the \\"shop\\"", error="insufficient_scope", '
            f'error_description="the access token may not do this", scope="c", {WHERE}',
        ),
    ],
    ids=["missing", "expired", "scope"],
)
def test_a_challenge_says_what_is_wrong_and_where_to_go(
    refused: TokenRefused, challenge: str
) -> None:
    assert RESOURCE.challenge(refused, ["a", "b"]) == challenge


def test_an_outage_is_no_challenge_but_says_when_to_come_back() -> None:
    headers = RESOURCE.headers(IssuerUnavailable("the vault", retry_after=7.2))
    assert headers == {"Cache-Control": "no-store", "Retry-After": "7"}


@pytest.mark.parametrize(
    "values",
    [["Bearer a.b-c_d~e+f/g=="], ["bearer  a.b-c_d~e+f/g=="], [" BEARER a.b-c_d~e+f/g== "]],
)
def test_a_token_follows_its_scheme(values: list[str]) -> None:
    assert credentials(values) == (False, "a.b-c_d~e+f/g==")
    dpop = [value.lower().replace("bearer", "dPoP") for value in values]
    assert credentials(dpop) == (True, "a.b-c_d~e+f/g==")


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ([], TokenMissing),
        (["Basic YTpi"], TokenMissing),
        ([""], TokenMissing),
        (["Bearer"], BadRequest),
        (["Bearer "], BadRequest),
        (["Bearer a b"], BadRequest),
        (["Bearer a,b"], BadRequest),
        (["Bearer \xe4"], BadRequest),
        (["Bearer a", "Bearer a"], BadRequest),
        (["DPoP"], BadRequest),
        (["DPoP a b"], BadRequest),
        (["DPoP a", "Bearer a"], BadRequest),
    ],
    ids=str,
)
def test_what_is_not_one_token_is_told_apart(values: list[str], error: type[TokenRefused]) -> None:
    with pytest.raises(error) as refused:
        credentials(values)
    assert refused.value.status == (400 if error is BadRequest else 401)
