"""Setting the demonstration up: by the functions that make people and applications elsewhere, the
people at moments that have passed; and what happened in the week that ends now."""

import secrets
from base64 import b32encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final, NamedTuple

from sqlalchemy import insert
from sqlmodel import Session, func, select

from identity import clock
from identity.authentication import totp
from identity.authentication.passwords.hashing import PasswordHasher
from identity.authentication.totp import Totp
from identity.clock import utcnow
from identity.directory.access import editing
from identity.directory.access.granting import ADMIN
from identity.directory.clients import accounts as clients
from identity.directory.clients.grant_kinds import GrantKind
from identity.directory.clients.table import Client
from identity.directory.consents import Consent
from identity.directory.users import accounts
from identity.directory.users.table import LoginName, User, UserRole
from identity.errors import Conflict
from identity.keys.master import MasterKey
from identity.opaque import digest, mint
from identity.records import audit
from identity.records.audit import AuditEvent
from identity.service.demonstration.people import DOMAIN, HOW_MANY, PersonOfDemo, free_name, people
from identity.service.demonstration.scene import APPLICATIONS, ROLES, SCOPES
from identity.service.demonstration.table import Demonstration, mark
from identity.service.demonstration.week import DEMONSTRATION, Who, events
from identity.settings import Settings, SettingsError
from identity.store import insert_unique
from identity.tokens.sessions.table import BrowserSession, LoginSession

BY_DEMONSTRATION: Final = audit.Origin(request_id=DEMONSTRATION, actor_type="system")


class Built(NamedTuple):
    users: int
    clients: int
    events: int
    somebody: str
    """A username to try."""


def build(
    session: Session,
    settings: Settings,
    master: MasterKey,
    grants: Sequence[GrantKind],
    seed: int,
    password: str,
    how_many: int = HOW_MANY,
) -> Built:
    """All of it, in this transaction. Everybody has the same `password`, hashed once. The same
    seed makes the same people, and lets them do the same. `SettingsError` in production, `Conflict`
    where there is a demonstration already."""
    if settings.production:
        raise SettingsError("IDENTITY_ENVIRONMENT: production holds no demonstration")
    if not session.exec(select(UserRole.user_id).where(UserRole.role == ADMIN)).first():
        # A service that finds users makes no first one.
        raise Conflict("there is no administrator yet: start the service first")
    there = Conflict("there is a demonstration already: identity demo --remove")
    insert_unique(session, Demonstration(kind="itself", ref=DEMONSTRATION), there)
    dice, now = Random(seed), utcnow()  # noqa: S311 - nothing of it is a secret
    audit.record(session, "demonstration.built", seed=seed)
    _scene(session, grants)
    encoded = PasswordHasher(settings.passwords.bcrypt_rounds).hash(password)
    before = audit.origin.set(BY_DEMONSTRATION)
    try:
        with clock.frozen(now) as hand:
            users = _users(session, master, people(dice, now, how_many), encoded, hand)
    finally:
        audit.origin.reset(before)
    happened = events(dice, now, users)
    session.execute(insert(AuditEvent), happened)
    _note_logins(session, happened)
    _sessions(session, dice, now, users, settings)
    # A client whose id comes again is made a moment ahead of the clock.
    newest = session.exec(select(func.max(Client.created_at))).one()
    mark(session, "at", max(utcnow(), newest).isoformat())
    # None of this is news to anybody: no mail goes out.
    audit.happened(session).clear()
    usable = next(w for w in users if w.person.life == "busy" and not w.person.app)
    return Built(len(users), len(APPLICATIONS), len(happened), usable.person.username)


def _scene(session: Session, grants: Sequence[GrantKind]) -> None:
    for name, description, audience in SCOPES:
        editing.create_scope(session, name=name, description=description, audience=audience)
        mark(session, "scope", name)
    for name, description, scopes in ROLES:
        editing.create_role(session, name=name, description=description, scopes=scopes, held=None)
        mark(session, "role", name)
    for each in APPLICATIONS:
        clients.create(
            session, name=each.name, type=each.type, client_id=each.id, grants=each.grants,
            scopes=each.scopes, audiences=each.audiences, chosen=each.settings,
            known_grants=grants, held=None,
        )  # fmt: skip
        mark(session, "client", each.id)


