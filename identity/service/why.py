"""Two questions that administrators ask: why could this user not sign in, and why may they do
that?

Both are answered by what decides: each obstacle below is found by calling the very function that a
login calls, in its order, and each scope by the one that grants it (`granting.withheld`).
"""

from collections.abc import Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import Literal

from sqlmodel import Session, col, select

from identity.authentication import blocks
from identity.authentication.levels import BY_PASSWORD
from identity.authentication.password import Account, Due, due
from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.directory.access import granting
from identity.directory.access.granting import EVERYBODYS, Withheld
from identity.directory.clients.registry import ClientSnapshot
from identity.directory.users import accounts
from identity.errors import LockedDown, NotFound, TooManyRequests
from identity.records.audit import AuditEvent
from identity.service.wiring import Services
from identity.tokens import lockdown, targets

Reason = Literal[
    "client_disabled", "grant_not_allowed", "grant_switched_off", "throttled", "disabled",
    "password_expired", "no_password", "unreadable_password", "lockdown", "password_must_change",
    "second_factor_required",
]  # fmt: skip
OF_ACCOUNT: dict[str, Reason] = {
    "disabled": "disabled",
    "one-time password expired": "password_expired",
    "no password": "no_password",
    "unreadable password hash": "unreadable_password",
}
"""What `PasswordLogin.why_not` says of a user who exists."""
OF_DUE: dict[Due, Reason] = {
    "new password": "password_must_change",
    "second factor": "second_factor_required",
}
PASSWORD = "password"  # noqa: S105 - the name of a grant
RECENT = timedelta(days=7)
FAILURES = 20


@dataclass(frozen=True, slots=True)
class Obstacle:
    """`until`: when it goes by itself, if it does."""

    reason: Reason
    words: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A login that was refused."""

    at: datetime
    why: str | None
    address: str | None
    client_id: str | None
    count: int


@dataclass(frozen=True, slots=True)
class SignIn:
    """`obstacles`: in the order in which a login with the right password would meet them. None:
    nothing but a wrong password keeps the user out."""

    obstacles: list[Obstacle]
    blocks: list[blocks.Block]
    failures: list[Failure]


@dataclass(frozen=True, slots=True)
class FromRole:
    role: str
    acr: str | None
    """The level that the role wants."""
    counts: bool
    """Whether it is held at the level asked about."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One scope on its way from the user's roles to a client's token."""

    scope: str
    exists: bool
    resource: str | None
    roles: list[FromRole]
    """Those that hold it, whether or not they count."""
    everybodys: bool
    """Every user holds it."""
    client: Literal["by name", "by *"] | None
    """How the client has it."""
    withheld: Withheld | None
    """Who has not got it; None: it is granted."""
    granted: bool


@dataclass(frozen=True, slots=True)
class Rights:
    roles: list[str]
    audience: str
    scopes: list[Trace] = field(default_factory=list)


# --- Why could this user not sign in? --------------------------------------------------------


async def sign_in(
    services: Services,
    user_id: str,
    *,
    client_id: str | None = None,
    address: str | None = None,
    failures: bool = True,
) -> SignIn:
    """`client_id`: by the grant `password` at this client; without it, at our own pages. `address`:
    from there; without it, from where nobody has failed. `failures`: tell of recent ones.
    `NotFound` where there is no such user or client."""
    await services.feed.catch_up()
    user = await services.db.read(lambda session: accounts.get(session, user_id))
    found: list[Obstacle] = []
    if client_id is not None:
        found += _at_client(services, await _client(services, client_id))
    for name in dict.fromkeys(filter(None, (user.username, user.email))):
        found += await _throttled(services, name, address)
    account = await services.login.find(user.username)
    found += _of_account(services, account)
    stopped = await _lockdown(services, user_id, lockdown.ANY_LEVEL)
    found += stopped
    still = due(account) if account is not None else None
    if account is not None and still is not None:
        words = {
            "new password": "the one-time password must be changed first",
            "second factor": "a second factor is needed beside the password",
        }
        found.append(Obstacle(OF_DUE[still], words[still], account.password_expires_at))
    if client_id is not None and not stopped and still is None:
        # A role that wants a second factor does not count in tokens of a password alone.
        found += await _lockdown(services, user_id, BY_PASSWORD.acr)

    def told(session: Session) -> tuple[list[blocks.Block], list[Failure]]:
        held_up = blocks.listed(session, user_id=user_id, most=50)
        return held_up, _failures(session, user_id) if failures else []

    return SignIn(found, *await services.db.read(told))


