"""What the process remembers of a user: enough to answer for a token without a query."""

from dataclasses import dataclass

from sqlalchemy import bindparam
from sqlmodel import col

from identity.directory.access.granting import EVERYBODYS
from identity.directory.access.table import RoleScope
from identity.directory.users.shown import UserOut
from identity.directory.users.table import User, UserRole
from identity.store import Database, Statement, document, moment, select_of


@dataclass(frozen=True, slots=True)
class UserSnapshot:
    id: str
    username: str
    active: bool
    roles: tuple[str, ...]
    scopes: frozenset[str]
    shown: bytes
    """`UserOut` as JSON."""
    version: int
    second_factor: bool = False


_USER = Statement(
    lambda: select_of(
        User.id,
        User.username,
        User.email,
        User.email_verified,
        User.name,
        User.status,
        User.created_at,
        User.updated_at,
        User.last_login_at,
        User.version,
        User.must_change_password,
        User.password_expires_at,
        User.given_name,
        User.family_name,
        User.locale,
        User.zoneinfo,
        User.picture,
        User.phone_number,
        User.phone_number_verified,
        User.address,
        User.attributes,
        User.second_factor,
    ).where(col(User.id) == bindparam("id"))
)
_ROLES = Statement(
    lambda: (
        select_of(UserRole.role)
        .where(col(UserRole.user_id) == bindparam("id"))
        .order_by(col(UserRole.role))
    )
)
_SCOPES = Statement(
    lambda: (
        select_of(RoleScope.scope)
        .join_from(UserRole, RoleScope, col(RoleScope.role) == col(UserRole.role))
        .where(col(UserRole.user_id) == bindparam("id"))
        .distinct()
    )
)


async def load(db: Database, user_id: str) -> UserSnapshot | None:
    """The user as the database has it now; None when there is none. Hot: every token of a user
    not remembered comes here."""
    rows = await db.query(_USER, {"id": user_id})
    if not rows:
        return None
    row = rows[0]
    id_, username, email, verified, name, status, *times, version, must_change, expires = row[:12]
    created, updated, seen, expires = (moment(at) if at else None for at in (*times, expires))
    given_name, family_name, locale, zoneinfo, picture, phone, phone_verified, *objects = row[12:]
    *objects, second_factor = objects
    address, attributes = map(document, objects)
    roles = [role for (role,) in await db.query(_ROLES, {"id": user_id})]
    scopes = await db.query(_SCOPES, {"id": user_id}) if roles else []
    shown = UserOut(
        id=id_,
        username=username,
        email=email,
        email_verified=verified,
        name=name,
        given_name=given_name,
        family_name=family_name,
        locale=locale,
        zoneinfo=zoneinfo,
        picture=picture,
        phone_number=phone,
        phone_number_verified=phone_verified,
        address=address,
        attributes=attributes or {},
        status=status,
        roles=roles,
        must_change_password=must_change,
        password_expires_at=expires,
        created_at=created,
        updated_at=updated,
        last_login_at=seen,
    )
    return UserSnapshot(
        id=id_,
        username=username,
        active=status == "active",
        roles=tuple(roles),
        scopes=frozenset([*EVERYBODYS, *(scope for (scope,) in scopes)]),
        shown=shown.model_dump_json().encode(),
        version=version,
        second_factor=bool(second_factor),
    )
