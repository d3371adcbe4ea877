"""`/keys`: the signing keys' states, never their private halves."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Security
from pydantic import BaseModel, ConfigDict, Field

from identity.api.actor import Acting, acting
from identity.api.bodies import Body, JsonRoute, PathId, Text
from identity.api.paging import Page, Paged, cursor
from identity.api.problems import administrative
from identity.errors import ValidationFailed
from identity.keys.table import SigningKey, State
from identity.keys.uptake import Uptake
from identity.service.administration import keys as administration

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


class FollowerOut(BaseModel):
    client_id: str
    name: str = Field(description="What it calls itself: of our verifier host, process, chance.")
    seen_at: datetime


class UptakeOut(BaseModel):
    """Who has a key that does not sign yet, of those who follow `/revocations`."""

    followers: int = Field(description="Seen in the last hour.")
    silent: int = Field(description="Of these, clients that do not say what they have.")
    missing: int = Field(description="Of these, those who say that they have not got it.")
    waits_for: list[FollowerOut] = Field(description="The first of those who have not got it.")

    @classmethod
    def of(cls, uptake: Uptake) -> "UptakeOut":
        who = [FollowerOut.model_validate(each, from_attributes=True) for each in uptake.who]
        return cls(
            followers=uptake.followers, silent=uptake.silent, missing=uptake.missing, waits_for=who
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
    not_before: datetime = Field(
        description="When every cached key set has it; then it signs, once `uptake.missing` is 0."
    )
    activated_at: datetime | None
    retired_at: datetime | None
    expires_at: datetime | None = Field(
        description="When the last token of a retired key has expired."
    )
    withdrawn_at: datetime | None = Field(
        description="Since when it is published no more; hints that it signed are still known."
    )
    revoked_at: datetime | None
    uptake: UptakeOut | None = Field(
        default=None, description="In the list, of a key that is `next`: whom it waits for."
    )

    @classmethod
    def of(cls, key: SigningKey, uptake: Uptake | None = None) -> "KeyOut":
        shown = cls.model_validate(key, from_attributes=True)
        shown.uptake = UptakeOut.of(uptake) if uptake else None
        return shown


router = APIRouter(prefix="/keys", tags=["Keys"], route_class=JsonRoute)


@router.get("", operation_id="list_keys", summary="List signing keys", responses=administrative())
async def list_keys(
    actor: Reader,
    window: Paged,
    q: Annotated[Text | None, Query(max_length=200, description="Part of a `kid`.")] = None,
) -> Page[KeyOut]:
    """Newest first. There are few; most often they come on one page."""
    found, uptakes = await actor.services.db.read(administration.with_uptake)
    found = [key for key in found if not q or q in key.kid]
    kids = [key.kid for key in found]
    if window.after is not None and window.after not in kids:
        raise ValidationFailed([("?after", "is not a cursor from this list")])
    begin = 0 if window.after is None else kids.index(window.after) + 1
    end = begin + window.limit
    return Page(
        items=[KeyOut.of(key, uptakes.get(key.kid)) for key in found[begin:end]],
        next=cursor(kids[end - 1]) if end < len(kids) else None,
    )


@router.post(
    "/rotate", operation_id="rotate_keys", summary="Bring on the next signing key",
    responses=administrative(body=True),
)  # fmt: skip
async def rotate(actor: Writer, body: Rotate | None = None) -> KeyOut:
    """The key that signs next. It is published now and signs once every verifier knows it; `now`
    says that it need not."""
    asked = body or Rotate()
    services = actor.services
    key = await administration.rotate(services, now=asked.now, algorithm=asked.algorithm)
    return KeyOut.of(key)


@router.post(
    "/{kid}/revoke", operation_id="revoke_key", summary="Revoke a signing key",
    responses=administrative(404),
)  # fmt: skip
async def revoke(actor: Writer, kid: PathId) -> KeyOut:
    """Everything that it signed is dead at once, also the token that asks for this. Another key
    takes its place."""
    return KeyOut.of(await administration.revoke(actor.services, kid))