def _at_client(services: Services, client: ClientSnapshot) -> list[Obstacle]:
    found = list[Obstacle]()
    if not client.active:
        found.append(Obstacle("client_disabled", "the client is disabled"))
    if not client.may_use(PASSWORD):
        words = "the client may not use the grant password"
        found.append(Obstacle("grant_not_allowed", words))
    if not services.settings.sessions.password_grant:
        words = "the grant password is switched off (IDENTITY_PASSWORD_GRANT)"
        found.append(Obstacle("grant_switched_off", words))
    return found


async def _throttled(services: Services, name: str, address: str | None) -> list[Obstacle]:
    """By one of the names that log the user in: failures count by what is typed."""
    with services.throttle.attempt(name, address) as attempt:
        try:
            await attempt.check(services.db)
        except TooManyRequests as locked:
            until = utcnow() + timedelta(seconds=locked.retry_after)
            return [Obstacle("throttled", f"{locked.audit}, as {name}", until)]
    return []


def _of_account(services: Services, account: Account | None) -> list[Obstacle]:
    why = services.login.why_not(account)
    return [] if why is None else [Obstacle(OF_ACCOUNT.get(why, "disabled"), why)]


async def _lockdown(services: Services, user_id: str, acr: str) -> list[Obstacle]:
    try:
        await services.db.read(lambda session: lockdown.admit(session, user_id, acr))
    except LockedDown:
        state = await lockdown.load(services.db)
        words = f"every sign-in is stopped: {state.reason or 'no reason was given'}"
        return [Obstacle("lockdown", words)]
    return []


def _failures(session: Session, user_id: str) -> list[Failure]:
    query = select(AuditEvent).where(
        AuditEvent.event == "login",
        AuditEvent.outcome == "refused",
        AuditEvent.subject == user_id,
        AuditEvent.at >= utcnow() - RECENT,
    )
    rows = session.exec(query.order_by(col(AuditEvent.id).desc()).limit(FAILURES))
    return [
        Failure(r.at, r.detail.get("why"), r.address, r.client_id, r.detail.get("count", 1))
        for r in rows
    ]


# --- Why may this user do that? --------------------------------------------------------------


async def rights(
    services: Services,
    user_id: str,
    client_id: str,
    *,
    scopes: Sequence[str] = (),
    resource: str | None = None,
    acr: str | None = None,
) -> Rights:
    """Each of `scopes`, or of all that exist, in a token of this client for this user. `resource`:
    the one that it would be for; `acr`: the level of the login, the highest if None. `NotFound`,
    `InvalidTarget`."""
    await services.feed.catch_up()
    client = await _client(services, client_id)
    home = services.scopes.at_hand("*") or await services.scopes.get("*") or {}
    settings = services.settings
    own = frozenset({settings.audience, settings.issuer})
    asked = " ".join(scopes) or None
    target = targets.at_token(resource, asked, client, own, home, settings.issuer)
    level = acr or lockdown.ANY_LEVEL

    def unit(session: Session) -> Rights:
        accounts.get(session, user_id)
        roles, held = accounts.rights_of(session, user_id, level)
        rows = accounts.grants_of(session, user_id)
        audience = target if target != settings.audience else None
        traces = []
        for name in scopes or home:
            why = (
                granting.withheld(name, home[name], client.scopes, held, audience)
                if name in home
                else None
            )
            from_roles = [
                FromRole(role, wanted, accounts.counts(wanted, level))
                for role, scope, wanted in sorted(rows, key=lambda row: row[0])
                if scope == name
            ]
            of_client: Literal["by name", "by *"] | None = None
            if name in client.scopes:
                of_client = "by name"
            elif client.may_hold(name):
                of_client = "by *"
            traces.append(
                Trace(
                    scope=name,
                    exists=name in home,
                    resource=home.get(name),
                    roles=from_roles,
                    everybodys=name in EVERYBODYS,
                    client=of_client,
                    withheld=why,
                    granted=name in home and why is None,
                )
            )
        return Rights(roles, target or settings.audience, traces)

    return await services.db.read(unit)


async def _client(services: Services, client_id: str) -> ClientSnapshot:
    client = await services.clients.get(client_id)
    if client is None:
        raise NotFound("no such client")
    return client
