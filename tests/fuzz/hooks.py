"""What generated requests need to get further than the door: live tokens, right passwords.

Schemathesis imports this in a process of its own (SCHEMATHESIS_HOOKS). Every generated request may
end whoever sends it, a key or a role among the rest, so the administrator is a new one when the
last one is no good any more.
"""

import os
import random
import secrets
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import httpx
import schemathesis
from schemathesis.generation import GenerationMode

from identity.authentication.mail.outbox import OutgoingMail
from identity.authentication.passwords.hashing import PasswordHasher
from identity.authentication.throttle import LoginFailure
from identity.clock import utcnow
from identity.directory.clients import accounts as clients
from identity.directory.clients.table import Client, ClientType
from identity.directory.consents import Consent
from identity.directory.users import accounts
from identity.service.wiring import open_database
from identity.settings import Settings
from identity.store import changes
from identity.tokens.sessions.table import BrowserSession
from tests.authenticators import Authenticator
from tests.pictures import png
from tests.second_factors import App
from tests.world import PASSWORD, bearer, claims_of

TOTP, PASSKEYS = "/users/me/factors/totp", "/users/me/factors/passkeys"
ORIGIN = os.environ["FUZZ_SERVICE"].replace("127.0.0.1", "localhost")
"""Of the issuer, which has a name, so that passkeys are possible."""
FOR_CLIENTS = {"/token", "/revoke", "/par", "/device_authorization", "/authorize-challenge"}
NOT_MADE_UP = {"request", "request_uri", "authorization_details"}
"""Parameters whose values have to be signed, stored or registered."""
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
CHALLENGE = {
    "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    "code_challenge_method": "S256",
}

API = httpx.Client(base_url=os.environ["FUZZ_SERVICE"], trust_env=False)
DATABASE = open_database(Settings.of(database_url=os.environ["FUZZ_DATABASE_URL"]))
PASSWORD_HASH = PasswordHasher(4).hash(PASSWORD)
choice = random.Random(1).choice
valid_cases: Counter[tuple[str, str]] = Counter()
"""Of each operation so far. Every other one is led through, the first among them."""


@dataclass
class Login:
    client_id: str
    access_token: str
    refresh_token: str

    @property
    def tokens(self) -> list[str]:
        return [self.access_token, self.refresh_token]

    @property
    def claims(self) -> Any:
        return claims_of(self.access_token)


def new_user() -> str:
    username = f"fuzz-{secrets.token_hex(6)}"
    with DATABASE.transaction() as session:
        accounts.create(session, username=username, password_hash=PASSWORD_HASH, roles=["admin"])
    return username


def new_client(*grants: str, **settings: Any) -> str:
    """A public one, for whoever comes by the built-in one may find it disabled."""
    client = Client(
        id=f"fuzz-{secrets.token_hex(6)}", type="public", scopes=["*"], audiences=[],
        grants=list(grants or ("password", "refresh_token")), settings=settings,
    )  # fmt: skip
    with DATABASE.transaction() as session:
        session.add(client)
        changes.record(session, "client.changed", client.id)
        return client.id


def registered() -> dict[str, Any]:
    """A client that has registered itself."""
    answer = API.post("/register", json=NOTES, headers=bearer(new_login().access_token))
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


NOTES = {"client_name": "Notes", "redirect_uris": ["https://notes.example/callback"]}


def new_secret() -> tuple[str, str]:
    """A confidential client and its one secret: their ids."""
    client = Client(id=f"fuzz-{secrets.token_hex(6)}", grants=[], scopes=[], audiences=[])
    with DATABASE.transaction() as session:
        session.add(client)
        session.flush()
        made = clients.add_secret(session, client, held=None)
        return client.id, made.row.id


def new_login() -> Login:
    form = password_grant()
    answer = API.post("/token", data=form)
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    return Login(form["client_id"], tokens["access_token"], tokens["refresh_token"])


def password_grant() -> dict[str, str]:
    """A form that gets a token."""
    who = {"username": new_user(), "password": PASSWORD}
    return {"grant_type": "password", "client_id": new_client(), "scope": "* openid"} | who


