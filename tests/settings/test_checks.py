"""The rules that span settings."""

import pytest

from identity.settings import Settings, loopback
from tests.settings.refusing import refusal


def test_only_the_two_databases_are_taken() -> None:
    for good in ("sqlite:///x.db", "sqlite:////abs/x.db", "postgresql://u:p@h/d", "postgres://h/d"):
        Settings.of(database_url=good)
    for bad in ("mysql://h/d", "sqlite://", "sqlite:///", "x.db", "postgresql:h", ""):
        assert refusal(database_url=bad) == (
            "IDENTITY_DATABASE_URL: must begin with sqlite:/// or postgresql://"
        )


def test_weak_hashing_needs_saying_so_explicitly() -> None:
    assert refusal(bcrypt_rounds=4) == "IDENTITY_BCRYPT_ROUNDS: must be 10 to 16 (it is 4)"
    assert Settings.of(bcrypt_rounds=4, test_weak_hashing=True).passwords.bcrypt_rounds == 4
    assert Settings.of(bcrypt_rounds=10).passwords.bcrypt_rounds == 10


def test_a_refresh_token_may_not_outlive_its_session() -> None:
    text = refusal(refresh_token_ttl="2d", session_ttl="1d")
    assert text == "IDENTITY_REFRESH_TOKEN_TTL: must not exceed IDENTITY_SESSION_TTL"


def test_production_refuses_what_is_only_good_for_trying_out() -> None:
    good = {"environment": "production", "issuer": "https://id.example"}
    assert Settings.of(**good).production
    assert "IDENTITY_ISSUER: production needs https" in refusal(
        environment="production", issuer="http://id.example"
    )
    for loopback_issuer in ("http://127.0.0.1:8000", "http://localhost", "http://[::1]:8000"):
        Settings.of(environment="production", issuer=loopback_issuer)
    for sly in ("http://localhost.evil.example", "http://127.0.0.1.evil.example"):
        refusal(environment="production", issuer=sly)
    assert "at least 12" in refusal(**good, bcrypt_rounds=11)
    assert "at least 12" in refusal(**good, bcrypt_rounds=4, test_weak_hashing=True)


def test_loopback_is_told_from_the_rest() -> None:
    assert all(map(loopback, ("http://127.8.9.1", "http://localhost:1", "https://[::1]")))
    assert not any(map(loopback, ("http://id.example", "http://10.0.0.1", "http://", "x")))


def test_passkeys_belong_to_the_issuers_domain_or_one_above() -> None:
    for rp_id in ("id.shop.example", "shop.example"):
        settings = Settings.of(issuer="https://id.shop.example/identity", rp_id=rp_id)
        assert settings.passkeys.rp_id == rp_id
    for rp_id in ("hop.example", "other.example", "a.id.shop.example"):
        assert "IDENTITY_RP_ID" in refusal(issuer="https://id.shop.example", rp_id=rp_id)
    moved = {"issuer": "https://id.new.example:8443", "rp_id": "old.example"}
    assert Settings.of(**moved, related_origins="https://id.new.example:8443").passkeys.rp_id
    assert "IDENTITY_RP_ID" in refusal(**moved, related_origins="https://id.new.example")
    for rp_id in (
        "https://shop.example",
        "shop.example:443",
        "Shop.example",
        "",
        "127.0.0.1",
        "-a",
    ):
        assert "is not a domain" in refusal(rp_id=rp_id)
    app = "android:apk-key-hash:" + "x" * 43
    both = Settings.of(related_origins=f"https://a.example, {app}").passkeys.related_origins
    assert both == ("https://a.example", app)
    for origin in ("http://a.example", "https://a.example/", "https://*.example", "android:x"):
        assert "IDENTITY_RELATED_ORIGINS" in refusal(related_origins=origin)


@pytest.mark.parametrize(
    "fields",
    [
        {"issuer": "http://["},
        {"issuer": "https://[id.example]"},
    ],
)
def test_brackets_around_what_is_no_ipv6_address_are_refused_like_any_address(
    fields: dict[str, str],
) -> None:
    assert refusal(**fields).startswith("IDENTITY_ISSUER: must be an http(s) address")


@pytest.mark.parametrize(
    "issuer",
    [
        "https://id.example:99999", "https://id.example:x", "https://id.example?",
        "https://id.example#", " https://id.example", "https://id.example\n",
        "https://id.example/a b", "https://bücher.example", 'https://id.example/"x', "https://id.example\\x",
    ],
)  # fmt: skip
def test_an_issuer_that_no_address_can_begin_with_is_refused(issuer: str) -> None:
    words = refusal(issuer=issuer)
    assert words.startswith("IDENTITY_ISSUER: must be an http(s) address in ASCII")
    assert words.endswith(f"(it is {issuer!r})")


def test_an_issuer_with_a_password_is_refused_without_telling_it() -> None:
    """It would stand in every token and in the metadata."""
    words = refusal(issuer="https://ada:hunter2@id.example")
    assert words.startswith("IDENTITY_ISSUER: ") and "hunter2" not in words
    proxies = {"trusted_proxies": "10.0.0.1", "certificate_proxies": "10.0.0.1"}
    words = refusal(**proxies, mtls_address="https://ada:hunter2@mtls.example")
    assert words.startswith("IDENTITY_MTLS_ADDRESS: ") and "hunter2" not in words


@pytest.mark.parametrize("host", ["", "[::1]", "id:example", "a b", "http://a"])
def test_a_host_that_is_none_is_refused_by_its_own_name(host: str) -> None:
    assert refusal(host=host).startswith("IDENTITY_HOST: ")


def test_so_they_are_where_clients_are_asked_for_certificates() -> None:
    proxies = {"trusted_proxies": "10.0.0.1", "certificate_proxies": "10.0.0.1"}
    assert Settings.of(**proxies, mtls_address="https://[::1]:8443")
    assert refusal(**proxies, mtls_address="https://[mtls").startswith("IDENTITY_MTLS_ADDRESS: ")