def _users(
    session: Session, master: MasterKey, everybody: list[PersonOfDemo], encoded: str,
    hand: clock.Frozen,
) -> list[Who]:  # fmt: skip
    """`hand`: of the clock, by which each is made."""
    taken, made = set(session.exec(select(LoginName.name)).all()), list[Who]()
    for person in sorted(everybody, key=lambda each: each.created_at):
        hand.at = person.created_at.timestamp()
        username = free_name(taken, person.username)
        one_time = person.life == "one-time"
        user = accounts.create(
            session,
            username=username,
            email=f"{username}@{DOMAIN}",
            email_verified=person.life != "invited",
            name=person.name,
            password_hash=None if person.life == "invited" else encoded,
            must_change_password=one_time,
            password_expires_at=utcnow() + timedelta(days=30) if one_time else None,
            roles=person.roles,
            known={
                "given_name": person.given_name, "family_name": person.family_name,
                "locale": person.locale, "zoneinfo": person.zoneinfo,
            },
        )  # fmt: skip
        mark(session, "user", user.id)
        taken |= {username, f"{username}@{DOMAIN}"}
        if person.life == "disabled":
            user.status = "disabled"
        if person.life == "dormant":
            user.last_login_at = utcnow() + timedelta(days=3)
        user.factor_offered_at = utcnow()
        if person.app:
            _app(session, master, user)
        session.add(user)
        made.append(Who(user.id, person._replace(username=username)))
    session.flush()
    return made


def _app(session: Session, master: MasterKey, user: User) -> None:
    """Nobody has its secret."""
    sealed = totp.seal(master, user.id, b32encode(secrets.token_bytes(20)).decode())
    session.add(Totp(user_id=user.id, secret=sealed, confirmed_at=utcnow()))
    user.second_factor = True


def _note_logins(session: Session, happened: Sequence[dict[str, Any]]) -> None:
    last: dict[str, datetime] = {}
    for each in happened:  # oldest first
        if each["event"] == "login" and each["outcome"] == "success":
            last[each["subject"]] = each["at"]
    for user_id, at in last.items():
        user = session.get_one(User, user_id)
        user.last_login_at = at
        session.add(user)
    session.flush()


def _sessions(
    session: Session, dice: Random, now: datetime, users: Sequence[Who], settings: Settings
) -> None:
    """Of those who came today and yesterday. No cookie or token of theirs is anybody's."""
    lives = settings.sessions
    for who in users:
        user = session.get_one(User, who.id)
        came = user.last_login_at
        if who.person.life not in ("busy", "seldom") or came is None:
            continue
        if dice.random() < 0.4:
            agreed = Consent(user_id=who.id, client_id="demo-board", granted_at=came)
            agreed.updated_at, agreed.scopes = came, ["openid", "profile", "email"]
            session.add(agreed)
        if now - came > lives.browser_session_idle:
            continue
        acr, amr = ("aal2", ["pwd", "otp", "mfa"]) if who.person.app else ("aal1", ["pwd"])
        browser = BrowserSession(
            digest=digest(mint("bs")), user_id=who.id, amr=amr, acr=acr, created_at=came,
            authenticated_at=came, last_used_at=came, address=who.person.address,
            user_agent=who.person.browser, expires_at=came + lives.browser_session_ttl,
        )  # fmt: skip
        session.add(browser)
        session.flush()
        application = dice.choice([each for each in APPLICATIONS if each.weight])
        session.add(
            LoginSession(
                user_id=who.id, client_id=application.id, scope=" ".join(application.scopes),
                audience=(application.audiences or (settings.audience,))[0], amr=amr, acr=acr,
                created_at=came, last_used_at=came, expires_at=came + lives.session_ttl,
                access_expires_at=came + settings.tokens.access_token_ttl,
                address=who.person.address, user_agent=who.person.browser,
                browser_session_id=browser.id,
            )
        )  # fmt: skip
    session.flush()
