"""What the process remembers of a user: enough to answer for a token without a query."""

from dataclasses import dataclass

from identity.directory.access.granting import ACCOUNT
from identity.directory.users.shown import UserOut
from identity.store import Database, moment


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


_USER = """
SELECT id, username, email, email_verified, name, status, created_at, updated_at, last_login_at,
       version, must_change_password, password_expires_at
FROM user_account WHERE id = :id"""
_ROLES = "SELECT role FROM user_role WHERE user_id = :id ORDER BY role"
_SCOPES = """
SELECT DISTINCT held.scope
FROM user_role JOIN role_scope held ON held.role = user_role.role
WHERE user_role.user_id = :id"""


async def load(db: Database, user_id: str) -> UserSnapshot | None:
    """The user as the database has it now; None when there is none. Hot: every token of a user
    not remembered comes here."""
    rows = await db.query(_USER, {"id": user_id})
    if not rows:
        return None
    id_, username, email, verified, name, status, *times, version, must_change, expires = rows[0]
    created, updated, seen, expires = (moment(at) if at else None for at in (*times, expires))
    roles = [role for (role,) in await db.query(_ROLES, {"id": user_id})]
    scopes = await db.query(_SCOPES, {"id": user_id}) if roles else []
    shown = UserOut(
        id=id_,
        username=username,
        email=email,
        email_verified=verified,
        name=name,
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
        scopes=frozenset([ACCOUNT, *(scope for (scope,) in scopes)]),
        shown=shown.model_dump_json().encode(),
        version=version,
    )
