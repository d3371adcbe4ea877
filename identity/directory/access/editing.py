"""What can be done to roles and scopes. Each function is part of the caller's unit of work.

`held` is what the acting administrator may hand out (`access.authority`). Nobody touches a role
that holds more than they do.
"""

import re
from collections.abc import Collection
from typing import Any

from sqlmodel import Session, col, delete, select

from identity.clock import utcnow
from identity.directory.access.authority import Held, check_scopes
from identity.directory.access.granting import ADMIN, ALL, check_exist, scopes_of_roles, valid_name
from identity.directory.access.table import RESOURCE, Role, RoleScope, Scope
from identity.errors import Conflict, NotFound, ValidationFailed
from identity.records import audit
from identity.store import changes, insert_unique
from identity.verifier.levels import meets

_ROLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_RESOURCE = re.compile(RESOURCE)


def get_role(session: Session, name: str, *, lock: bool = False) -> Role:
    """The role, or `NotFound`. `lock`: until the transaction ends."""
    query = select(Role).where(Role.name == name)
    role = session.exec(query.with_for_update() if lock else query).first()
    if role is None:
        raise NotFound("no such role")
    return role


def get_scope(session: Session, name: str, *, lock: bool = False) -> Scope:
    """The scope, or `NotFound`. `lock`: until the transaction ends."""
    query = select(Scope).where(Scope.name == name)
    scope = session.exec(query.with_for_update() if lock else query).first()
    if scope is None:
        raise NotFound("no such scope")
    return scope


# --- Roles ----------------------------------------------------------------------------------


def create_role(
    session: Session,
    *,
    name: str,
    description: str = "",
    scopes: Collection[str] = (),
    acr: str | None = None,
    held: Held,
) -> Role:
    """Raises `Conflict` where the name is taken, `ValidationFailed`, `Forbidden`."""
    if not _ROLE.fullmatch(name):
        raise ValidationFailed(
            [("/name", "must be 1 to 64 letters, digits and . _ : -, a letter or digit first")]
        )
    check_exist(session, scopes)
    check_scopes(held, scopes)
    _check_acr(acr)
    role = Role(name=name, description=description, acr=acr)
    insert_unique(session, role, Conflict("there is such a role already"))
    _fill(session, role, scopes)
    audit.record(session, "role.created", subject=name, scopes=sorted(set(scopes)))
    return role


def update_role(session: Session, role: Role, fields: dict[str, Any], held: Held) -> None:
    """Set `description`, `scopes`, `acr`; other members are ignored. Takes effect at once, also
    for tokens already issued."""
    before = scopes_of_roles(session, [role.name])
    check_scopes(held, before)
    after = frozenset(fields.get("scopes", before))
    description = fields.get("description", role.description)
    acr = fields.get("acr", role.acr)
    if (after, description, acr) == (before, role.description, role.acr):
        return
    _check_acr(acr)
    if after != before:
        if role.builtin:
            raise Conflict("the scopes of a built-in role cannot be changed")
        check_exist(session, after)
        check_scopes(held, after)
        session.exec(delete(RoleScope).where(col(RoleScope.role) == role.name))
        _fill(session, role, after)
    if before - after or _takes_more(acr, role.acr):
        changes.record(session, "role.narrowed", role.name)
    role.description, role.acr = description, acr
    touch_role(session, role)
    audit.record(
        session, "role.updated", subject=role.name, before=sorted(before), after=sorted(after),
        acr=acr,
    )  # fmt: skip


def remove_role(session: Session, role: Role, held: Held) -> None:
    """The caller has taken it from its users (`users.accounts.lose_role`)."""
    if role.builtin:
        raise Conflict("a built-in role cannot be deleted")
    check_scopes(held, scopes_of_roles(session, [role.name]))
    changes.record(session, "role.changed", role.name)
    audit.record(session, "role.deleted", subject=role.name)
    session.delete(role)


