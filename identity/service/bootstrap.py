"""What a new database needs before it can serve: built-in scopes and role, the client
`first-party`, a signing key, and the first user. Safe to repeat, by any number of processes."""

import secrets

from sqlmodel import Session, select

from identity.authentication.passwords import policy
from identity.authentication.passwords.hashing import PasswordHasher
from identity.directory.access.granting import ADMIN, ensure_built_in
from identity.directory.clients.built_in import ensure_first_party
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
from identity.store.locks import Lock, take


def first_start(settings: Settings) -> None:
    """Prepare the database. Raises `SettingsError`."""
    db = open_database(settings)
    try:
        with db.transaction() as session:
            migrating.check(session)
        prepare_database(db, settings)
        with db.transaction() as session:
            served.note(session, settings)
    finally:
        db.close()


def prepare_database(db: Database, settings: Settings) -> None:
    """All but a first user whose password is nobody's yet: see `welcome`."""
    with db.transaction() as session:
        master_key = master.load(session, settings)
        lacking = rotation.lacking(session, settings)
        needs_user = not _has_users(session)
    made = {each: prepare(settings.keys.algorithm_for(each), master_key) for each in lacking}
    password_hash = _given_password(settings) if needs_user else None
    origin.set(SYSTEM)
    with db.transaction() as session:
        take(session, Lock.FIRST_START)
        ensure_built_in(session)
        ensure_first_party(session)
        if made:
            rotation.ensure(session, settings, made)
        if password_hash and not _has_users(session):
            _make_user(session, settings, password_hash)


def welcome(settings: Settings) -> str | None:
    """Make the first user with a random password where there is none, and what to tell whoever
    started the service: it is said once, and nowhere else.

    To be called once the service answers. A start that fails before has made no user, so that the
    next one can still say the password.
    """
    db = open_database(settings)
    try:
        with db.transaction() as session:
            if _has_users(session):
                return None
        password = secrets.token_urlsafe(18)
        password_hash = PasswordHasher(settings.passwords.bcrypt_rounds).hash(password)
        before = origin.set(SYSTEM)
        try:
            with db.transaction() as session:
                take(session, Lock.FIRST_START)
                if _has_users(session):
                    return None
                username = _make_user(session, settings, password_hash)
        finally:
            origin.reset(before)
    finally:
        db.close()
    return _welcome(settings, username, password)


def _has_users(session: Session) -> bool:
    return session.exec(select(User.id).limit(1)).first() is not None


def _make_user(session: Session, settings: Settings, password_hash: str) -> str:
    user = accounts.create(
        session,
        username=settings.bootstrap.bootstrap_admin_username,
        password_hash=password_hash,
        roles=[ADMIN],
    )
    audit.record(session, "service.bootstrapped", subject=user.id)
    return user.username


def _given_password(settings: Settings) -> str | None:
    """The hash of the first user's password, None where it is to be random."""
    given = settings.bootstrap.bootstrap_admin_password
    username = settings.bootstrap.bootstrap_admin_username
    name = "IDENTITY_BOOTSTRAP_ADMIN_PASSWORD"
    if given is None and settings.production:
        raise SettingsError(f"{name}: production needs it set while there is no user")
    try:
        names.username(username)
    except ValidationFailed as refusal:
        raise SettingsError(f"IDENTITY_BOOTSTRAP_ADMIN_USERNAME: {refusal.detail}") from None
    if given is None:
        return None
    password = given.get_secret_value()
    try:
        policy.check(password, username=username)
    except ValidationFailed as refusal:
        raise SettingsError(f"{name}: {refusal.detail}") from None
    return PasswordHasher(settings.passwords.bcrypt_rounds).hash(password)


def _welcome(settings: Settings, username: str, password: str) -> str:
    return f"""
The first user was created. This is shown once:

    username  {username}
    password  {password}

The console, in a browser:

    {settings.issuer.rstrip("/")}/console

A token for it, with all that it may do:

    curl -d grant_type=password -d 'scope=*' \\
      -d username={username} -d password={password} \\
      {settings.issuer.rstrip("/")}/token
"""
