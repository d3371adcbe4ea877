"""A small service that looks lived in, for pictures (`scripts.screens`): the same each time, as far
as that goes. Its clock stands still and its chance has a beginning, so whatever it keeps secret is
none: it lives in a folder that is thrown away, and on loopback.

Keys are made anew each time. What is made of them (key ids) differs from one run to the next.
"""

import itertools
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pyotp
import uuid_utils
from PIL import Image, ImageDraw
from sqlmodel import Session

from identity import clock

AT = datetime(2026, 11, 24, 9, 41, tzinfo=UTC)
HOST = "login.localhost"
ISSUER = f"http://{HOST}"
PASSWORD = secrets.token_urlsafe(24)
MIRA = "mira.lindqvist"
CALLBACK = "https://shop.example/callback"
ORDERS = "https://orders.example.com"
PEOPLE = (
    ("Mira Lindqvist", "admin"), ("Jonas Weber", "support"), ("Amara Okafor", "editor"),
    ("Luca Moretti", "editor"), ("Sofia Petrova", "support"), ("Noah Tanaka", "editor"),
    ("Ines Carvalho", "auditor"), ("Elias Berg", "editor"), ("Yara Haddad", ""),
    ("Tomasz Nowak", ""), ("Priya Raman", "editor"), ("Finn Gallagher", ""),
    ("Chiara Russo", "support"), ("Mateo Vargas", ""), ("Hana Kimura", ""), ("Oskar Lund", ""),
    ("Zoe Martin", ""), ("Adam Kovacs", ""), ("Leila Farouk", ""), ("Ruben Visser", ""),
)  # fmt: skip


@contextmanager
def steady() -> Iterator[clock.Frozen]:
    """Time stands still, and ids and tokens are the same each time. Before anything is made."""
    random, numbers = Random(2026), itertools.count(1)  # noqa: S311 - that is what is wanted

    def uuid7() -> str:
        moment, number = int(clock.now() * 1000), next(numbers)
        text = f"{moment:012x}7{number & 0xFFF:03x}{0x8000 + (number >> 12):04x}{number:012x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    secrets.token_bytes = lambda count=None: random.randbytes(count or 32)
    uuid_utils.uuid7 = uuid7  # type: ignore[assignment]
    with clock.frozen(AT - timedelta(days=40)) as hand:
        yield hand


def settings(folder: Path) -> Any:
    from identity.settings import Settings

    return Settings.of(
        database_url=f"sqlite:///{folder / 'identity.db'}",
        keys_dir=folder / "keys",
        bootstrap_admin_password=PASSWORD,
        bcrypt_rounds=4,
        test_weak_hashing=True,
        log_level="error",
        mail_folder=folder / "mail",
        issuer=ISSUER,
    )


def fill(session: Session, services: Any) -> pyotp.TOTP:
    """People, roles and clients; the authenticator app of Mira, who administrates."""
    from identity.directory.access import editing
    from identity.directory.users import accounts

    for name, words in (("orders:read", "See orders"), ("orders:write", "Change orders")):
        editing.create_scope(session, name=name, description=words, audience=ORDERS)
    for name, words, scopes in (
        ("editor", "Looks after orders", ["orders:read", "orders:write"]),
        ("support", "Helps people in", ["users:read", "users:write", "audit:read"]),
        ("auditor", "Reads what happened", ["audit:read", "keys:read", "roles:read"]),
    ):
        editing.create_role(session, name=name, description=words, scopes=scopes, held=None)
    hashed = services.hasher.hash(PASSWORD)
    made = []
    for at, (name, role) in enumerate(PEOPLE):
        username = name.lower().replace(" ", ".")
        user = accounts.create(
            session, username=username, name=name, email=f"{username}@example.com",
            email_verified=at % 5 != 3, password_hash=hashed, roles=[role] if role else [],
        )  # fmt: skip
        made.append(user)
    accounts.set_status(session, made[-1], "disabled", None)
    _clients(session)
    factors = services.second_factor
    enrolment = factors.begin_totp(session, made[0])
    app = pyotp.parse_uri(enrolment.uri)
    assert isinstance(app, pyotp.TOTP)
    factors.confirm_totp(session, made[0], app.at(int(clock.now()) - 30))
    return app


