"""`/account/profile`: what people write about themselves, by the rules of `PATCH /users/me`."""

from typing import Any, ClassVar

from identity.directory.users import profile
from identity.directory.users.profile import ADDRESS
from identity.directory.users.table import User
from identity.errors import Conflict, ValidationFailed
from identity.http.messages import Request, Response
from identity.pages.account.own import FINE, Errors, OwnPage, shown
from identity.pages.registry import House
from identity.pages.words import _
from identity.service import own_account
from identity.service.interactions import Person

FIELDS = ("name", "given_name", "family_name", "phone_number", "locale", "zoneinfo", "picture")
LONGEST = 200
"""Characters of a name, as `PATCH /users/me` has it."""
WRONG = {
    "locale": _("Give a language tag such as en or pt-BR."),
    "zoneinfo": _("Give the name of a time zone such as Europe/Lisbon."),
    "picture": _("Give the address of a picture; it begins with https."),
    "phone_number": _("Give an international telephone number such as +1 425 555 0100."),
}
"""What the rules (`directory.users.profile`) want, by member."""
TOO_LONG = _("That is too long, or holds control characters.")
CHANGED = _("Your profile was changed elsewhere meanwhile. This is how it stands now: look again.")


class Profile(OwnPage):
    name = "profile"
    done: ClassVar = {
        "saved": _("Your profile is saved."),
        "email": _("Your e-mail address is changed."),
        "mail": _("Look into your mail: the new address counts once you have confirmed it there."),
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
            _check_all(fields)
            await own_account.update_profile(
                self.services, person.user.id, fields, check, fresh=False
            )
        except Conflict:
            return await self.show(request, person, {"": CHANGED}, status=409)
        except ValidationFailed as refusal:
            wrong = {pointer[1:].replace("/", ".") for pointer, _text in refusal.errors}
            order = (*FIELDS, *_parts())
            errors = {name: WRONG.get(name, TOO_LONG) for name in order if name in wrong}
            values = {name: form.get(name, "") for name in order}
            return self._form(request, person, values, errors, 422)
        return self.back("saved")

    def _form(
        self, request: Request, person: Person, values: dict[str, Any], errors: Errors, status: int
    ) -> Response:
        return self.page(
            request, person, status=status, errors=errors, values=values, account=shown(person),
            version=person.user.version,
        )  # fmt: skip


def _check_all(fields: dict[str, Any]) -> None:
    """So that all that is wrong is told at once."""
    wrong: list[tuple[str, str]] = []
    try:
        profile.checked(fields)
    except ValidationFailed as refusal:
        wrong += refusal.errors
    name = fields["name"] or ""
    if len(name) > LONGEST or not name.isprintable():
        wrong.append(("/name", TOO_LONG))
    if wrong:
        raise ValidationFailed(wrong)


def _parts() -> tuple[str, ...]:
    return tuple(f"address.{part}" for part in ADDRESS)


async def page(house: House) -> Profile:
    return Profile(house, await house.rendering())
