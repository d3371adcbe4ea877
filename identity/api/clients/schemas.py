"""What comes in and goes out at the clients' routes."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Self, cast

from pydantic import BaseModel, ConfigDict, Field

from identity.api.bodies import Body, Line, Moment, Text
from identity.api.clients.settings import Named, SettingsPatch
from identity.api.merge_patch import omitted
from identity.clock import utcnow
from identity.directory.clients.settings import ClientSettings, load
from identity.directory.clients.table import Client, ClientSecret, ClientType, Status
from identity.errors import ValidationFailed

ID = r"^[A-Za-z0-9][A-Za-z0-9._~-]*$"
TEN_YEARS = 10 * 366 * 24 * 3600

DefaultScopes = Annotated[
    list[Line] | None,
    Field(
        max_length=500,
        description="Which of them a request without `scope` asks for; null: all that are not "
        "administrative.",
        examples=[["orders:read"]],
    ),
]
Audiences = Annotated[
    list[Annotated[Line, Field(json_schema_extra={"pattern": r"^[^\s#]+$"})]],
    Field(
        max_length=100,
        description="Resources it may name (RFC 8707), besides the default audience, and whose "
        "tokens it may introspect. Each is one that a scope belongs to: an absolute URI, or "
        "another word without spaces and `#`. Tokens are signed by ES256 unless the settings say "
        "otherwise: of a resource whose library knows only RS256, choose it in "
        "`IDENTITY_AUDIENCE_ALGORITHMS`.",
        examples=[["https://orders.example.com"]],
    ),
]


class NewClient(ClientSettings, Named):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "Nightly report", "grant_types": ["client_credentials"], "scopes": []},
                {
                    "name": "Shop",
                    "grant_types": ["password", "refresh_token"],
                    "redirect_uris": ["https://shop.example.com/callback"],
                    "scopes": ["*"],
                },
            ]
        }
    )

    id: Annotated[Text, Field(max_length=64, json_schema_extra={"pattern": ID})] | None = Field(
        default=None, description="The `client_id`; made up when left out.", examples=["report"]
    )
    type: ClientType = "confidential"
    default_scopes: DefaultScopes = None
    audiences: Audiences = Field(default_factory=list)


class ClientPatch(SettingsPatch, Named):
    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "disabled"}]})

    status: Status = Field(default_factory=omitted)
    default_scopes: DefaultScopes = None
    audiences: Audiences = Field(default_factory=omitted)


class NewSecretBody(Body):
    model_config = ConfigDict(
        title="NewSecret", json_schema_extra={"examples": [{"expires_in": 7_776_000}]}
    )

    expires_in: int | None = Field(default=None, ge=1, le=TEN_YEARS, description="Seconds.")
    expires_at: Moment | None = None

    def moment(self) -> datetime | None:
        if self.expires_in is not None and self.expires_at is not None:
            raise ValidationFailed([("/expires_at", "give expires_in or expires_at, not both")])
        if self.expires_in is not None:
            return utcnow() + timedelta(seconds=self.expires_in)
        return self.expires_at


class SecretOut(BaseModel):
    """What is left of a secret once it was shown."""

    id: str
    hint: str = Field(description="Its last four characters.", examples=["x9Qc"])
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To a minute; null: not seen in use.")

    @classmethod
    def of(cls, row: ClientSecret) -> "SecretOut":
        return cls.model_validate(row, from_attributes=True)


class SecretShown(SecretOut):
    secret: str = Field(description="Shown this once.", examples=["cs_…"])


class ClientFacts(BaseModel):
    id: str
    name: str
    client_name: str
    type: ClientType
    status: Status
    grant_types: list[str]
    grants: list[str] = Field(
        json_schema_extra={"deprecated": True},
        description="`grant_types`, for one more version.",
    )
    scopes: list[str]
    scope: str
    default_scopes: list[str] | None
    audiences: list[str]
    builtin: bool
    self_registered: bool = Field(description="Nobody has vouched for it.")
    secrets: list[SecretOut]
    created_at: datetime
    updated_at: datetime


class ClientOut(ClientSettings, ClientFacts):
    model_config = ConfigDict(extra="ignore", strict=False)

    @classmethod
    def of(cls, client: Client, secrets: list[ClientSecret], **more: Any) -> Self:
        """Nothing is looked at again: what was stored under rules of before is shown too."""
        facts = client.model_dump(exclude={"settings", "version", "good_from"})
        made = cls.model_construct(
            **dict(load(client.settings)),
            **facts,
            client_name=client.name,
            grant_types=client.grants,
            scope=" ".join(client.scopes),
            secrets=[SecretOut.of(row) for row in secrets],
            **more,
        )
        return cast("Self", made)


class ClientCreated(ClientOut):
    client_id: str = Field(description="The `id` once more, under the protocol's name.")
    client_secret: str | None = Field(
        description="Shown this once; null where the client proves itself without one.",
        examples=["cs_…"],
    )
