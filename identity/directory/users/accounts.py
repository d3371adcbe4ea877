"""What can be done to a user. Each function is part of the caller's unit of work.

`held` is what the acting administrator may hand out (`access.authority`). Nobody touches a user
who holds more than they do, and the last administrator who can log in stays one.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam
from sqlalchemy import update as update_rows
from sqlmodel import Session, col, delete, select

from identity.clock import utcnow
from identity.directory import subjects
from identity.directory.access.authority import Held, check_roles, check_scopes
from identity.directory.access.granting import ADMIN, EVERYBODYS, scopes_of_roles
from identity.directory.access.table import Role, RoleScope
from identity.directory.hashes import kinds
from identity.directory.hashes.recognising import recognise
from identity.directory.users import names, profile
from identity.directory.users.table import LoginName, User, UserRole
from identity.errors import Conflict, NotFound, ValidationFailed
from identity.records import audit
from identity.store import (
    Statement,
    Work,
    changes,
    execute,
    insert_on_conflict,
    insert_unique,
    select_of,
)
from identity.verifier.levels import meets

PROVEN = ("email", "phone_number")
"""Members beside each of which stands whether it has been verified."""

_RIGHTS = Statement(
    lambda: (
        select_of(UserRole.role, RoleScope.scope, Role.acr)
        .join_from(UserRole, Role, col(Role.name) == col(UserRole.role))
        .join(RoleScope, col(RoleScope.role) == col(UserRole.role), isouter=True)
        .where(col(UserRole.user_id) == bindparam("id"))
    )
)


def get(session: Session, user_id: str, *, lock: bool = False) -> User:
    """The user with this id, or `NotFound`. `lock`: until the transaction ends."""
    query = select(User).where(User.id == user_id)
    user = session.exec(query.with_for_update() if lock else query).first()
    if user is None:
        raise NotFound("no such user")
    return user


def find_by_login(session: Session, login: str) -> User | None:
    """The user whom this username or e-mail address logs in."""
    query = select(User).join(LoginName).where(LoginName.name == names.login_key(login))
    return session.exec(query).first()


def roles_of(session: Session, user_id: str) -> list[str]:
    query = select(UserRole.role).where(UserRole.user_id == user_id)
    return sorted(session.exec(query).all())


def rights_of(work: Work, user_id: str, acr: str | None = None) -> tuple[list[str], frozenset[str]]:
    """Roles and scopes at once, for logins of this level."""
    rows = [row for row in grants_of(work, user_id) if counts(row[2], acr)]
    scopes = (scope for _, scope, _ in rows if scope is not None)
    return sorted({row[0] for row in rows}), frozenset([*EVERYBODYS, *scopes])


def grants_of(work: Work, user_id: str) -> Sequence[tuple[str, str | None, str | None]]:
    """Each role with each of its scopes, None where it has none, and the level that it wants."""
    return execute(work, _RIGHTS, {"id": user_id}).fetchall()


def counts(wanted: str | None, acr: str | None) -> bool:
    """Whether a role that wants this level is held at a login of that one."""
    return wanted is None or meets(acr, wanted)


def create(
    session: Session,
    *,
    username: str,
    email: str | None = None,
    name: str | None = None,
    password_hash: str | None = None,
    must_change_password: bool = False,
    password_expires_at: datetime | None = None,
    roles: Collection[str] = (),
    email_verified: bool = False,
    known: Mapping[str, Any] | None = None,
    user_id: str | None = None,
    held: Held = None,
) -> User:
    """A new active user; its id is made up unless it brings one. `password_expires_at`: of a
    one-time password. `known`: members of `profile`. Raises `Conflict` where a name or the id is
    taken, `ValidationFailed`, `Forbidden` for roles that hold more than `held`."""
    user = User(
        username=names.username(username),
        email=names.email(email) if email else None,
        email_verified=email_verified,
        name=profile.name(name),
        password_hash=password_hash,
        must_change_password=must_change_password,
        password_expires_at=password_expires_at if must_change_password else None,
        **profile.checked(known or {}),
    )
    for proven in PROVEN:
        if getattr(user, proven) is None:  # what is not there has not been verified
            setattr(user, f"{proven}_verified", False)
    if user_id is not None:
        user.id = user_id
    subjects.claim(session, user.id, "user")
    insert_unique(session, user, Conflict("the username is taken"))
    kinds.note(session, password_hash)
    _set_login_names(session, user)
    _set_roles(session, user, roles, held)
    audit.record(session, "user.created", subject=user.id, username=user.username)
    return user


def update(session: Session, user: User, fields: dict[str, Any], held: Held) -> None:
    """Set `username`, `email`, `email_verified`, `name` and members of `profile`; others are
    ignored."""
    guard(session, user, held)
    changed: dict[str, Any] = {}
    if "username" in fields:
        changed["username"] = names.username(fields["username"])
    if "email" in fields:
        changed["email"] = names.email(fields["email"]) if fields["email"] else None
    if "name" in fields:
        changed["name"] = profile.name(fields["name"])
    if "email_verified" in fields:
        changed["email_verified"] = fields["email_verified"]
    changed |= profile.checked(fields)
    _check_verified(user, changed)
    changed = {key: value for key, value in changed.items() if getattr(user, key) != value}
    if not changed:
        return
    for proven in PROVEN:
        if proven in changed and f"{proven}_verified" not in fields:
            changed[f"{proven}_verified"] = False
    if "username" in changed:
        taken = select(User.id).where(User.username == changed["username"])
        if session.exec(taken).first():
            raise Conflict("the username is taken")
    user.sqlmodel_update(changed)
    insert_unique(session, user, Conflict("the username is taken"))
    if changed.keys() & {"username", "email"}:
        session.exec(delete(LoginName).where(col(LoginName.user_id) == user.id))
        _set_login_names(session, user)
    touch(session, user)
    audit.record(session, "user.updated", subject=user.id, changed=sorted(changed))


def _check_verified(user: User, changed: Mapping[str, Any]) -> None:
    """Raises `ValidationFailed` where something is to be verified that is not there."""
    for proven in PROVEN:
        verified = changed.get(f"{proven}_verified")
        if verified and not changed.get(proven, getattr(user, proven)):
            words = "cannot be true of a user who has none"
            raise ValidationFailed([(f"/{proven}_verified", words)])


def other_email(user: User, fields: Mapping[str, Any]) -> bool:
    """Whether `fields` would change the user's e-mail address."""
    if "email" not in fields:
        return False
    return (names.email(fields["email"]) if fields["email"] else None) != user.email


