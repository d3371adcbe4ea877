"""Second factors: one's own to set up and take away, everybody's for administrators to see and to
reset. Whoever changes one has lately proved who they are, as surely as they can."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Query, Security
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session

from identity.api.actor import (
    Acting,
    ActingUser,
    ChangingMe,
    Me,
    acting,
)
from identity.api.bodies import Body, JsonRoute, Line, PathId
from identity.api.paging import Page
from identity.api.problems import administrative
from identity.api.stepping_up import TOO_OLD, check_stepped_up
from identity.authentication import enrolment, recovery, second_factor, totp
from identity.authentication.passkeys import keeping
from identity.authentication.passkeys.table import Passkey
from identity.directory.users import accounts
from identity.directory.users.table import User

T = TypeVar("T")
router = APIRouter(route_class=JsonRoute)
Reader = Annotated[Acting, Security(acting, scopes=["users:read"])]
Writer = Annotated[Acting, Security(acting, scopes=["users:write"])]
MINE, THEIRS = "Self-service", "Users"


class FactorOut(BaseModel):
    """What somebody can give beside their password. Never a secret."""

    kind: Literal["passkey", "totp", "recovery_codes"]
    id: str | None = None
    """Of a passkey."""
    name: str | None = None
    created_at: datetime
    last_used_at: datetime | None = None
    locked_until: datetime | None = None
    """Too many wrong codes in a row: until then none is taken."""
    left: int | None = None
    """Of recovery codes, how many are still good."""
    backed_up: bool | None = None
    """Of a passkey, whether its owner's other devices have it too."""
    doubted_at: datetime | None = None
    """Of a passkey whose counter fell: it is taken again once its owner has said that it is
    theirs."""


class TotpEnrolment(BaseModel):
    secret: str = Field(
        description="Base32, for an app that scans no codes. Shown this once.",
        examples=["JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"],
    )
    uri: str = Field(
        description="The same for a QR code.",
        examples=["otpauth://totp/id.example:ada?secret=JBSWY3DPEHPK3PXP&issuer=id.example"],
    )
    expires_at: datetime = Field(description="Until then its first code has to come.")


class Code(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "287082"}]})

    code: Line


class RecoveryCodes(BaseModel):
    recovery_codes: list[str] | None = Field(
        description="Each good once, in place of any other code. Shown this once; null where those "
        "of before go on.",
        examples=[["nb4x-ezlw-mq2g-s3tp-oruh-c5a"]],
    )


@router.get(
    "/users/me/factors", operation_id="list_my_factors", tags=[MINE],
    summary="List my second factors", responses=administrative(),
)  # fmt: skip
async def list_my_factors(me: Me) -> Page[FactorOut]:
    return await me.services.db.read(lambda s: _page(s, me.user.id))


@router.post(
    "/users/me/factors/totp", status_code=201, operation_id="begin_my_totp", tags=[MINE],
    summary="Get a secret for an authenticator app",
    responses=administrative(s403=TOO_OLD),
)  # fmt: skip
async def begin_my_totp(me: ChangingMe) -> TotpEnrolment:
    """It counts once a code of it has been sent to `…/confirm`; an app that was set up before goes
    on until then."""
    factors = me.services.second_factor
    begun = await change_mine(me, factors.begin_totp)
    return TotpEnrolment(**begun._asdict())


@router.post(
    "/users/me/factors/totp/confirm", operation_id="confirm_my_totp", tags=[MINE],
    summary="Show a code of the app, which then counts",
    responses=administrative(409, body=True, s403=TOO_OLD, s409="No secret waits for a code."),
)  # fmt: skip
async def confirm_my_totp(me: ChangingMe, body: Code) -> RecoveryCodes:
    """From then on `/token` wants a code beside the password, and so does signing in."""
    factors = me.services.second_factor
    codes = await change_mine(me, lambda s, user: factors.confirm_totp(s, user, body.code))
    return RecoveryCodes(recovery_codes=codes)


@router.delete(
    "/users/me/factors/totp", status_code=204, operation_id="remove_my_totp", tags=[MINE],
    summary="Do without the authenticator app", responses=administrative(404, s403=TOO_OLD),
)  # fmt: skip
async def remove_my_totp(me: ChangingMe) -> None:
    """The recovery codes go along: the password is enough again."""
    await change_mine(me, second_factor.remove_totp)


@router.post(
    "/users/me/factors/recovery-codes", status_code=201, operation_id="renew_my_recovery_codes",
    tags=[MINE], summary="Get ten new recovery codes",
    responses=administrative(409, s403=TOO_OLD, s409="There is nothing to recover."),
)  # fmt: skip
async def renew_my_recovery_codes(me: ChangingMe) -> RecoveryCodes:
    """Those of before are good no longer."""
    codes = await change_mine(me, second_factor.renew_recovery)
    return RecoveryCodes(recovery_codes=codes)


