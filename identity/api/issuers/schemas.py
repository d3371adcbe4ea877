"""What comes in and goes out at the routes of trusted issuers."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from identity.api.bodies import Body, Line, Text
from identity.api.merge_patch import Patch, omitted
from identity.directory.issuers.table import Status, TrustedIssuer, UserMatch

KUBERNETES = "https://kubernetes.default.svc.cluster.local"

Name = Annotated[Line, Field(examples=["The shop's cluster"])]
Jwks = Annotated[
    dict[str, Any] | None,
    Field(description="Its public keys (RFC 7517 §5), where they are not fetched."),
]
JwksUri = Annotated[
    Text | None,
    Field(
        max_length=2000,
        description="Where its public keys are. Without this and `jwks`: where its metadata say, "
        "behind `/.well-known/openid-configuration`.",
        json_schema_extra={"format": "uri"},
    ),
]
Audience = Annotated[
    Text | None,
    Field(
        max_length=200,
        description="What its tokens have to be for, and for nothing else; null: our issuer.",
    ),
]
Match = Annotated[
    UserMatch,
    Field(
        description="What of a user `user_claim` is compared with, at the grant "
        "`urn:ietf:params:oauth:grant-type:jwt-bearer`; `none`: it does not speak of users.",
    ),
]
Claim = Annotated[
    Line, Field(min_length=1, description="A claim of its tokens.", examples=["preferred_username"])
]

Statements = Annotated[
    bool,
    Field(
        description="Whether programs that register themselves at `/register` may bring its word "
        "of what they are (software statements, RFC 7591 §2.3).",
    ),
]


class NewIssuer(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"issuer": KUBERNETES, "name": "The shop's cluster"}]}
    )

    issuer: Annotated[Text, Field(min_length=1, max_length=500, examples=[KUBERNETES])] = Field(
        description="Exactly as its tokens have it in `iss`."
    )
    name: Name = ""
    jwks: Jwks = None
    jwks_uri: JwksUri = None
    audience: Audience = None
    user_match: Match = "none"
    user_claim: Claim = "sub"
    software_statements: Statements = False


class IssuerPatch(Patch):
    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "disabled"}]})

    name: Name = Field(default_factory=omitted)
    status: Status = Field(default_factory=omitted)
    jwks: Jwks = None
    jwks_uri: JwksUri = None
    audience: Audience = None
    user_match: Match = Field(default_factory=omitted)
    user_claim: Claim = Field(default_factory=omitted)
    software_statements: Statements = Field(default_factory=omitted)


class IssuerOut(BaseModel):
    id: str
    issuer: str
    name: str
    status: Status
    jwks: dict[str, Any] | None
    jwks_uri: str | None
    audience: str | None
    user_match: UserMatch
    user_claim: str
    software_statements: bool
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, issuer: TrustedIssuer) -> "IssuerOut":
        return cls.model_validate(issuer, from_attributes=True)
