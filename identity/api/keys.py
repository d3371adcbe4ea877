"""`/keys`: the signing keys' states, never their private halves."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Security
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session, col, select

from identity.api.actor import Acting, acting
from identity.api.bodies import Body, JsonRoute, PathId
from identity.api.paging import Page
from identity.api.problems import administrative
from identity.keys import rotation, upkeep
from identity.keys.table import SigningKey, State

Reader = Annotated[Acting, Security(acting, scopes=["keys:read"])]
Writer = Annotated[Acting, Security(acting, scopes=["keys:write"])]


class Rotate(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"now": False}]})

    now: bool = Field(
        default=False,
        description="Sign with the new key at once. Verifiers that do not fetch the key set again "
        "on an unknown `kid` refuse new tokens until their copy is out of date.",
    )

    algorithm: str | None = Field(
        default=None,
        description="Which key, where audiences have chosen algorithms of their own "
        "(`IDENTITY_AUDIENCE_ALGORITHMS`); the one of `IDENTITY_SIGNING_ALGORITHM` when omitted.",
    )


class KeyOut(BaseModel):
    kid: str
    algorithm: str = Field(description="For each algorithm in use one key is active.")
    state: State = Field(
        description="`next`: published, does not sign yet. `active`: signs. `retired`: verifies "
        "what it signed. `revoked`: nothing it signed is good."
    )
    imported: bool
    created_at: datetime
    not_before: datetime = Field(description="When it may sign: every cached key set has it then.")
    activated_at: datetime | None
    retired_at: datetime | None
    expires_at: datetime | None = Field(
        description="When the last token of a retired key has expired."
    )
    withdrawn_at: datetime | None = Field(
        description="Since when it is published no more; hints that it signed are still known."
    )
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: SigningKey) -> "KeyOut":
        return cls.model_validate(key, from_attributes=True)


router = APIRouter(prefix="/keys", tags=["Keys"], route_class=JsonRoute)


@router.get("", operation_id="list_keys", summary="List signing keys", responses=administrative())
async def list_keys(actor: Reader) -> Page[KeyOut]:
    """Newest first. There are few; they come on one page."""

    def unit(session: Session) -> Page[KeyOut]:
        query = select(SigningKey).order_by(col(SigningKey.created_at).desc(), col(SigningKey.kid))
        return Page(items=[KeyOut.of(key) for key in session.exec(query)])

    return await actor.services.db.read(unit)


@router.post(
    "/rotate", operation_id="rotate_keys", summary="Bring on the next signing key",
    responses=administrative(body=True),
)  # fmt: skip
async def rotate(actor: Writer, body: Rotate | None = None) -> KeyOut:
    """The key that signs next. It is published now and signs once every verifier knows it."""
    settings = actor.services.settings
    asked = body or Rotate()
    serves = rotation.serving(settings, asked.algorithm)
    algorithm = settings.keys.algorithm_for(serves)
    material = await upkeep.material(algorithm, actor.services.master)
    return await actor.services.db.write(
        lambda session: KeyOut.of(
            rotation.rotate(session, settings, material, now=asked.now, serves=serves)
        )
    )


@router.post(
    "/{kid}/revoke", operation_id="revoke_key", summary="Revoke a signing key",
    responses=administrative(404),
)  # fmt: skip
async def revoke(actor: Writer, kid: PathId) -> KeyOut:
    """Everything that it signed is dead at once, also the token that asks for this. Another key
    takes its place."""
    services = actor.services
    algorithm = await services.db.read(
        lambda session: rotation.replacing(session, services.settings, kid)
    )
    material = await upkeep.material(algorithm, services.master)
    return await services.db.write(
        lambda session: KeyOut.of(rotation.revoke(session, services.settings, kid, material))
    )
