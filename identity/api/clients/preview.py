"""`/clients/{id}/token-preview`: what a token would say, unsigned."""

from typing import Annotated, Any

from fastapi import APIRouter, Security
from pydantic import BaseModel, ConfigDict, Field

from identity.api.actor import Acting, acting
from identity.api.bodies import Body, JsonRoute, Line, PathId, Text
from identity.api.problems import administrative
from identity.service import token_preview
from identity.service.token_preview import Level

Reader = Annotated[Acting, Security(acting, scopes=["clients:read", "users:read"])]
Words = Annotated[Text, Field(max_length=2000)]

router = APIRouter(prefix="/clients", tags=["Clients"], route_class=JsonRoute)


class PreviewWanted(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"scope": "openid", "acr": "aal1"}]})

    user_id: Line | None = Field(default=None, description="For the client itself if null.")
    scope: Words | None = Field(default=None, description="Separated by spaces, as at `/token`.")
    resource: Words | None = None
    acr: Level = Field(default="aal1", description="The level of the login.")


class PreviewOut(BaseModel):
    scope: str
    withheld: list[str] = Field(
        description="Scopes asked for and not granted: `GET /users/{user_id}/why` says why."
    )
    header: dict[str, str]
    claims: dict[str, Any] = Field(description="Of the access token, but for its status.")
    id_token: dict[str, Any] | None = Field(
        description="What an ID token would tell of the user, where there is one."
    )


@router.post(
    "/{client_id}/token-preview", operation_id="preview_token",
    summary="Show what a token would say", responses=administrative(404, 409, body=True),
)  # fmt: skip
async def preview(actor: Reader, client_id: PathId, body: PreviewWanted) -> PreviewOut:
    """By the mint that makes tokens; what it says is not signed and opens nothing. On record."""
    made = await token_preview.preview(
        actor.services, client_id,
        user_id=body.user_id, scope=body.scope, resource=body.resource, acr=body.acr,
    )  # fmt: skip
    return PreviewOut.model_validate(made, from_attributes=True)