def set_status(session: Session, user: User, status: str, held: Held) -> None:
    """Enable or disable. The caller ends the sessions of a user it disables."""
    guard(session, user, held)
    if user.status == status:
        return
    if status == "disabled":
        keep_an_admin(session, user)
    user.status = status  # type: ignore[assignment]
    touch(session, user)
    event = "user.disabled" if status == "disabled" else "user.enabled"
    audit.record(session, event, subject=user.id)


def set_password_hash(
    session: Session,
    user: User,
    password_hash: str,
    *,
    must_change: bool,
    expires_at: datetime | None = None,
    held: Held,
) -> None:
    """`expires_at`: of a one-time password, one that the user must change. The caller ends the
    sessions. Only the operator gives one to the last administrator who can log in."""
    guard(session, user, held)
    if must_change and held is not None and can_log_in(user):
        keep_an_admin(session, user)
    user.password_hash, user.must_change_password = password_hash, must_change
    user.password_expires_at = expires_at if must_change else None
    kinds.note(session, password_hash)
    touch(session, user)
    event = "user.password_reset" if must_change else "user.password_changed"
    audit.record(session, event, subject=user.id)


def set_roles(session: Session, user: User, roles: Collection[str], held: Held) -> None:
    guard(session, user, held)
    before = roles_of(session, user.id)
    if ADMIN in before and ADMIN not in roles:
        keep_an_admin(session, user)
    if set(before) == set(roles):
        return
    session.exec(delete(UserRole).where(col(UserRole.user_id) == user.id))
    _set_roles(session, user, roles, held)
    touch(session, user)
    if set(before) - set(roles):
        changes.record(session, "user.narrowed", user.id)
    after = sorted(set(roles))
    audit.record(session, "user.roles_changed", subject=user.id, before=before, after=after)


