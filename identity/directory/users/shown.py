"""A user as administrators, the user and the command line are shown it."""

from datetime import datetime

from pydantic import BaseModel

from identity.directory.users.table import Status, User


class UserOut(BaseModel):
    """A user as the API shows it. Never a hash."""

    id: str
    username: str
    email: str | None
    email_verified: bool
    name: str | None
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
        return cls.model_validate({**user.model_dump(), "roles": roles})
