"""What a new database needs before it can serve: built-in scopes and role, the client
`first-party`, a signing key, and the first user. Safe to repeat, by any number of processes."""

import secrets

from sqlalchemy import text
from sqlmodel import Session, select

from identity.authentication.passwords import policy
from identity.authentication.passwords.hashing import PasswordHasher
from identity.directory import subjects
from identity.directory.access.granting import ADMIN, ALL, ensure_built_in
from identity.directory.clients.table import FIRST_PARTY, Client
from identity.directory.users import accounts, names
from identity.directory.users.table import User
from identity.errors import ValidationFailed
from identity.keys import master, rotation
from identity.keys.material import prepare
from identity.records import audit
from identity.records.audit import SYSTEM, origin
from identity.service import served
from identity.service.opening import open_database
from identity.settings import Settings, SettingsError
from identity.store import Database, migrating

LOCK = 0x626F6F74000000


def first_start(settings: Settings) -> str | None:
    """Prepare the database. What to tell whoever started the service, if the first user was made
    with a random password: it is said once, and nowhere else. Raises `SettingsError`."""
    db = open_database(settings)
    try:
        with db.transaction() as session:
            migrating.check(session)
        welcome = prepare_database(db, settings)
        with db.transaction() as session:
            served.note(session, settings)
        return welcome
    finally:
        db.close()


def prepare_database(db: Database, settings: Settings) -> str | None:
    with db.transaction() as session:
        master_key = master.load(session, settings)
        lacking = rotation.lacking(session, settings)
        has_users = session.exec(select(User.id).limit(1)).first() is not None
    made = {each: prepare(settings.keys.algorithm_for(each), master_key) for each in lacking}
    password, made_up, password_hash = ("", False, "") if has_users else _password(settings)
    origin.set(SYSTEM)
    with db.transaction() as session:
        if db.dialect == "postgresql":
            session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        ensure_built_in(session)
        _ensure_first_party(session)
        if made:
            rotation.ensure(session, settings, made)
        if has_users or session.exec(select(User.id).limit(1)).first() is not None:
            return None
        user = accounts.create(
            session,
            username=settings.bootstrap.bootstrap_admin_username,
            password_hash=password_hash,
            roles=[ADMIN],
        )
        audit.record(session, "service.bootstrapped", subject=user.id)
    return _welcome(settings, user.username, password) if made_up else None


def _ensure_first_party(session: Session) -> None:
    if session.get(Client, FIRST_PARTY) is None:
        subjects.claim(session, FIRST_PARTY, "client")
        session.add(
            Client(
                id=FIRST_PARTY,
                name="Built-in client",
                type="public",
                grants=["password", "refresh_token"],
                scopes=[ALL],
                builtin=True,
            )
        )
        session.flush()


def _password(settings: Settings) -> tuple[str, bool, str]:
    """(password, whether it is random, its hash) of the first user."""
    given = settings.bootstrap.bootstrap_admin_password
    name = "IDENTITY_BOOTSTRAP_ADMIN_PASSWORD"
    if given is None and settings.production:
        raise SettingsError(f"{name}: production needs it set while there is no user")
    password = given.get_secret_value() if given else secrets.token_urlsafe(18)
    try:
        names.username(settings.bootstrap.bootstrap_admin_username)
    except ValidationFailed as refusal:
        raise SettingsError(f"IDENTITY_BOOTSTRAP_ADMIN_USERNAME: {refusal.detail}") from None
    try:
        policy.check(password, username=settings.bootstrap.bootstrap_admin_username)
    except ValidationFailed as refusal:
        raise SettingsError(f"{name}: {refusal.detail}") from None
    hashed = PasswordHasher(settings.passwords.bcrypt_rounds).hash(password)
    return password, given is None, hashed


def _welcome(settings: Settings, username: str, password: str) -> str:
    return f"""
The first user was created. This is shown once:

    username  {username}
    password  {password}

A token for it, with all that it may do:

    curl -d grant_type=password -d 'scope=*' \\
      -d username={username} -d password={password} \\
      {settings.issuer.rstrip("/")}/token
"""
