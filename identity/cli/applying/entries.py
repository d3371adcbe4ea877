"""What files may say, by the types that bodies of the API have: a rule there is a rule here. What
they cannot see, such as whether a scope exists, the functions of `directory` say when it is done.
"""

from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from identity.api.access.schemas import Acr, Audience, Description, Open, RoleName, ScopeName
from identity.api.access.schemas import ScopeNames as RoleScopes
from identity.api.bodies import Body, Text
from identity.api.clients.schemas import Audiences, DefaultScopes
from identity.api.clients.settings import Named
from identity.api.issuers import schemas as issuers
from identity.directory.clients.settings import ClientSettings
from identity.directory.clients.table import ClientType, Status
from identity.directory.clients.values import Audiences as Impersonation
from identity.directory.clients.values import Exchanges
from identity.directory.issuers.table import Status as IssuerStatus

DEFAULT_SET = "default"


class ScopeEntry(Body):
    description: Description = ""
    open_to_registered: Open = False


class ResourceEntry(Body):
    scopes: dict[ScopeName, ScopeEntry | None] = Field(
        min_length=1, description="Its scopes: without any there is no resource."
    )


class RoleEntry(Body):
    description: Description = ""
    scopes: RoleScopes = Field(default_factory=list)
    acr: Acr = None


class IssuerEntry(Body):
    name: issuers.Name = ""
    status: IssuerStatus = "active"
    jwks: issuers.Jwks = None
    jwks_uri: issuers.JwksUri = None
    audience: issuers.Audience = None
    user_match: issuers.Match = "none"
    user_claim: issuers.Claim = "sub"
    software_statements: bool = False


class SecretEntry(Body):
    """Where a secret is. It stands in no file of this kind."""

    env: Annotated[Text, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="An environment variable that holds it.", examples=["SHOP_SECRET"]
    )
    file: Annotated[Text, Field(min_length=1, max_length=1000)] | None = Field(
        default=None,
        description="A file that holds it, beside this one unless its path is absolute.",
        examples=["/run/secrets/shop"],
    )

    @model_validator(mode="after")
    def _one(self) -> "SecretEntry":
        if (self.env is None) == (self.file is None):
            raise PydanticCustomError("secret", "takes env or file, one of both")
        return self


class ClientEntry(ClientSettings, Named):
    type: ClientType = "confidential"
    status: Status = "active"
    default_scopes: DefaultScopes = None
    audiences: Audiences = Field(default_factory=list)
    secrets: (
        Annotated[
            list[SecretEntry],
            Field(
                max_length=2,
                description="The secrets that it has, and no others; left out: they are not "
                "looked at. Two overlap while the client changes over.",
            ),
        ]
        | None
    ) = None


class PolicyEntry(Body):
    """Which tokens a client of these files may exchange."""

    token_exchange: Exchanges = Field(
        description="For which resources, and for which scopes of each; `*`: all of the "
        "resource's that the client has.",
        examples=[{"https://stock.example.com": ["stock:read"]}],
    )
    token_exchange_impersonation: Impersonation = Field(
        default=(),
        description="Of these, for which the tokens need not say that it acts for somebody.",
    )


class Document(Body):
    """A file of `identity apply`. What an entry leaves out has its default."""

    set: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = Field(
        default=DEFAULT_SET,
        description="What the files of one `identity apply` are called together: `--prune` takes "
        "away only what the same set has made.",
        examples=["shop"],
    )
    resources: dict[Audience, ResourceEntry] = Field(
        default_factory=dict, description="By audience (RFC 8707): each with its scopes."
    )
    scopes: dict[ScopeName, ScopeEntry | None] = Field(
        default_factory=dict, description="Scopes that belong to no resource, by name."
    )
    roles: dict[RoleName, RoleEntry | None] = Field(default_factory=dict, description="By name.")
    trusted_issuers: dict[Text, IssuerEntry | None] = Field(
        default_factory=dict, description="By what their tokens have in `iss`."
    )
    clients: dict[Text, ClientEntry | None] = Field(
        default_factory=dict, description="By `client_id`."
    )
    policies: dict[Text, PolicyEntry] = Field(
        default_factory=dict,
        description="Who may exchange tokens for others' resources, by `client_id`: settings of "
        "clients, that may stand in a file of their own.",
    )


def schema() -> dict[str, Any]:
    """The JSON schema of a file."""
    made = Document.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
