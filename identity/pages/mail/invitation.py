"""`/invitation`: whoever was invited chooses a password, or asks for the link once more."""

from identity.authentication.mail import resetting
from identity.authentication.mail.kinds import INVITE
from identity.errors import ValidationFailed
from identity.http.messages import Request, Response
from identity.pages.mail.parts import LinkPage
from identity.pages.registry import House
from identity.records import audit


class Invitation(LinkPage):
    here = "/invitation"
    purposes = (INVITE,)

    async def get(self, request: Request) -> Response:
        self._check()
        token = request.query.get("token", "")
        found = await self._good(token)
        if found is None:
            return self._dead(token, again=True)
        return self._set_form(found[1], token)

    async def post(self, request: Request) -> Response:
        self._check()
        form = await request.form()
        token, services = form.get("token", ""), self._services
        if form.get("act") == "again":
            await services.db.write(lambda s: resetting.invite_again(s, services.mails, token))
            return self._page("asked")
        found = await self._good(token)
        if found is None:
            return self._dead(token, again=True)
        user = found[1]
        try:
            hashed = await self._hash(user, form.get("new_password", ""))
        except ValidationFailed as refusal:
            return self._set_form(user, token, refusal)
        audit.act_as("user", user.id)
        if not await services.db.write(lambda s: resetting.set_password(s, token, hashed)):
            return self._dead(token, again=True)
        return self._page("password_set")


async def page(house: House) -> Invitation:
    return Invitation(house, await house.rendering())
