"""What comes in and goes out at the users' routes, besides `snapshot.UserOut`."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, SecretStr, Tag

from identity.api.bodies import LIST, OBJECT, Body, Line, Text
from identity.api.merge_patch import Patch, omitted
from identity.api.users.profile import OwnProfile, Profile
from identity.authentication.passwords.preparing import MAX_CHARACTERS
from identity.directory.users.table import Status

Name = Annotated[Text, Field(min_length=1, max_length=256, examples=["ada"])]
Email = Annotated[Text, Field(max_length=320, examples=["ada@example.com"])]
RoleNames = Annotated[list[Line], Field(max_length=100, examples=[["clerk"]])]
# SecretStr: a password stays out of reprs and logs. What it may hold, `passwords` decides.
Password = Annotated[
    SecretStr, Field(strict=False, max_length=MAX_CHARACTERS, examples=["correct horse battery"])
]


class NewUser(Profile):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"username": "ada", "email": "ada@example.com", "password": "correct horse battery"}
            ]
        }
    )

    username: Name
    email: Email | None = None
    name: Line | None = None
    password: Password | None = Field(
        default=None, description="Without one the user cannot log in until someone sets it."
    )
    roles: RoleNames = Field(default_factory=list)
    invite: bool = Field(
        default=False,
        description="Send a mail by which the user sets the password. It takes `email`.",
    )


class UserPatch(Profile, Patch):
    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "disabled"}]})

    username: Name = Field(default_factory=omitted)
    email: Email | None = None
    name: Line | None = None
    email_verified: bool = Field(default_factory=omitted)
    status: Status = Field(default_factory=omitted)


class MyPatch(OwnProfile, Patch):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Ada Lovelace"}]})

    email: Email | None = Field(
        default=None, description="A login name: it takes `current_password`, or a recent login."
    )
    name: Line | None = None
    current_password: Password = Field(
        default_factory=omitted, description="Looked at where the e-mail address changes."
    )


class Roles(Body):
    roles: RoleNames


def _whether_list(body: object) -> str:
    return LIST if isinstance(body, list) else OBJECT


RolesOrNames = Annotated[
    Annotated[Roles, Tag(OBJECT)] | Annotated[RoleNames, Tag(LIST)], Discriminator(_whether_list)
]
"""Told apart first, so that what is wrong with one is not explained by the other as well."""


class NewPassword(Body):
    password: Password | None = Field(default=None, description="Random when left out.")


class OneTimePassword(BaseModel):
    password: str = Field(description="Shown this once.", examples=["xN2_bG0h4kQwZrT1"])
    must_change_password: Literal[True] = True
    expires_at: datetime = Field(description="From then on it is a wrong one.")


class MyPasswordChange(Body):
    current_password: Password
    new_password: Password


class PasswordChange(MyPasswordChange):
    username: Name = Field(description="Username or e-mail address.")