def login_with_app() -> Any:
    """The access token of a user who has an authenticator app, got with it."""
    form = password_grant()
    token = API.post("/token", data=form).json()["access_token"]
    app = begun_app(token)
    confirmed = API.post(f"{TOTP}/confirm", json={"code": app.code()}, headers=bearer(token))
    code = confirmed.json()["recovery_codes"][0]
    return API.post("/token", data=form | {"otp": code}).json()["access_token"]


def login_with_passkey() -> tuple[Any, str]:
    """The access token of a user who has a passkey, got by recovery code, and the passkey's id."""
    form = password_grant()
    token = API.post("/token", data=form).json()["access_token"]
    body = {"name": "Key", "credential": begun_passkey(token)}
    made = API.post(f"{PASSKEYS}/confirm", json=body, headers=bearer(token)).json()
    answer = API.post("/token", data=form | {"otp": made["recovery_codes"][0]})
    return answer.json()["access_token"], made["passkey"]["id"]


def begun_passkey(token: str) -> dict[str, Any]:
    options = API.post(PASSKEYS, headers=bearer(token)).json()
    return Authenticator(origin=ORIGIN).make(options)


def begun_app(token: str) -> App:
    return App.scanned(API.post(TOTP, headers=bearer(token)).json()["uri"])


def new_block() -> str:
    """Of a user who has typed too many wrong passwords."""
    with DATABASE.transaction() as session:
        user = accounts.create(session, username=f"fuzz-{secrets.token_hex(6)}", roles=[])
        row = LoginFailure(
            key=secrets.token_hex(32), count=10, expires_at=utcnow() + timedelta(hours=1),
            kind="account", user_id=user.id, locked=True,
        )  # fmt: skip
        session.add(row)
        return row.key


def new_mail() -> str:
    """One that nobody sends."""
    later = utcnow() + timedelta(days=1)
    row = OutgoingMail(kind="test", target="nobody", due_at=later, noted_at=utcnow())
    with DATABASE.transaction() as session:
        session.add(row)
        return row.id


def new_invited() -> str:
    """A user without a password."""
    with DATABASE.transaction() as session:
        name = f"fuzz-{secrets.token_hex(6)}"
        return accounts.create(session, username=name, email=f"{name}@example.com", roles=[]).id


def login_with_email() -> str:
    """The access token of a user whose address is not verified."""
    form = password_grant()
    with DATABASE.transaction() as session:
        user = accounts.find_by_login(session, form["username"])
        assert user is not None
        accounts.update(session, user, {"email": f"{form['username']}@example.com"}, None)
    token: str = API.post("/token", data=form).json()["access_token"]
    return token


def agreed_and_signed_in(user_id: str) -> dict[str, str]:
    """A client that this user agreed to, and a browser session of theirs: names in paths."""
    now, client_id = utcnow(), new_client()
    browser = BrowserSession(
        digest=secrets.token_hex(32), user_id=user_id, amr=["pwd"], acr="aal1",
        authenticated_at=now, expires_at=now + timedelta(hours=1),
    )  # fmt: skip
    with DATABASE.transaction() as session:
        session.add(browser)
        session.add(Consent(user_id=user_id, client_id=client_id, scopes=["openid"]))
    return {"user_id": user_id, "client_id": client_id, "session_id": browser.id}


def authorization_request(type_: ClientType = "confidential") -> dict[str, str]:
    """One that waits for somebody to sign in."""
    client_id, uri = f"fuzz-{secrets.token_hex(6)}", "https://shop.example/callback"
    with DATABASE.transaction() as session:
        settings = {"redirect_uris": [uri]}
        grants = ["authorization_code"]
        session.add(Client(id=client_id, type=type_, grants=grants, settings=settings))
        changes.record(session, "client.changed", client_id)
    return {
        "response_type": "code", "client_id": client_id, "redirect_uri": uri,
        "response_mode": "query", "prompt": "login", "max_age": "60", "claims": "{}", **CHALLENGE,
    }  # fmt: skip


