"""Every rule of the settings: what is read, what is refused by name, what is never shown."""

import os
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from identity.settings import Settings, SettingsError, described, loopback

SECRET = "hunter2-and-more"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `.env` but the test's own."""
    monkeypatch.chdir(tmp_path)


def refusal(**fields: Any) -> str:
    with pytest.raises(SettingsError) as raised:
        Settings.of(**fields)
    text = str(raised.value)
    assert "\n" not in text
    return text


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = Settings.load()
    assert settings.issuer == settings.audience == "http://127.0.0.1:8000"
    assert settings.database.database_url.get_secret_value() == "sqlite:///var/identity.db"
    assert settings.keys.keys_dir == Path("keys")
    assert settings.keys.master_key is None
    assert settings.keys.signing_algorithm == "ES256"
    assert settings.tokens.access_token_ttl == timedelta(minutes=15)
    assert settings.sessions.refresh_token_ttl == timedelta(days=14)
    assert settings.sessions.session_ttl == timedelta(days=90)
    assert settings.keys.key_rotation == timedelta(days=30)
    assert settings.keys.jwks_max_age == timedelta(minutes=5)
    assert settings.passwords.bcrypt_rounds == 12
    assert settings.sessions.password_grant and settings.sessions.default_client
    assert settings.bootstrap.bootstrap_admin_username == "admin"
    assert settings.throttle.login_max_failures == 10
    assert settings.throttle.login_lockout == timedelta(minutes=5)
    assert settings.server.trusted_proxies == settings.server.cors_origins == ()
    assert not settings.production


def test_every_setting_has_one_name_and_a_meaning() -> None:
    names = [name for name, _, _ in described()]
    assert len(names) == len(set(names)) > 25
    for name, group, field in described():
        assert name.startswith("IDENTITY_") and name == name.upper()
        assert group in Settings.model_fields
        assert field.description


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("900", 900), ("90s", 90), ("15m", 900), ("12h", 43_200), (" 1d ", 86_400)],
)
def test_durations_are_read_as_people_write_them(
    monkeypatch: pytest.MonkeyPatch, text: str, seconds: int
) -> None:
    monkeypatch.setenv("IDENTITY_ACCESS_TOKEN_TTL", text)
    assert Settings.load().tokens.access_token_ttl.total_seconds() == seconds


@pytest.mark.parametrize(
    "text", ["", "15 m", "-5m", "1.5h", "5w", "m", "1h30m", "١٥m", "P1D", "0", "0m", "9" * 12]
)
def test_what_is_no_duration_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("IDENTITY_LOGIN_LOCKOUT", text)
    with pytest.raises(SettingsError, match="IDENTITY_LOGIN_LOCKOUT") as raised:
        Settings.load()
    assert repr(text) in str(raised.value) or "greater than" in str(raised.value)


def test_lists_are_separated_by_commas_or_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1  ::1")
    monkeypatch.setenv("IDENTITY_CORS_ORIGINS", "https://a.example,https://b.example")
    server = Settings.load().server
    assert server.trusted_proxies == tuple(map(ip_network, ("10.0.0.0/8", "127.0.0.1", "::1")))
    assert server.cors_origins == ("https://a.example", "https://b.example")
    monkeypatch.setenv("IDENTITY_TRUSTED_PROXIES", "10.0.0.0/8,proxy.example")
    with pytest.raises(SettingsError, match="IDENTITY_TRUSTED_PROXIES"):
        Settings.load()


def test_origins_are_written_as_browsers_send_them() -> None:
    origins = (
        "https://app.example", "http://localhost:3000", "https://[::1]:8443", "http://a.example:443",
        "capacitor://localhost", "*",
    )  # fmt: skip
    assert Settings.of(cors_origins=" ".join(origins)).server.cors_origins == origins
    assert "https://app.example" in refusal(cors_origins="app.example")