def touch_role(session: Session, role: Role) -> None:
    """Note that what others may remember of its users is out of date."""
    role.version += 1
    role.updated_at = utcnow()
    changes.record(session, "role.changed", role.name)


def _check_acr(acr: str | None) -> None:
    if acr not in (None, "aal2", "phr"):
        raise ValidationFailed([("/acr", "must be aal2, phr, or nothing")])


def _takes_more(acr: str | None, before: str | None) -> bool:
    return acr is not None and not meets(before, acr)


def _check_resource(audience: str | None) -> None:
    if audience is not None and not (len(audience) <= 200 and _RESOURCE.fullmatch(audience)):
        words = (
            "must be an absolute URI without fragment, of at most 200 characters, such as "
            "https://orders.example.com (RFC 8707 §2)"
        )
        raise ValidationFailed([("/audience", words)])


def _fill(session: Session, role: Role, scopes: Collection[str]) -> None:
    gone = Conflict("a scope or the role was deleted meanwhile")
    for scope in sorted(set(scopes)):
        insert_unique(session, RoleScope(role=role.name, scope=scope), gone)


# --- Scopes ---------------------------------------------------------------------------------


def create_scope(
    session: Session,
    *,
    name: str,
    description: str = "",
    audience: str | None = None,
    open_to_registered: bool = False,
) -> Scope:
    """The role `admin` holds it from the start, so that its members can hand it out.

    Raises `Conflict` where there is such a scope, `ValidationFailed`.
    """
    if not valid_name(name) or name == ALL:
        words = "must be 1 to 100 printable ASCII characters without space, '\"' and '\\', not *"
        raise ValidationFailed([("/name", words)])
    _check_resource(audience)
    scope = Scope(
        name=name,
        description=description,
        audience=audience,
        open_to_registered=open_to_registered,
    )
    insert_unique(session, scope, Conflict("there is such a scope already"))
    admin = get_role(session, ADMIN, lock=True)
    _fill(session, admin, [name])
    touch_role(session, admin)
    changes.record(session, "scope.changed", name)
    audit.record(
        session, "scope.created", subject=name, audience=audience,
        open_to_registered=open_to_registered or None,
    )  # fmt: skip
    return scope


def update_scope(session: Session, scope: Scope, fields: dict[str, Any], held: Held) -> None:
    """Set `description`, `audience`, `open_to_registered`; other members are ignored. The caller
    takes a scope that is closed from those that registered themselves (`clients.lose_scope`)."""
    check_scopes(held, [scope.name])
    changed: dict[str, Any] = {
        key: fields[key]
        for key in ("description", "audience", "open_to_registered")
        if key in fields and fields[key] != getattr(scope, key)
    }
    if not changed:
        return
    _check_resource(changed.get("audience"))
    if scope.builtin and "audience" in changed:
        raise Conflict("a built-in scope belongs to this service")
    if scope.builtin and "open_to_registered" in changed:
        raise Conflict("which built-in scopes are open is not to be chosen")
    scope.sqlmodel_update(changed)
    scope.version += 1
    scope.updated_at = utcnow()
    changes.record(session, "scope.changed", scope.name)
    audit.record(session, "scope.updated", subject=scope.name, changed=sorted(changed))


def remove_scope(session: Session, scope: Scope, held: Held) -> None:
    """Every role loses it, and every token at once. The caller has taken it from the clients
    (`clients.accounts.lose_scope`)."""
    if scope.builtin:
        raise Conflict("a built-in scope cannot be deleted")
    check_scopes(held, [scope.name])
    holders = select(Role).join(RoleScope).where(RoleScope.scope == scope.name)
    for role in session.exec(holders.order_by(Role.name).with_for_update(of=Role)):
        touch_role(session, role)
        changes.record(session, "role.narrowed", role.name)
    changes.record(session, "scope.changed", scope.name)
    audit.record(session, "scope.deleted", subject=scope.name)
    session.delete(scope)