@schemathesis.auth(refresh_interval=None)
class Administrator:
    """Who sends the requests, but for those of clients."""

    login: ClassVar[Login | None] = None

    def get(self, case: Any, _: Any) -> str | None:
        return None if case.operation.path in FOR_CLIENTS else living().access_token

    def set(self, case: Any, token: str, _: Any) -> None:
        case.headers.update(bearer(token))


def living() -> Login:
    """One who still is an administrator: the case before may have taken their roles."""
    login = Administrator.login
    if login is None or API.get("/lockdown", headers=bearer(login.access_token)).is_error:
        login = Administrator.login = new_login()
    return login


@schemathesis.hook
def before_call(_: Any, case: Any, sent: Any) -> None:
    """Cases are made ahead of their calls, and the case before may have ended the token."""
    if case.headers and Administrator.login is not None:
        token = case.headers.get("authorization")
        if token in bearer(Administrator.login.access_token).values():
            case.headers.update(bearer(living().access_token))
    _put_right(case, sent)


@schemathesis.hook
def after_call(_: Any, case: Any, response: Any) -> None:
    """A lockdown would leave nothing to be got through to."""
    if case.operation.path == "/lockdown" and case.method == "PUT" and response.status_code == 200:
        API.delete("/lockdown", headers=bearer(living().access_token)).raise_for_status()


