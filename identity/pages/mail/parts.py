"""What the pages behind links have in common: a link is looked at by GET and used by POST."""

from collections.abc import Sequence
from typing import Any

from identity.authentication.mail import links
from identity.authentication.mail.kinds import RESET, Purpose
from identity.authentication.mail.links import MailLink
from identity.authentication.passwords import policy
from identity.directory.users.table import User
from identity.errors import NotFound, ValidationFailed
from identity.http.messages import Response
from identity.pages.from_below import words
from identity.pages.registry import House
from identity.pages.rendering import CONVENIENCES, Rendering
from identity.records import audit


class LinkPage:
    """`here`: its address. `purposes`: of the links that lead to it."""

    here: str
    purposes: Sequence[Purpose]

    def __init__(self, house: House, rendering: Rendering) -> None:
        self._services = house.services
        self._rendering = rendering
        self._action = f"{rendering.base}{self.here}"

    def _check(self) -> None:
        """`NotFound` where no mail can be sent."""
        if not self._services.mails.on:
            raise NotFound

    async def _good(self, token: str) -> tuple[MailLink, User] | None:
        return await self._services.db.read(lambda s: links.good(s, token, *self.purposes))

    async def _hash(self, user: User, password: str) -> str:
        """What to store. Raises `ValidationFailed`."""
        least = self._least(user)
        policy.check(password, username=user.username, email=user.email, least=least)
        return await self._services.login.hash(user.username, password)

    def _least(self, user: User) -> int:
        alone = self._services.settings.passwords.password_min_length
        return policy.least_of(second_factor=user.second_factor, alone=alone)

    def _set_form(
        self, user: User, token: str, refusal: ValidationFailed | None = None
    ) -> Response:
        return self._page(
            "new_password",
            scripts=[CONVENIENCES],
            status=422 if refusal else 200,
            username=user.username,
            token=token,
            least=self._least(user),
            problem=words(refusal.errors[0][1]) if refusal else None,
        )

    def _dead(self, token: str = "", *, again: bool = False) -> Response:
        """The link is good no longer. `again`: whether it may be asked for once more."""
        resets = RESET in self.purposes
        return self._page("dead_link", status=410, token=token, again=again, resets=resets)

    def _page(self, name: str, *, status: int = 200, **said: Any) -> Response:
        return self._rendering.page(
            f"mail/{name}.html",
            status=status,
            forms_stay=True,
            action=self._action,
            request_id=audit.origin.get().request_id,
            **said,
        )
