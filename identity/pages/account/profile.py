"""`/account/profile`: what people write about themselves, by the rules of `PATCH /users/me`."""

from typing import Any, ClassVar

from identity.directory.users.profile import ADDRESS
from identity.directory.users.table import User
from identity.errors import Conflict, ValidationFailed
from identity.http.messages import Request, Response
from identity.pages.account.own import FINE, Errors, OwnPage, shown
from identity.pages.from_below import words
from identity.pages.registry import House
from identity.pages.words import _
from identity.service import own_account
from identity.service.interactions import Person

FIELDS = ("name", "given_name", "family_name", "phone_number", "locale", "zoneinfo", "picture")
LONGEST = 200
"""Characters of a name, as `PATCH /users/me` has it."""
CHANGED = _("Your profile was changed elsewhere meanwhile. This is how it stands now: look again.")


class Profile(OwnPage):
    name = "profile"
    done: ClassVar = {
        "saved": _("Your profile is saved."),
        "email": _("Your e-mail address is changed."),
    }

    async def show(
        self, request: Request, person: Person, errors: Errors = FINE, *, status: int = 200
    ) -> Response:
        account = shown(person)
        values: dict[str, Any] = {name: getattr(account, name) or "" for name in FIELDS}
        values |= {f"address.{part}": (account.address or {}).get(part, "") for part in ADDRESS}
        return self._form(request, person, values, errors, status)

    async def act(self, request: Request, person: Person, form: dict[str, str]) -> Response:
        """An empty field comes as none, and is not known any more."""
        fields: dict[str, Any] = {name: form.get(name) for name in FIELDS}
        fields["address"] = {part: form.get(f"address.{part}") for part in ADDRESS}
        version = form.get("version")

        def check(user: User) -> None:
            if str(user.version) != version:
                raise Conflict("changed meanwhile")

        try:
            if len(form.get("name", "")) > LONGEST or not form.get("name", "x").isprintable():
                wrong = f"may hold at most {LONGEST} characters, none of them control characters"
                raise ValidationFailed([("/name", wrong)])
            await own_account.update_profile(
                self.services, person.user.id, fields, check, fresh=False
            )
        except Conflict:
            return await self.show(request, person, {"": CHANGED}, status=409)
        except ValidationFailed as refusal:
            errors = {
                pointer[1:].replace("/", "."): words(text) for pointer, text in refusal.errors
            }
            values = {key: form.get(key, "") for key in (*FIELDS, *_parts())}
            return self._form(request, person, values, errors, 422)
        return self.back("saved")

    def _form(
        self, request: Request, person: Person, values: dict[str, Any], errors: Errors, status: int
    ) -> Response:
        return self.page(
            request, person, status=status, errors=errors, values=values, account=shown(person),
            version=person.user.version,
        )  # fmt: skip


def _parts() -> tuple[str, ...]:
    return tuple(f"address.{part}" for part in ADDRESS)


async def page(house: House) -> Profile:
    return Profile(house, await house.rendering())
