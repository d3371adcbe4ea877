"""An authenticator app, by another library's hand, and how users come by one."""

import asyncio
from base64 import b32decode
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from identity import clock
from identity.authentication import recovery
from identity.directory.users import accounts
from identity.directory.users.table import User
from tests.world import PASSWORD, World, bearer

PERIOD = 30


@dataclass
class App:
    """Knows a secret and the time, and nothing of the service."""

    secret: str
    recovery_codes: list[str] = field(default_factory=list)

    @classmethod
    def scanned(cls, uri: str) -> "App":
        """As a camera reads a QR code."""
        parts = urlsplit(uri)
        assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
        (secret,) = parse_qs(parts.query)["secret"]
        return cls(secret)

    def code(self, steps: int = 0) -> str:
        """The one shown now, or so many steps from now."""
        key = b32decode(self.secret)
        app = TOTP(key, 6, SHA1(), PERIOD, enforce_key_length=False)
        return app.generate(int(clock.now()) + steps * PERIOD).decode()

    def wrong(self) -> str:
        """Six digits that are shown at none of the steps around now."""
        near = {self.code(steps) for steps in range(-3, 4)}
        return next(code for code in (f"{n:06d}" for n in range(10)) if code not in near)


def with_app(world: World, username: str = "ada", **fields: Any) -> tuple[User, App]:
    """A user who has set up an app; no code of it has been used."""
    user = world.user(username, **fields)
    return user, given_app(world, user)


def given_app(world: World, user: User) -> App:
    factors = world.services.second_factor
    # The code is of the step before, so that no test has used one: it has to stay that.
    with clock.frozen(clock.utcnow()), world.change() as session:
        row = accounts.get(session, user.id, lock=True)
        app = App.scanned(factors.begin_totp(session, row).uri)
        codes = factors.confirm_totp(session, row, app.code(-1))
        app.recovery_codes = codes or []
        assert len(app.recovery_codes) == recovery.HOW_MANY
    return app


async def log_in(world: World, code: str, username: str = "ada", **form: str) -> Any:
    """The answer of a login with a code."""
    form |= {"grant_type": "password", "username": username, "password": PASSWORD, "otp": code}
    return await world.token(**form)


async def at_once(*calls: Any) -> list[Any]:
    return list(await asyncio.gather(*calls))


__all__ = ["App", "at_once", "bearer", "given_app", "log_in", "with_app"]