def test_a_proxy_is_named_by_its_address_and_the_refusal_says_so() -> None:
    words = refusal(trusted_proxies="10.0.0.1 proxy")
    assert "'proxy': names are not looked up" in words
    assert "network" in words


def test_who_may_scrape_is_never_told() -> None:
    secret = "s3cret-of-the-scraper"
    server = Settings.of(metrics_allow=f"10.0.0.0/8, ::1 token:{secret}").server
    assert secret not in repr(server)
    assert len(server.metrics_allow) == 3
    for wrong in (f"tokens:{secret}", secret, "token:short", f"10.0.0.0/33 token:{secret}"):
        words = refusal(metrics_allow=f"10.0.0.0/8 {wrong}")
        assert words.startswith("IDENTITY_METRICS_ALLOW: entry 2")
        assert secret not in words and "short" not in words


def test_an_unknown_name_is_refused_with_the_one_that_was_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IDENTITY_ISSUR", "https://id.example")
    with pytest.raises(SettingsError) as raised:
        Settings.load()
    assert str(raised.value) == ("IDENTITY_ISSUR is not a setting; did you mean IDENTITY_ISSUER?")
    monkeypatch.delenv("IDENTITY_ISSUR")
    monkeypatch.setenv("IDENTITY_XYZZY_PLUGH", "1")
    with pytest.raises(SettingsError) as raised:
        Settings.load()
    assert str(raised.value) == "IDENTITY_XYZZY_PLUGH is not a setting"


def test_a_nested_or_grouped_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IDENTITY_SERVER", "IDENTITY_SERVER__PORT", "IDENTITY_"):
        monkeypatch.setenv(name, "{}")
        with pytest.raises(SettingsError, match="is not a setting"):
            Settings.load()
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IDENTITY_PORT", "eighty"),
        ("IDENTITY_PORT", "65536"),
        ("IDENTITY_WORKERS", "0"),
        ("IDENTITY_BCRYPT_ROUNDS", "17"),
        ("IDENTITY_BCRYPT_ROUNDS", "9"),
        ("IDENTITY_BCRYPT_ROUNDS", "3"),
        ("IDENTITY_SIGNING_ALGORITHM", "HS256"),
        ("IDENTITY_SIGNING_ALGORITHM", "none"),
        ("IDENTITY_PASSWORD_GRANT", "maybe"),
        ("IDENTITY_LOG_FORMAT", "xml"),
        ("IDENTITY_LOG_LEVEL", "loud"),
        ("IDENTITY_ENVIRONMENT", "staging"),
        ("IDENTITY_LOGIN_MAX_FAILURES", "0"),
        ("IDENTITY_DATABASE_POOL", "1"),
        ("IDENTITY_DRAIN", "-1"),
        ("IDENTITY_DRAIN", "soon"),
        ("IDENTITY_HTTP", "h11"),
        ("IDENTITY_CORS_ORIGINS", "app.example"),
        ("IDENTITY_CORS_ORIGINS", "https://app.example/"),
        ("IDENTITY_CORS_ORIGINS", "https://app.example:443"),
        ("IDENTITY_CORS_ORIGINS", "http://app.example:80"),
        ("IDENTITY_CORS_ORIGINS", "https://App.example"),
        ("IDENTITY_CORS_ORIGINS", "https://user@app.example"),
        ("IDENTITY_CORS_ORIGINS", "//app.example"),
        ("IDENTITY_CORS_ORIGINS", "https://"),
        ("IDENTITY_CORS_ORIGINS", "null"),
        ("IDENTITY_TRUSTED_PROXIES", "proxy.example"),
        ("IDENTITY_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("IDENTITY_ISSUER", "id.example"),
        ("IDENTITY_ISSUER", "ftp://id.example"),
        ("IDENTITY_ISSUER", "https://id.example/?x=1"),
        ("IDENTITY_ISSUER", "https://id.example/#x"),
        ("IDENTITY_ISSUER", "https://"),
    ],
)
def test_a_bad_value_is_refused_by_name_and_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        Settings.load()
    text = str(raised.value)
    assert text.startswith(f"{name}: ")
    assert value in text
    assert "\n" not in text and "pydantic" not in text


