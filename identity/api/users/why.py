"""`/users/{id}/why`: why could this user not sign in, and why may they do that?"""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Security
from pydantic import BaseModel, Field

from identity.api.actor import Acting, acting
from identity.api.blocks import BlockOut
from identity.api.bodies import JsonRoute, PathId, Text
from identity.api.problems import administrative
from identity.directory.access.granting import Withheld, parse
from identity.errors import InvalidScope, InvalidTarget, ValidationFailed
from identity.service import why
from identity.service.why import Reason

Reader = Annotated[Acting, Security(acting, scopes=["users:read"])]
AUDIT = "audit:read"

router = APIRouter(prefix="/users", tags=["Users"], route_class=JsonRoute)


class ObstacleOut(BaseModel):
    reason: Reason
    words: str
    until: datetime | None = Field(description="When it goes by itself, if it does.")


class FailureOut(BaseModel):
    at: datetime
    why: str | None
    address: str | None
    client_id: str | None
    count: int = Field(description="Many alike are counted.")


class SignInOut(BaseModel):
    obstacles: list[ObstacleOut] = Field(
        description="In the order in which a login with the right password would meet them. None: "
        "nothing but a wrong password keeps the user out."
    )
    blocks: list[BlockOut]
    failures: list[FailureOut] | None = Field(
        description="Refused logins of seven days, latest first; null without `audit:read`."
    )


class FromRoleOut(BaseModel):
    role: str
    acr: str | None = Field(description="The level of login that it wants.")
    counts: bool = Field(description="Whether it is held at the level asked about.")


class TraceOut(BaseModel):
    scope: str
    exists: bool
    resource: str | None
    roles: list[FromRoleOut] = Field(description="The user's that hold it.")
    everybodys: bool = Field(description="Every user holds it.")
    client: Literal["by name", "by *"] | None = Field(description="How the client has it.")
    withheld: Withheld | None = Field(description="Who has not got it; null where it is granted.")
    granted: bool


class RightsOut(BaseModel):
    roles: list[str]
    audience: str
    scopes: list[TraceOut]


class WhyOut(BaseModel):
    sign_in: SignInOut
    rights: RightsOut | None = Field(description="Where a client is named.")


@router.get(
    "/{user_id}/why", operation_id="explain_user",
    summary="Say why a user could not sign in, and why they may do what they may",
    responses=administrative(404),
)  # fmt: skip
async def explain(
    actor: Reader,
    user_id: PathId,
    client_id: Annotated[
        Text | None, Query(max_length=200, description="At this client; else at our own pages.")
    ] = None,
    address: Annotated[
        Text | None, Query(max_length=100, description="From there.", examples=["203.0.113.7"])
    ] = None,
    scope: Annotated[
        Text | None,
        Query(
            max_length=2000,
            description="Separated by spaces; else all there are.",
            pattern=r"^[\x20\x21\x23-\x5b\x5d-\x7e]*$",
        ),
    ] = None,
    resource: Annotated[
        Text | None, Query(max_length=300, description="The one that the token is to be for.")
    ] = None,
    acr: Annotated[
        Literal["aal1", "aal2", "phr"] | None,
        Query(description="The level of the login; else the highest."),
    ] = None,
) -> WhyOut:
    """Answered by what decides about logins and tokens."""
    services = actor.services
    sees_audit = AUDIT in actor.live.scopes
    signing_in = await why.sign_in(
        services, user_id, client_id=client_id, address=address, failures=sees_audit
    )
    shown = SignInOut.model_validate(signing_in, from_attributes=True)
    if not sees_audit:
        shown.failures = None
    if client_id is None:
        return WhyOut(sign_in=shown, rights=None)
    try:
        scopes = parse(scope or "")
        found = await why.rights(
            services, user_id, client_id, scopes=scopes, resource=resource, acr=acr
        )
    except InvalidScope as refusal:
        raise ValidationFailed([("?scope", refusal.detail)]) from None
    except InvalidTarget as refusal:
        raise ValidationFailed([("?resource", refusal.detail)]) from None
    return WhyOut(sign_in=shown, rights=RightsOut.model_validate(found, from_attributes=True))
