"""`/reset-password`: asking for a link to a new password, choosing it, and "this was not me"."""

from identity.authentication.mail import resetting
from identity.authentication.mail.kinds import NOT_ME, RESET
from identity.errors import ValidationFailed
from identity.http.messages import Request, Response
from identity.http.origins import see_other
from identity.pages.mail.parts import LinkPage
from identity.pages.registry import House
from identity.records import audit


class ResetPassword(LinkPage):
    here = "/reset-password"
    purposes = (RESET, NOT_ME)

    async def get(self, request: Request) -> Response:
        self._check()
        token = request.query.get("token")
        if token is None:
            return self._page("ask")
        found = await self._good(token)
        if found is None:
            return self._dead()
        link, user = found
        if link.kind == NOT_ME:
            return self._page("not_me", username=user.username, token=token)
        return self._set_form(user, token)

    async def post(self, request: Request) -> Response:
        self._check()
        form = await request.form()
        token = form.get("token")
        if token is None:
            return await self._ask(form.get("username", ""))
        if form.get("act") == "not_me":
            return await self._not_me(token)
        return await self._set(token, form.get("new_password", ""))

    async def _ask(self, login: str) -> Response:
        """The same for everybody, whoever they are."""
        mails = self._services.mails
        if login.strip():
            await self._services.db.write_plain(lambda work: resetting.ask(work, mails, login))
        return self._page("asked")

    async def _set(self, token: str, password: str) -> Response:
        found = await self._good(token)
        if found is None or found[0].kind != RESET:
            return self._dead()
        user = found[1]
        try:
            hashed = await self._hash(user, password)
        except ValidationFailed as refusal:
            return self._set_form(user, token, refusal)
        audit.act_as("user", user.id)
        if not await self._services.db.write(lambda s: resetting.set_password(s, token, hashed)):
            return self._dead()
        return self._page("password_set")

    async def _not_me(self, token: str) -> Response:
        found = await self._good(token)
        if found is None:
            return self._dead()
        audit.act_as("user", found[1].id)
        further = await self._services.db.write(lambda s: resetting.not_me(s, token))
        return self._dead() if further is None else see_other(f"{self._action}?token={further}")


async def page(house: House) -> ResetPassword:
    return ResetPassword(house, await house.rendering())
