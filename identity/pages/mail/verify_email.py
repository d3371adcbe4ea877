"""`/verify-email`: what is confirmed, and taken back, about an e-mail address."""

from sqlmodel import Session

from identity.authentication.mail import addresses, links
from identity.authentication.mail.kinds import CHANGE, UNDO, VERIFY
from identity.directory.users import accounts
from identity.errors import Conflict
from identity.http.messages import Request, Response
from identity.http.origins import see_other
from identity.pages.mail.parts import LinkPage
from identity.pages.registry import House
from identity.records import audit


class VerifyEmail(LinkPage):
    here = "/verify-email"
    purposes = (VERIFY, CHANGE, UNDO)

    async def get(self, request: Request) -> Response:
        self._check()
        token = request.query.get("token", "")
        found = await self._good(token)
        if found is None:
            return self._dead()
        link, user = found
        return self._page(
            "address", username=user.username, address=link.address, token=token,
            undo=link.kind == UNDO,
        )  # fmt: skip

    async def post(self, request: Request) -> Response:
        self._check()
        token = (await request.form()).get("token", "")
        found = await self._good(token)
        if found is None:
            return self._dead()
        audit.act_as("user", found[1].id)
        try:
            done = await self._services.db.write(lambda session: self._use(session, token))
        except Conflict:  # somebody else has the address by now
            return self._dead()
        if done is None:
            return self._dead()
        if done:
            return see_other(f"{self._rendering.base}/reset-password?token={done}")
        return self._page("address_confirmed", address=found[0].address)

    def _use(self, session: Session, token: str) -> str | None:
        """What goes on to a new password, where that is next; None: the link was not good."""
        used = links.use(session, token, *self.purposes)
        if used is None:
            return None
        link, user = used
        if link.kind == UNDO:
            return addresses.undo(session, link, user)
        if link.kind == CHANGE:
            addresses.confirm(session, self._services.mails, link, user)
        else:
            accounts.update(session, user, {"email_verified": True}, None)
        return ""


async def page(house: House) -> VerifyEmail:
    return VerifyEmail(house, await house.rendering())
