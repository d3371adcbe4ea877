"""What the process remembers of a user: enough to answer for a token without a query."""

from dataclasses import dataclass
from datetime import datetime

import orjson
from pydantic import BaseModel
from sqlmodel import Session

from identity.access.granting import scopes_of_roles
from identity.users.accounts import roles_of
from identity.users.table import Status, User


class UserOut(BaseModel):
    """A user as the API shows it. Never a hash."""

    id: str
    username: str
    email: str | None
    email_verified: bool
    name: str | None
    status: Status
    roles: list[str]
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None

    @classmethod
    def of(cls, user: User, roles: list[str]) -> "UserOut":
        return cls.model_validate({**user.model_dump(), "roles": roles})


@dataclass(frozen=True, slots=True)
class UserSnapshot:
    id: str
    username: str
    active: bool
    roles: tuple[str, ...]
    scopes: frozenset[str]
    etag: bytes
    body: bytes
    """`UserOut` as JSON, ready to send."""


def load(session: Session, user_id: str) -> UserSnapshot | None:
    """The user as the database has it now; None when there is none."""
    user = session.get(User, user_id)
    if user is None:
        return None
    roles = roles_of(session, user_id)
    return UserSnapshot(
        id=user.id,
        username=user.username,
        active=user.status == "active",
        roles=tuple(roles),
        scopes=scopes_of_roles(session, roles),
        etag=etag(user.version).encode(),
        body=orjson.dumps(UserOut.of(user, roles).model_dump(mode="json")),
    )


def etag(version: int) -> str:
    """A resource's version as an entity tag (RFC 9110 §8.8.3)."""
    return f'"{version}"'
