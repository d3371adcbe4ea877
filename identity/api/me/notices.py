"""`/users/me/notices`: which mails about their own account users want. Those about changes of what
lets them in are not for them to choose: whoever takes an account must not be able to go unnoticed.
"""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from sqlmodel import Session

from identity.api.actor import ChangingMe, Me
from identity.api.bodies import Body, JsonRoute
from identity.api.problems import administrative
from identity.api.stepping_up import TOO_OLD, check_stepped_up
from identity.directory.users import accounts
from identity.service import own_account

router = APIRouter(tags=["Self-service"], route_class=JsonRoute)


class Notices(Body):
    new_device: Annotated[
        bool, Field(description="Whether a mail tells of sign-ins with a new browser.")
    ]


@router.get(
    "/users/me/notices", operation_id="get_my_notices", summary="Which mails do I get?",
    responses=administrative(),
)  # fmt: skip
async def get_my_notices(me: Me) -> Notices:
    user = await me.services.db.read(lambda session: accounts.get(session, me.user.id))
    return Notices(new_device=user.device_notices)


@router.put(
    "/users/me/notices", operation_id="set_my_notices", summary="Choose which mails I get",
    responses=administrative(body=True, s403=TOO_OLD),
)  # fmt: skip
async def set_my_notices(me: ChangingMe, body: Notices) -> Notices:
    def unit(session: Session) -> None:
        user = accounts.get(session, me.user.id, lock=True)
        check_stepped_up(me.live, second_factor=user.second_factor)
        own_account.choose_notices(session, user, new_device=body.new_device)

    await me.services.db.write(unit)
    return body
