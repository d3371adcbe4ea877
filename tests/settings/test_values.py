"""How values are spelled, and what is refused for its spelling."""

from ipaddress import ip_network

import pytest

from identity.settings import Settings, SettingsError, described
from tests.settings.refusing import refusal


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


DURATIONS = [name for name, _, field in described() if "timedelta" in str(field.annotation)]


@pytest.mark.parametrize("name", DURATIONS)
def test_no_duration_leads_beyond_the_calendar(name: str) -> None:
    field = name.removeprefix("IDENTITY_").lower()
    assert refusal(**{field: "36501d"}).startswith(f"{name}: must be 36500d at the most")


def test_a_duration_of_none_is_refused_in_words() -> None:
    assert refusal(login_lockout="0").endswith("input should be greater than 0 (it is '0')")


@pytest.mark.parametrize("name", ["login_max_failures", "registration_most"])
def test_a_number_that_no_database_can_hold_is_refused(name: str) -> None:
    words = refusal(**{name: 10**20})
    assert words.startswith(f"IDENTITY_{name.upper()}: input should be less than or equal to")


def test_a_duration_too_long_is_shown_as_people_read_it() -> None:
    assert refusal(access_token_ttl="2d").endswith("1 day (it is 2 days, 0:00:00)")