def remove(session: Session, user: User, held: Held) -> None:
    """Delete the user and all that hangs on it. The caller has ended its sessions."""
    guard(session, user, held)
    keep_an_admin(session, user)
    changes.record(session, "user.deleted", user.id)
    audit.record(session, "user.deleted", subject=user.id, username=user.username)
    session.delete(user)
    session.flush()


def lose_role(session: Session, role: str) -> None:
    """Take a role that is about to be deleted from whoever has it."""
    had = select(UserRole.user_id).where(UserRole.role == role)
    for user_id in session.exec(had):
        changes.record(session, "user.narrowed", user_id)
    session.execute(
        update_rows(User)
        .where(col(User.id).in_(had))
        .values(version=User.version + 1, updated_at=utcnow())
        .execution_options(synchronize_session=False)
    )
    session.exec(delete(UserRole).where(col(UserRole.role) == role))


def guard(session: Session, user: User, held: Held) -> None:
    """Whoever could change a user who holds more could become that user."""
    _check_may_give(session, held, roles_of(session, user.id))


def can_log_in(user: User) -> bool:
    """Whether the user's own password lets them in now, as far as we can tell without it."""
    known = recognise(user.password_hash or "") is not None
    return user.status == "active" and not user.must_change_password and known


def keep_an_admin(session: Session, user: User) -> None:
    """Raise `Conflict` if without `user` no administrator were left who can log in.

    Whoever still has a one-time password cannot yet, and it may never reach them.
    """
    if ADMIN not in roles_of(session, user.id):
        return
    # Locking the role lets two administrators who remove each other queue up.
    session.exec(select(Role).where(Role.name == ADMIN).with_for_update()).first()
    others = session.exec(
        select(User.password_hash)
        .join(UserRole)
        .where(
            UserRole.role == ADMIN,
            User.id != user.id,
            User.status == "active",
            col(User.password_hash).is_not(None),
            col(User.must_change_password).is_(False),
        )
    )
    if not any(recognise(encoded or "") for encoded in others):
        raise Conflict("the last administrator who can log in must stay one")


def touch(session: Session, user: User) -> None:
    """Note that what others may remember of the user is out of date."""
    user.version += 1
    user.updated_at = utcnow()
    session.add(user)
    session.flush()
    changes.record(session, "user.changed", user.id)


def _set_login_names(session: Session, user: User) -> None:
    keys = {names.login_key(name): what for name, what in
            ((user.email, "e-mail address"), (user.username, "username")) if name}  # fmt: skip
    rows = [{"name": key, "user_id": user.id} for key in keys]
    free = insert_on_conflict(session, LoginName).values(rows).on_conflict_do_nothing()
    mine = set(session.execute(free.returning(col(LoginName.name))).scalars())
    for key, what in keys.items():
        if key not in mine:
            raise Conflict(f"the {what} is taken")


def _check_may_give(session: Session, held: Held, roles: Collection[str]) -> None:
    check_scopes(held, scopes_of_roles(session, roles))
    check_roles(held, roles)


def _set_roles(session: Session, user: User, roles: Collection[str], held: Held) -> None:
    wanted = sorted(set(roles))
    if not wanted:
        return
    have = set(session.exec(select(Role.name).where(col(Role.name).in_(wanted))).all())
    missing = [role for role in wanted if role not in have]
    if missing:
        raise ValidationFailed([("/roles", f"no such role: {role}") for role in missing])
    _check_may_give(session, held, wanted)
    gone = Conflict("a role was deleted meanwhile")
    for role in wanted:
        insert_unique(session, UserRole(user_id=user.id, role=role), gone)
