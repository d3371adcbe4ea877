"""What the process remembers of a user: enough to answer for a token without a query."""

from dataclasses import dataclass

from identity.db import Database, moment
from identity.fastlane import Response
from identity.users.shown import UserOut


@dataclass(frozen=True, slots=True)
class UserSnapshot:
    id: str
    username: str
    active: bool
    roles: tuple[str, ...]
    scopes: frozenset[str]
    shown: Response
    """`UserOut` as JSON with its ETag, ready to send."""


_USER = """
SELECT id, username, email, email_verified, name, status, created_at, updated_at, last_login_at,
       version
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
    id_, username, email, verified, name, status, created, updated, seen, version = rows[0]
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
        created_at=moment(created),
        updated_at=moment(updated),
        last_login_at=moment(seen) if seen else None,
    )
    return UserSnapshot(
        id=id_,
        username=username,
        active=status == "active",
        roles=tuple(roles),
        scopes=frozenset(scope for (scope,) in scopes),
        shown=Response(
            200,
            [(b"content-type", b"application/json"), (b"etag", b'"%d"' % version)],
            shown.model_dump_json().encode(),
        ),
    )
