"""What the process remembers of a user: enough to answer for a token without a query."""

from dataclasses import dataclass, replace

from sqlalchemy import bindparam
from sqlmodel import col

from identity.directory.access.granting import EVERYBODYS
from identity.directory.access.table import Role, RoleScope
from identity.directory.users.shown import UserOut
from identity.directory.users.table import User, UserRole
from identity.store import Database, Statement, document, moment, select_of
from identity.verifier.levels import meets


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
    below: "UserSnapshot | None" = None
    """The same without the roles that want a second factor; None where there are none."""

    def at(self, acr: str | None) -> "UserSnapshot":
        """As a login of this level has it."""
        return self if self.below is None or meets(acr, "aal2") else self.below


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
        select_of(UserRole.role, Role.acr)
        .join_from(UserRole, Role, col(Role.name) == col(UserRole.role))
        .where(col(UserRole.user_id) == bindparam("id"))
        .order_by(col(UserRole.role))
    )
)
_SCOPES = Statement(
    lambda: (
        select_of(RoleScope.scope, Role.acr)
        .join_from(UserRole, Role, col(Role.name) == col(UserRole.role))
        .join(RoleScope, col(RoleScope.role) == col(Role.name))
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
    wanted = await db.query(_ROLES, {"id": user_id})
    roles = [role for role, _ in wanted]
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
    whole = UserSnapshot(
        id=id_,
        username=username,
        active=status == "active",
        roles=tuple(roles),
        scopes=frozenset([*EVERYBODYS, *(scope for scope, _ in scopes)]),
        shown=shown.model_dump_json().encode(),
        version=version,
        second_factor=bool(second_factor),
    )
    if all(acr is None for _, acr in wanted):
        return whole
    below = replace(
        whole,
        roles=tuple(role for role, acr in wanted if acr is None),
        scopes=frozenset([*EVERYBODYS, *(scope for scope, acr in scopes if acr is None)]),
    )
    return replace(whole, below=below)
