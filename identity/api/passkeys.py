"""One's own passkeys: made in two steps, named, and taken away. Whoever changes one has lately
proved who they are, as surely as they can."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session

from identity.api.actor import ChangingMe
from identity.api.bodies import Body, JsonRoute, Line, PathId
from identity.api.factors import MINE, FactorOut, RecoveryCodes, change_mine, shown
from identity.api.merge_patch import Patch, merge_patch
from identity.api.problems import administrative
from identity.api.stepping_up import TOO_OLD
from identity.authentication import second_factor
from identity.authentication.passkeys import enrolling, keeping
from identity.authentication.passkeys.errors import PasskeyRefused
from identity.directory.users.table import User
from identity.errors import ValidationFailed

router = APIRouter(route_class=JsonRoute)
PASSKEYS = "/users/me/factors/passkeys"
Credential = Annotated[
    dict[str, Any],
    Field(
        description="`RegistrationResponseJSON`: what `toJSON()` makes of what "
        "`navigator.credentials.create()` gave."
    ),
]


class PasskeyOptions(BaseModel):
    """`PublicKeyCredentialCreationOptionsJSON` (WebAuthn 3 §5.4), for
    `PublicKeyCredential.parseCreationOptionsFromJSON()`."""

    model_config = ConfigDict(extra="allow")

    challenge: str
    rp: dict[str, str]
    user: dict[str, str]


class NewPasskey(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "My telephone", "credential": {"id": "…", "type": "public-key"}}]
        }
    )

    name: Line
    credential: Credential


class PasskeyChange(Patch):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "The blue key"}]})

    name: Line | None = None
    doubted: Annotated[
        bool | None,
        Field(
            description="`false`: its owner says that nobody else has it, though its counter fell."
        ),
    ] = None


class AddedPasskey(RecoveryCodes):
    passkey: FactorOut


@router.post(
    PASSKEYS, status_code=201, operation_id="begin_my_passkey", tags=[MINE],
    summary="Get what to ask a browser for a passkey with",
    responses=administrative(
        409, s403=TOO_OLD, s409="Passkeys are not possible here, or there are twenty already."
    ),
)  # fmt: skip
async def begin_my_passkey(me: ChangingMe) -> PasskeyOptions:
    """Good for one answer, within the hour. A browser gives it to pages of this service, of the
    domain `IDENTITY_RP_ID` and below, and of `IDENTITY_RELATED_ORIGINS`."""
    passkeys = me.services.passkeys
    options = await change_mine(me, lambda s, user: enrolling.ask(passkeys, s, user))
    return PasskeyOptions(**options)


@router.post(
    f"{PASSKEYS}/confirm", operation_id="confirm_my_passkey", tags=[MINE],
    summary="Add the passkey that the browser has made",
    responses=administrative(
        409, body=True, s403=TOO_OLD, s409="There are twenty already, or somebody has this one."
    ),
)  # fmt: skip
async def confirm_my_passkey(me: ChangingMe, body: NewPasskey) -> AddedPasskey:
    """From then on signing in wants it, or another second factor, beside the password; by itself it
    is enough."""
    await change_mine(me, lambda session, user: None)  # before anything is looked at
    try:
        text = orjson.dumps(body.credential).decode()
        made = await enrolling.made(me.services.passkeys, text, me.user.id)
    except PasskeyRefused as refusal:
        words = f"is not accepted: {refusal.audit}"
        raise ValidationFailed([("/credential", words)]) from None
    factors = me.services.second_factor

    def add(session: Session, user: User) -> AddedPasskey:
        passkey, codes = factors.add_passkey(session, user, made, body.name)
        return AddedPasskey(passkey=shown(passkey), recovery_codes=codes)

    return await change_mine(me, add)


@router.patch(
    f"{PASSKEYS}/{{passkey_id}}", operation_id="change_my_passkey", tags=[MINE],
    summary="Name a passkey, or say that it is still mine alone",
    responses=administrative(404, body=True, s403=TOO_OLD),
    openapi_extra=merge_patch(PasskeyChange),
)  # fmt: skip
async def change_my_passkey(me: ChangingMe, passkey_id: PathId, body: PasskeyChange) -> FactorOut:
    def change(session: Session, user: User) -> FactorOut:
        passkey = keeping.get(session, user.id, passkey_id)
        if body.name is not None:
            passkey = keeping.rename(session, user.id, passkey_id, body.name)
        if body.doubted is True:
            raise ValidationFailed([("/doubted", "can be taken back, not made")])
        if body.doubted is False:
            passkey = keeping.trust(session, user.id, passkey_id)
        return shown(passkey)

    return await change_mine(me, change)


@router.delete(
    f"{PASSKEYS}/{{passkey_id}}", status_code=204, operation_id="remove_my_passkey", tags=[MINE],
    summary="Do without a passkey", responses=administrative(404, s403=TOO_OLD),
)  # fmt: skip
async def remove_my_passkey(me: ChangingMe, passkey_id: PathId) -> None:
    """Where it was the last second factor, the recovery codes go along: the password is enough
    again."""
    await change_mine(me, lambda s, user: second_factor.remove_passkey(s, user, passkey_id))
