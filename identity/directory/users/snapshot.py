"""What the process remembers of a user: enough to answer for a token without a query."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import bindparam
from sqlmodel import col

from identity.dataclass import dataclass
from identity.directory.access.granting import EVERYBODYS
from identity.directory.access.table import Role, RoleScope
from identity.directory.users.shown import UserOut
from identity.directory.users.table import User, UserRole
from identity.store import Database, Statement, document, moment, select_of
from identity.verifier.levels import LEVELS, meets


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
    passkey: bool = False
    """Whether they have one, and passkeys are possible here."""
    below: tuple[tuple[str, "UserSnapshot"], ...] = ()
    """The levels that roles of theirs want, ascending, each with the same user as logins below it
    have it."""

    def at(self, acr: str | None) -> "UserSnapshot":
        """As a login of this level has it."""
        return next((less for level, less in self.below if not meets(acr, level)), self)

    @property
    def highest(self) -> str:
        """The level (`acr`) that they can prove at the most."""
        return "phr" if self.passkey else "aal2" if self.second_factor else "aal1"


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
        User.passkey,
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


async def load(db: Database, user_id: str, *, passkeys: bool) -> UserSnapshot | None:
    """The user as the database has it now; None when there is none. Hot: every token of a user
    not remembered comes here. `passkeys`: whether they are possible here."""
    rows = await db.query(_USER, {"id": user_id})
    if not rows:
        return None
    row = rows[0]
    id_, username, email, verified, name, status, *times, version, must_change, expires = row[:12]
    created, updated, seen, expires = (moment(at) if at else None for at in (*times, expires))
    given_name, family_name, locale, zoneinfo, picture, phone, phone_verified, *objects = row[12:]
    *objects, second_factor, passkey = objects
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
        passkey=bool(passkey) and passkeys,
    )
    levels = [level for level in LEVELS if any(acr == level for _, acr in wanted)]
    if not levels:
        return whole
    return replace(
        whole, below=tuple((level, _below(whole, level, wanted, scopes)) for level in levels)
    )


def _below(
    whole: UserSnapshot, level: str, roles: Iterable[Any], scopes: Iterable[Any]
) -> UserSnapshot:
    """Without what takes this level, or a higher one. `roles` and `scopes`: each with the level
    that it takes, None where any will do."""
    less = LEVELS[: LEVELS.index(level)]
    return replace(
        whole,
        roles=tuple(role for role, acr in roles if acr is None or acr in less),
        scopes=frozenset(
            [*EVERYBODYS, *(scope for scope, acr in scopes if acr is None or acr in less)]
        ),
    )
