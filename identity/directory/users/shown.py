"""A user as administrators, the user and the command line are shown it."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from identity.directory.users.table import Status, User


class UserOut(BaseModel):
    """A user as the API shows it. Never a hash."""

    id: str
    username: str
    email: str | None
    email_verified: bool
    name: str | None
    given_name: str | None
    family_name: str | None
    locale: str | None
    zoneinfo: str | None
    picture: str | None
    phone_number: str | None
    phone_number_verified: bool
    address: dict[str, str] | None
    attributes: dict[str, Any] = Field(
        description="What administrators have written down about the user."
    )
    status: Status
    roles: list[str]
    must_change_password: bool
    password_expires_at: datetime | None
    """When a one-time password becomes a wrong one."""
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None

    @classmethod
    def of(cls, user: User, roles: list[str]) -> "UserOut":
        return cls.model_validate(
            {**user.model_dump(), "attributes": user.attributes or {}, "roles": roles}
        )