def _clients(session: Session) -> None:
    from identity.directory.clients import accounts
    from identity.directory.issuers import editing as issuers
    from identity.oauth.grants.registry import GRANTS

    code, device = "authorization_code", "urn:ietf:params:oauth:grant-type:device_code"
    for client_id, name, kind, grants, scopes in (
        ("shop", "The Shop", "confidential", [code, "refresh_token"], ["*"]),
        ("shop-app", "The Shop on the phone", "public", [code, "refresh_token", "password"], ["*"]),
        ("television", "Television", "public", [device, "refresh_token"], ["openid", "profile"]),
        ("warehouse", "Warehouse", "confidential", ["client_credentials"], ["orders:read"]),
        ("nightly-report", "Nightly report", "confidential", ["client_credentials"], []),
    ):
        web = {
            "redirect_uris": [CALLBACK],
            "policy_uri": "https://shop.example/privacy",
            "tos_uri": "https://shop.example/terms",
        }
        client = accounts.create(
            session, client_id=client_id, name=name, type=kind, grants=grants, scopes=scopes,
            audiences=[ORDERS] if client_id == "warehouse" else [],
            chosen=web if code in grants else {}, known_grants=GRANTS, held=None,
        )  # fmt: skip
        if kind == "confidential":
            accounts.add_secret(session, client, held=None)
    issuers.create(
        session, issuer="https://kubernetes.default.svc.cluster.local",
        chosen={"name": "The shop's cluster", "jwks_uri": "https://cluster.example/jwks"},
        own_issuer=ISSUER, held=None,
    )  # fmt: skip


def live(api: httpx.Client, hand: clock.Frozen, app: pyotp.TOTP) -> None:
    """A day of logins, as the service itself tells of them. Ends at `AT`."""
    random = Random(7)  # noqa: S311 - as above
    names = [name.lower().replace(" ", ".") for name, _ in PEOPLE[1:-1]]
    shape = (1, 0, 0, 1, 0, 1, 2, 4, 6, 7, 5, 4, 6, 5, 5, 4, 3, 3, 2, 3, 2, 1, 1, 1)
    for hour in range(24):
        hand.at = (AT - timedelta(hours=24 - hour)).timestamp()
        for _ in range(shape[(9 + hour) % 24]):
            hand.tick(20)
            form = {"grant_type": "password", "client_id": "shop-app",
                    "username": random.choice(names), "password": PASSWORD}  # fmt: skip
            if random.random() < 0.12:
                form["password"] = "forgotten"  # noqa: S105 - nobody's
            api.post("/token", data=form)
    hand.at = AT.timestamp()


def picture(kind: str) -> bytes:
    """A logo: of the shop, or of whoever runs the service."""
    image = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    if kind == "shop":
        draw.rounded_rectangle((8, 8, 248, 248), 56, fill="#b4540a")
        draw.rectangle((72, 104, 184, 196), fill="#ffffff")
        draw.arc((96, 60, 160, 148), 180, 360, fill="#ffffff", width=14)
    else:
        draw.rounded_rectangle((8, 8, 248, 248), 56, fill="#0b6b4f")
        draw.polygon([(108, 84), (148, 84), (164, 212), (92, 212)], fill="#ffffff")
        draw.rectangle((104, 52, 152, 78), fill="#ffd76a")
        draw.rectangle((99, 128, 157, 148), fill="#0b6b4f")
    into = BytesIO()
    image.save(into, "PNG")
    return into.getvalue()


class Service:
    """The service in this process, so that its clock is ours."""

    def __init__(self, folder: Path) -> None:
        import asyncio
        import socket

        from identity.store import migrating

        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._settings = settings(folder)
        migrating.upgrade(self._settings)
        self._ready, self._asyncio = threading.Event(), asyncio
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        if not self._ready.wait(60):
            raise SystemExit("the service did not start")
        from identity.service.opening import open_database

        self.db = open_database(self._settings)
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False)
        self.ids: dict[str, str] = {}

    async def _run(self) -> None:
        from identity.app import create_app
        from identity.http.server import server as serving
        from identity.http.wire.lifespan import Lifespan
        from identity.http.wire.protocol import Limits

        app = create_app(self._settings)
        self.services = app.services
        config = serving.configured(Limits())
        config.app = app
        config.load()
        config.lifespan_class = Lifespan  # type: ignore[assignment]
        self._server = serving.Server(config, self._ready.set, None)
        await self._server.serve([self._listener])

    def fill(self, hand: Any) -> Any:
        from sqlmodel import select

        from identity.authentication.mail.outbox import OutgoingMail
        from identity.directory.branding.logos import drawn
        from identity.directory.issuers.table import TrustedIssuer
        from identity.directory.users import accounts
        from identity.service.administration import branding

        with self.db.transaction() as session:
            app = fill(session, self.services)
            branding.set_logo_of(session, "shop", drawn(picture("shop")), None, None)
        live(self.api, hand, app)
        with self.db.transaction() as session:
            for key, name in (("user", "jonas.weber"), ("mira", MIRA)):
                user = accounts.find_by_login(session, name)
                assert user is not None
                self.ids[key] = user.id
            self.ids["mail"] = session.exec(select(OutgoingMail.id)).first() or ""
            self.ids["issuer"] = session.exec(select(TrustedIssuer.id)).one()
        return app

    def close(self) -> None:
        self.api.close()
        self.db.close()
        self._server.should_exit = True
        self._thread.join(30)
