"""What comes in and goes out at the routes of roles and scopes."""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from identity.api.bodies import Body, Line, Text
from identity.api.merge_patch import Patch, omitted
from identity.directory.access.table import RESOURCE, Role, Scope

Description = Annotated[Text, Field(max_length=500, examples=["Whoever handles orders"])]
ScopeNames = Annotated[list[Line], Field(max_length=500, examples=[["users:read"]])]
RoleName = Annotated[
    Text,
    Field(
        min_length=1,
        max_length=64,
        examples=["clerk"],
        json_schema_extra={"pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]*$"},
    ),
]
ScopeName = Annotated[
    Text,
    Field(
        min_length=1,
        max_length=100,
        examples=["orders:read"],
        json_schema_extra={"pattern": r"^[\x21\x23-\x5b\x5d-\x7e]+$"},
    ),
]
Audience = Annotated[
    Text,
    Field(
        max_length=200,
        examples=["https://orders.example.com"],
        json_schema_extra={"pattern": f"^{RESOURCE}$"},
    ),
]

Open = Annotated[
    bool, Field(description="Whether clients that registered themselves may ask users for it.")
]


Acr = Annotated[
    Literal["aal2", "phr"] | None,
    Field(
        description="`aal2`: whoever has signed in without a second factor does not hold it; "
        "`phr`: nor whoever has without a passkey."
    ),
]


class NewRole(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "clerk", "scopes": ["users:read"]}]}
    )

    name: RoleName
    description: Description = ""
    scopes: ScopeNames = Field(default_factory=list)
    acr: Acr = None


class RolePatch(Patch):
    model_config = ConfigDict(json_schema_extra={"examples": [{"scopes": ["users:read"]}]})

    description: Description = Field(default_factory=omitted)
    scopes: ScopeNames = Field(default_factory=omitted)
    acr: Acr = None


class RoleOut(BaseModel):
    name: str
    description: str
    scopes: list[str]
    acr: str | None
    builtin: bool
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, role: Role, scopes: Collection[str]) -> "RoleOut":
        return cls(**role.model_dump(), scopes=sorted(scopes))


class NewScope(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "orders:read", "audience": "https://orders.example.com"}]
        }
    )

    name: ScopeName
    description: Description = ""
    audience: Audience | None = Field(
        default=None, description="The resource it belongs to (RFC 8707 §2); null: any."
    )
    open_to_registered: Open = False


class ScopePatch(Patch):
    model_config = ConfigDict(json_schema_extra={"examples": [{"description": "See orders"}]})

    description: Description = Field(default_factory=omitted)
    audience: Audience | None = None
    open_to_registered: Open = Field(default_factory=omitted)


class ScopeOut(BaseModel):
    name: str
    description: str
    audience: str | None
    open_to_registered: bool
    builtin: bool
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, scope: Scope) -> "ScopeOut":
        return cls.model_validate(scope, from_attributes=True)