def _put_right(case: Any, sent: dict[str, Any]) -> None:
    """Let every other case that names a token, a password or a session name one that exists.

    Only valid cases: what is meant to be refused stays as it is.
    """
    path, body = case.operation.path, case.body
    if path == "/revocations" and isinstance((case.query or {}).get("wait"), int | float):
        case.query["wait"] = 0  # nothing is waited for
    if case.meta.generation.mode is GenerationMode.NEGATIVE:
        return
    valid_cases[case.method, path] += 1
    if valid_cases[case.method, path] % 2 == 0:
        return
    if path == "/users/{user_id}/sessions/{session_id}":
        claims = new_login().claims
        case.path_parameters.update(user_id=claims["sub"], session_id=claims["sid"])
    elif path == "/users/{user_id}" and case.method == "PATCH":
        case.path_parameters["user_id"] = new_login().claims["sub"]
        case.body = {"name": "Somebody"}
        for name in [name for name in case.headers if name.lower() == "if-match"]:
            del case.headers[name]
    elif path == "/sessions/{session_id}":
        case.path_parameters["session_id"] = new_login().claims["sid"]
    elif path == "/sessions/end":
        case.body = {"address": "203.0.113.7", "preview": True}
    elif path == "/blocks/{block_id}":
        case.path_parameters["block_id"] = new_block()
    elif path == "/mail/test":
        case.body = {"to": "ada@example.com"}
    elif path.startswith("/mail/{mail_id}"):
        case.path_parameters["mail_id"] = new_mail()
    elif path == "/users/{user_id}/invitation":
        case.path_parameters["user_id"] = new_invited()
    elif path == "/users/{user_id}/why":
        case.path_parameters["user_id"], case.query = living().claims["sub"], {}
    elif path == "/users/me/verify-email":
        case.headers.update(bearer(login_with_email()))
    elif path == "/users/export":
        case.query = {"format": "csv"}
    elif path == "/users/import":
        case.query, case.headers["content-type"] = {"dry_run": "true"}, "text/csv"
        case.media_type, case.body = "text/csv", "username\nsomebody-new\n"
    elif path == "/clients/{client_id}/token-preview":
        case.path_parameters["client_id"] = new_client("client_credentials")
        case.body = {"scope": "introspect"}
    elif path == "/users/me/sessions/{session_id}":
        case.path_parameters["session_id"] = living().claims["sid"]
    elif path == "/users/{user_id}/factors":
        case.path_parameters["user_id"] = claims_of(login_with_app())["sub"]
    elif path == "/users/{user_id}/enrolment-links":
        user_id = claims_of(login_with_app())["sub"]
        case.path_parameters["user_id"] = user_id
        if case.method == "POST":
            case.body = {"reason": "lost"}
        else:
            giver = bearer(new_login().access_token)
            address = f"/users/{user_id}/enrolment-links"
            API.post(address, json={"reason": "lost"}, headers=giver).raise_for_status()
    elif path.endswith("/logo"):
        _with_logo(case, sent)
    elif path == "/users/me/notices":
        case.headers.update(bearer(new_login().access_token))
    elif path == f"{TOTP}/confirm":
        token = new_login().access_token
        case.headers.update(bearer(token))
        case.body = {"code": begun_app(token).code()}
    elif path == f"{PASSKEYS}/confirm":
        token = new_login().access_token
        case.headers.update(bearer(token))
        case.body = {"name": "Key", "credential": begun_passkey(token)}
    elif path == f"{PASSKEYS}/{{passkey_id}}":
        token, passkey_id = login_with_passkey()
        case.headers.update(bearer(token))
        case.path_parameters["passkey_id"] = passkey_id
    elif path.startswith("/users/me/factors/"):
        case.headers.update(bearer(login_with_app()))
    elif "/consents" in path or "/browser-sessions" in path:
        named = agreed_and_signed_in(living().claims["sub"])
        case.path_parameters.update({n: named[n] for n in case.path_parameters or {}})
    elif path == "/authorize":
        # Not in place: of the same object cases are made that are to be refused.
        place = "query" if case.method == "GET" else "body"
        asked = getattr(case, place)
        if isinstance(asked, dict):
            left = {name: value for name, value in asked.items() if name not in NOT_MADE_UP}
            setattr(case, place, left | authorization_request())
    elif path == "/par" and isinstance(body, dict):
        case.body = authorization_request("public")
    elif path == "/device_authorization" and isinstance(body, dict):
        case.body = {"client_id": new_client(DEVICE_CODE), "scope": "openid"}
    elif path == "/authorize-challenge" and isinstance(body, dict):
        client_id = new_client("authorization_code", first_party=True)
        who = {"username": new_user(), "password": PASSWORD}
        case.body = {"client_id": client_id, "scope": "openid", **who, **CHALLENGE}
    elif path == "/register" and isinstance(body, dict):
        case.body = {**NOTES}
    elif path == "/register/{client_id}":
        client = registered()
        case.path_parameters["client_id"] = client["client_id"]
        case.headers.update(bearer(client["registration_access_token"]))
        if case.method == "PUT":
            case.body = {**NOTES, "client_id": client["client_id"]}
    elif path.startswith("/clients/{client_id}/secrets"):
        client_id, secret_id = new_secret()
        named = {"client_id": client_id, "secret_id": secret_id}
        case.path_parameters.update({name: named[name] for name in case.path_parameters})
    elif not isinstance(body, dict) or not all(_short(text) for text in body.values()):
        return
    elif path == "/introspect" and "token" in body:
        case.body = {"token": choice(new_login().tokens)}
    elif path == "/revoke" and "token" in body:
        login = new_login()
        case.body = {"token": choice(login.tokens), "client_id": login.client_id}
    elif path == "/token" and "grant_type" in body:
        case.body = _grant() | {k: v for k, v in body.items() if k == choice(["scope", "resource"])}
    elif body.keys() - {"username"} == {"current_password", "new_password"}:
        right = {"current_password": PASSWORD, "new_password": secrets.token_urlsafe(12)}
        case.body = body | right | ({"username": new_user()} if "username" in body else {})


def _with_logo(case: Any, sent: dict[str, Any]) -> None:
    """`sent` takes the place of a body: bytes would be none that the document describes."""
    address, picture = "/branding/logo", {"content-type": "image/png"}
    if case.path_parameters:
        case.path_parameters["client_id"] = new_client()
        address = f"/clients/{case.path_parameters['client_id']}/logo"
    for name in [name for name in case.headers if name.lower() == "if-match"]:
        del case.headers[name]
    if case.method == "PUT":
        case.headers.update(picture)
        sent["data"] = png()
    else:
        giver = bearer(new_login().access_token)
        API.put(address, content=png(), headers=giver | picture).raise_for_status()


def _grant() -> dict[str, str]:
    if choice([True, False]):
        return password_grant()
    login = new_login()
    token = {"grant_type": "refresh_token", "refresh_token": login.refresh_token}
    return token | {"client_id": login.client_id}


def _short(text: Any) -> bool:
    return isinstance(text, str) and 0 < len(text) <= 200
