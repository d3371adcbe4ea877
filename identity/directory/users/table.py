"""A user, the names that log it in, and its roles."""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, String, false, true
from sqlmodel import Field

from identity.clock import utcnow
from identity.opaque import new_id
from identity.store import Stored, UtcDateTime

Status = Literal["active", "disabled"]

_OBJECT_OR_NULL: Any = JSON(none_as_null=True)


class User(Stored, table=True):
    __tablename__ = "user_account"  # "user" is a reserved word in PostgreSQL

    id: str = Field(default_factory=new_id, primary_key=True)
    username: str = Field(unique=True)
    email: str | None = None
    email_verified: bool = False
    name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    locale: str | None = None
    zoneinfo: str | None = None
    picture: str | None = None
    phone_number: str | None = None
    phone_number_verified: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    address: dict[str, str] | None = Field(default=None, sa_type=_OBJECT_OR_NULL)
    """Members as `profile.ADDRESS` names them."""
    attributes: dict[str, Any] | None = Field(default=None, sa_type=_OBJECT_OR_NULL)
    """What administrators write; clients are told what they map to claims."""
    status: Status = Field(default="active", sa_type=String)
    password_hash: str | None = None
    must_change_password: bool = False
    password_expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Of a one-time password; from then on it is a wrong one."""
    second_factor: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """Whether one is asked for beside the password (`authentication.second_factor`)."""
    device_notices: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
    """Whether a mail tells of sign-ins with a new device (`authentication.devices`)."""
    passkey: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """Whether one of them is a passkey."""
    factor_offered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When a second factor was offered, which happens once (`authentication.offering`)."""
    deletion_due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it goes, because its user wants it to (`authentication.leaving`)."""
    version: int = 1
    """Counts the changes an administrator or the user made; the ETag of the resource."""
    created_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    last_login_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class LoginName(Stored, table=True):
    """What can be typed to log in: a username, or an e-mail address in lower case. One table for
    both, so that no one's username can be another's e-mail address."""

    __tablename__ = "login_name"

    name: str = Field(primary_key=True)
    user_id: str = Field(foreign_key="user_account.id", ondelete="CASCADE", index=True)


class UserRole(Stored, table=True):
    __tablename__ = "user_role"

    user_id: str = Field(foreign_key="user_account.id", primary_key=True, ondelete="CASCADE")
    role: str = Field(foreign_key="role.name", primary_key=True, ondelete="CASCADE", index=True)
