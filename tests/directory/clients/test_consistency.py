"""What settings demand of each other."""

from typing import Any

import pytest
from joserfc.jwk import ECKey

from identity.directory.clients import consistency
from identity.directory.clients.settings import parse
from identity.directory.clients.table import ClientType

JWKS = {"keys": [ECKey.generate_key("P-256").as_dict(private=False)]}
STRONG = {"profile": "fapi2", "token_endpoint_auth_method": "private_key_jwt", "jwks": JWKS}


def wrong(type_: ClientType = "confidential", **settings: Any) -> set[str]:
    """Where."""
    valid = parse(consistency.implied(settings))
    return {pointer for pointer, _ in consistency.problems(valid, type_)}


def test_a_way_to_prove_itself_needs_what_proves_it() -> None:
    method = "/token_endpoint_auth_method"
    assert wrong(token_endpoint_auth_method="private_key_jwt") == {method}
    assert not wrong(token_endpoint_auth_method="private_key_jwt", jwks=JWKS)
    assert not wrong(
        token_endpoint_auth_method="self_signed_tls_client_auth", jwks_uri="https://a.example/"
    )
    assert wrong(token_endpoint_auth_method="tls_client_auth") == {method}
    named = {"tls_client_auth_san_dns": "a.example"}
    assert not wrong(token_endpoint_auth_method="tls_client_auth", **named)
    two = named | {"tls_client_auth_subject_dn": "CN=a"}
    assert wrong(token_endpoint_auth_method="tls_client_auth", **two) == {method}
    assert wrong(**named) == {"/tls_client_auth_san_dns"}
    assert wrong("public", token_endpoint_auth_method="client_secret_basic") == {method}
    assert not wrong("public", token_endpoint_auth_method="none", pkce="required")


def test_of_pairwise_subjects_it_is_known_whose_sector_they_are() -> None:
    pairwise = {"subject_type": "pairwise"}
    one = ["https://a.example/1", "https://a.example:8443/2"]
    assert not wrong(**pairwise, redirect_uris=one)
    for uris in ([*one, "https://b.example/"], ["com.example.app:/cb"]):
        assert wrong(**pairwise, redirect_uris=uris) == {"/sector_identifier_uri"}
        sector = {"sector_identifier_uri": "https://a.example/sector.json"}
        assert not wrong(**pairwise, redirect_uris=uris, **sector)


def test_a_profile_sets_what_it_implies() -> None:
    set_ = consistency.implied(STRONG)
    assert set_["require_pushed_authorization_requests"] is True
    assert set_["dpop_bound_access_tokens"] is True
    assert set_["id_token_signed_response_alg"] == "ES256"
    assert not wrong(**STRONG)
    by_certificate = {"tls_client_certificate_bound_access_tokens": True}
    assert "dpop_bound_access_tokens" not in consistency.implied(STRONG | by_certificate)
    assert not wrong(**STRONG, **by_certificate)


@pytest.mark.parametrize(
    ("weak", "where"),
    [
        ({"require_pushed_authorization_requests": False}, "require_pushed_authorization_requests"),
        ({"dpop_bound_access_tokens": False}, "dpop_bound_access_tokens"),
        ({"id_token_signed_response_alg": "RS256"}, "id_token_signed_response_alg"),
        ({"userinfo_signed_response_alg": "RS256"}, "userinfo_signed_response_alg"),
        ({"pkce": "optional"}, "pkce"),
        ({"redirect_uris": ["http://127.0.0.1/cb"]}, "redirect_uris/0"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "token_endpoint_auth_method"),
    ],
)
def test_nothing_weakens_a_profile(weak: dict[str, Any], where: str) -> None:
    assert wrong(**{**STRONG, **weak}) == {f"/{where}"}
    assert "/profile" in wrong("public", **{**STRONG, "token_endpoint_auth_method": "none"})