@router.get(
    "/users/{user_id}/factors", operation_id="list_user_factors", tags=[THEIRS],
    summary="List the second factors of a user", responses=administrative(404),
)  # fmt: skip
async def list_factors(actor: Reader, user_id: PathId) -> Page[FactorOut]:
    def unit(session: Session) -> Page[FactorOut]:
        accounts.get(session, user_id)
        return _page(session, user_id)

    return await actor.services.db.read(unit)


@router.delete(
    "/users/{user_id}/factors", status_code=204, operation_id="reset_user_factors", tags=[THEIRS],
    summary="Take the second factors from a user who has lost them",
    responses=administrative(404, s403=TOO_OLD),
)  # fmt: skip
async def reset_factors(
    actor: Writer,
    user_id: PathId,
    reason: Annotated[Line | None, Query(description="For the audit.")] = None,
) -> None:
    """Recovery codes go along; the password is enough again, and all sessions end."""

    def unit(session: Session) -> None:
        user = accounts.get(session, user_id, lock=True)
        if actor.live.user is not None:
            check_stepped_up(actor.live, second_factor=actor.live.user.second_factor)
        second_factor.reset(session, user, actor.held, reason)

    await actor.services.db.write(unit)


class LinkReason(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "telephone stolen"}]})

    reason: Line = Field(description="For the audit: 1 to 200 characters.")


class EnrolmentLinkOut(BaseModel):
    link: str = Field(
        description="Shown this once. Hand it over by a way that the user alone reads.",
        examples=["https://id.example/enrolment?token=el_…"],
    )
    expires_at: datetime


@router.post(
    "/users/{user_id}/enrolment-links", status_code=201, operation_id="issue_enrolment_link",
    tags=[THEIRS], summary="Give a user who has lost every second factor a link to a new one",
    responses=administrative(404, 409, body=True, s403=TOO_OLD, s409="Nothing is to be replaced."),
)  # fmt: skip
async def issue_enrolment_link(
    actor: Writer, user_id: PathId, body: LinkReason
) -> EnrolmentLinkOut:
    """It is good once, for a day, together with the user's password, and for that alone. The user
    is told at every address of theirs; a link of before is good no longer. Until the new factor is
    set up, those of before go on."""

    def unit(session: Session) -> enrolment.Issued:
        user = accounts.get(session, user_id, lock=True)
        actor.check_stepped_up()
        return enrolment.issue(session, user, actor.held, body.reason)

    issued = await actor.services.db.write(unit)
    address = issued.address(actor.services.settings.issuer)
    return EnrolmentLinkOut(link=address, expires_at=issued.expires_at)


@router.delete(
    "/users/{user_id}/enrolment-links", status_code=204, operation_id="withdraw_enrolment_links",
    tags=[THEIRS], summary="Take back the link that a user was given",
    responses=administrative(404),
)  # fmt: skip
async def withdraw_enrolment_links(actor: Writer, user_id: PathId) -> None:
    """Also if it has been opened, as long as no factor has been set up by it."""

    def unit(session: Session) -> None:
        enrolment.withdraw(session, accounts.get(session, user_id, lock=True), actor.held)

    await actor.services.db.write(unit)


async def change_mine(me: ActingUser, change: Callable[[Session, User], T]) -> T:
    """`change` as part of a unit of work, if its user has lately proved who they are."""

    def unit(session: Session) -> T:
        user = accounts.get(session, me.user.id, lock=True)
        check_stepped_up(me.live, second_factor=user.second_factor)
        return change(session, user)

    return await me.services.db.write(unit)


def shown(passkey: Passkey) -> FactorOut:
    return FactorOut(
        kind="passkey",
        id=passkey.id,
        name=passkey.name,
        created_at=passkey.created_at,
        last_used_at=passkey.last_used_at,
        backed_up=passkey.backed_up,
        doubted_at=passkey.doubted_at,
    )


def _page(session: Session, user_id: str) -> Page[FactorOut]:
    found, items = totp.find(session, user_id), list(map(shown, keeping.of_user(session, user_id)))
    if found is not None and found.confirmed_at is not None:
        items.append(
            FactorOut(
                kind="totp",
                created_at=found.confirmed_at,
                last_used_at=found.last_used_at,
                locked_until=totp.locked_until(found),
            )
        )
    left, made = recovery.left(session, user_id)
    if made is not None:
        items.append(FactorOut(kind="recovery_codes", created_at=made, left=left))
    return Page(items=items)
