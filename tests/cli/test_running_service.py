"""What the command line changes, a running service knows by its next answer."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.serving import ADMIN_PASSWORD

Identity = Callable[..., Any]


@pytest.fixture
def service(
    server: Callable[..., Any], identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> Iterator[httpx.Client]:
    """Two processes behind one port."""
    running = server(workers=2)
    monkeypatch.setenv("IDENTITY_PORT", str(running.port))
    with httpx.Client(base_url=running.url, trust_env=False) as client:
        yield client


def token(service: httpx.Client, username: str, password: str) -> httpx.Response:
    form = {"grant_type": "password", "username": username, "password": password, "scope": "*"}
    return service.post("/token", data=form)


def me(service: httpx.Client, access_token: str) -> set[int]:
    """Statuses of several requests on connections of their own, which any process may take."""
    headers = {"authorization": f"Bearer {access_token}", "connection": "close"}
    return {service.get("/users/me", headers=headers).status_code for _ in range(8)}


def test_every_process_sees_at_once_what_the_command_line_changed(
    service: httpx.Client, identity: Identity
) -> None:
    password = "tangerine harbour 71"
    created = identity("users", "create", "ada", "--password-stdin", stdin=password)
    assert created.code == 0, created
    access_token = token(service, "ada", password).json()["access_token"]
    assert me(service, access_token) == {200}

    identity("users", "disable", "ada")
    assert me(service, access_token) == {401}
    assert token(service, "ada", password).status_code == 400
    identity("users", "enable", "ada")
    access_token = token(service, "ada", password).json()["access_token"]
    assert me(service, access_token) == {200}

    identity("keys", "rotate", "--now")
    active = next(
        key["kid"]
        for key in json.loads(identity("keys", "list", "--json").out)
        if key["state"] == "active"
    )
    assert me(service, access_token) == {200}
    fresh = token(service, "ada", password).json()["access_token"]
    assert identity("tokens", "explain", fresh).code == 0
    identity("keys", "revoke", active, "--yes")
    assert me(service, fresh) == {401}

    identity("users", "set-password", "ada", "--generate")
    assert me(service, access_token) == {401}


def test_secrets_and_roles_count_from_the_command_on(
    service: httpx.Client, identity: Identity
) -> None:
    def ask(secret: str) -> int:
        form = {"grant_type": "client_credentials"}
        return service.post("/token", data=form, auth=("billing", secret)).status_code

    old = identity("clients", "create", "billing", "--scope", "introspect").out.strip()
    assert ask(old) == 200
    new = identity("clients", "rotate-secret", "billing").out.strip()
    assert (ask(old), ask(new)) == (401, 200)
    identity("clients", "delete", "billing", "--yes")
    assert ask(new) == 401

    identity("users", "create", "ada", "--password-stdin", stdin="tangerine harbour 71")
    identity("users", "grant", "ada", "admin")
    admin = token(service, "ada", "tangerine harbour 71").json()
    headers = {"authorization": f"Bearer {admin['access_token']}"}
    assert service.get("/users", headers=headers).status_code == 200
    identity("users", "revoke", "ada", "admin")
    assert service.get("/users", headers=headers).status_code == 403


def test_doctor_finds_the_service_and_backup_and_verify_leave_it_alone(
    service: httpx.Client, identity: Identity, dialect: str
) -> None:
    assert token(service, "admin", ADMIN_PASSWORD).status_code == 200
    done = identity("doctor")
    assert "ok       service" in done.out
    assert identity("audit", "verify").code == 0
    if dialect == "sqlite":
        assert identity("backup", "copy.db").code == 0
    assert token(service, "admin", ADMIN_PASSWORD).status_code == 200


def test_commands_find_a_service_whose_port_only_its_own_command_line_says(
    server: Callable[..., Any], identity: Identity
) -> None:
    """Two, one after the other: the first keeps running, and the second is newer."""
    first, second = server(), server()
    tokens = [
        httpx.post(
            f"{running.url}/token",
            data={"grant_type": "password", "username": "admin", "password": ADMIN_PASSWORD},
            trust_env=False,
        ).json()["access_token"]
        for running in (first, second)
    ]
    done = identity("doctor")
    assert f"issuer {second.url}, as the service was last started" in done.out
    assert f"ok       service      answers at {second.url}" in done.out
    for token_ in tokens:
        assert identity("tokens", "explain", token_).code == 0
    second.stop()
    assert f"ok       service      answers at {first.url}" in identity("doctor").out
    first.stop()
    assert f"does not answer at {second.url}" in identity("doctor").out


def test_a_stated_issuer_counts_and_what_was_noted_is_no_more_than_a_few(
    identity: Identity, db: Any, make_settings: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from identity.service import served

    for port in (*range(9001, 9012), 0):
        with db.transaction() as session:
            served.note(session, make_settings(port=port))
    with db.transaction() as session:
        served.note(session, make_settings(port=9007))
    known = [one.issuer for one in served.as_served(db, make_settings())]
    assert known[:2] == ["http://127.0.0.1:9007", "http://127.0.0.1:9011"]
    assert len(known) == served.KEPT
    monkeypatch.setenv("IDENTITY_PORT", "9100")  # what starts next time is not what runs
    assert "issuer http://127.0.0.1:9007, as" in identity("doctor", "--offline").out
    monkeypatch.setenv("IDENTITY_ISSUER", "https://id.example")
    assert "issuer https://id.example\n" in identity("doctor", "--offline").out