def test_a_duration_too_long_is_shown_as_people_read_it() -> None:
    assert refusal(access_token_ttl="2d").endswith("1 day (it is 2 days, 0:00:00)")


def test_lower_case_names_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("identity_port", "9000")
    assert Settings.load().server.port == 9000


def test_empty_proxies_and_origins_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_TRUSTED_PROXIES", "")
    monkeypatch.setenv("IDENTITY_CORS_ORIGINS", " ")
    server = Settings.load().server
    assert server.trusted_proxies == server.cors_origins == ()


def test_the_environment_wins_over_the_env_file_and_arguments_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        "# a comment\nIDENTITY_PORT=9001\nIDENTITY_HOST='0.0.0.0'\n"
        "export IDENTITY_LOG_LEVEL=debug\nOTHER_NAME=ignored\n"
    )
    settings = Settings.load()
    assert (settings.server.port, settings.server.host) == (9001, "0.0.0.0")
    assert settings.logs.log_level == "debug"
    monkeypatch.setenv("IDENTITY_PORT", "9002")
    assert Settings.load().server.port == 9002
    assert Settings.load(port=9003).server.port == 9003
    assert "IDENTITY_HOST" not in os.environ  # nothing leaks into the process
    (tmp_path / ".env").write_text("IDENTITY_PROT=1\n")
    with pytest.raises(SettingsError, match="did you mean IDENTITY_PORT"):
        Settings.load()


def test_settings_of_ignores_environment_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("IDENTITY_NONSENSE=1\n")
    monkeypatch.setenv("IDENTITY_PORT", "1")
    assert Settings.of(host="::1").server.port == 8000
    with pytest.raises(SettingsError, match="IDENTITY_PRT is not a setting"):
        Settings.of(prt=1)


@pytest.mark.parametrize(
    ("host", "issuer"),
    [
        ("127.0.0.1", "http://127.0.0.1:9000"),
        ("0.0.0.0", "http://127.0.0.1:9000"),
        ("::", "http://127.0.0.1:9000"),
        ("::1", "http://[::1]:9000"),
        ("localhost", "http://localhost:9000"),
    ],
)
def test_the_issuer_follows_host_and_port(host: str, issuer: str) -> None:
    settings = Settings.of(host=host, port=9000)
    assert settings.issuer == settings.audience == issuer
    assert Settings.of(host=host, issuer="https://id.example").issuer == "https://id.example"
    assert Settings.of(default_audience="https://api.example").audience == "https://api.example"


def test_settings_cannot_be_changed() -> None:
    settings = Settings.of()
    with pytest.raises(ValidationError):
        settings.server.port = 1
    with pytest.raises(ValidationError):
        settings.server = settings.server


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


@pytest.mark.parametrize(
    "fields",
    [
        {"database_url": f"mysql://identity:{SECRET}@db/identity"},
        {"database_url": {"password": SECRET}},
        {"master_key": [SECRET]},
        {"bootstrap_admin_password": {"is": SECRET}},
    ],
)
def test_a_refused_secret_is_not_repeated(fields: dict[str, Any]) -> None:
    assert SECRET not in refusal(**fields)


def test_secrets_are_in_no_repr() -> None:
    settings = Settings.of(
        database_url=f"postgresql://identity:{SECRET}@db/identity",
        master_key=SECRET,
        bootstrap_admin_password=SECRET,
    )
    shown = (repr(settings), str(settings), f"{settings.database}", settings.model_dump_json())
    assert not any(SECRET in text for text in shown)
    assert settings.keys.master_key is not None
    assert settings.keys.master_key.get_secret_value() == SECRET


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
