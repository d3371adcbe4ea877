"""What settings there are, where they are read, what is refused by name, what is never shown."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from identity.settings import Settings, SettingsError, described
from tests.settings.refusing import refusal

SECRET = "hunter2-and-more"


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


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("IDENTITY_PORT=9001\n", encoding="utf-8-sig")
    assert Settings.load().server.port == 9001


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
