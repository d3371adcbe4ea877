"""Deeds of `/console/user`: what is known of somebody, looked at and changed."""

import json
from typing import Any

from identity.directory.users import profile
from identity.errors import ValidationFailed
from identity.http.messages import Response
from identity.http.preconditions import etag
from identity.pages.console import naming
from identity.pages.console.desk import Desk, Query, Seat
from identity.pages.console.forms import Field, Form, Sheet, changed
from identity.pages.words import _
from identity.service.administration import users as administration

TEXTS = (
    ("given_name", _("Given name")), ("family_name", _("Family name")),
    ("locale", _("Language")), ("zoneinfo", _("Time zone")),
    ("picture", _("Picture")), ("phone_number", _("Telephone")),
)  # fmt: skip
_ADDRESS = {
    "formatted": _("As on a letter"), "street_address": _("Street"), "locality": _("City"),
    "region": _("Region"), "postal_code": _("Postal code"), "country": _("Country"),
}  # fmt: skip


async def sheet(desk: Desk, seat: Seat, query: Query) -> Sheet:
    user = await naming.user(desk, query)
    address = user.address or {}
    who, more = _("Account"), _("Profile")
    fields = [
        Field("username", _("Username"), value=user.username, required=True, longest=64,
              group=who),
        Field("email", _("E-mail address"), "email", user.email or "", longest=320, group=who),
        Field("email_verified", _("The e-mail address has been verified"), "check",
              user.email_verified, group=who),
        Field("name", _("Name"), value=user.name or "", group=who),
        *(
            Field(name, label, value=getattr(user, name) or "", group=more,
                  longest=2000 if name == "picture" else 200)
            for name, label in TEXTS
        ),
        Field("phone_number_verified", _("The telephone number has been verified"), "check",
              user.phone_number_verified, group=more),
        *(
            Field(f"address.{part}", _ADDRESS[part], value=address.get(part, ""),
                  longest=500, group=_("Postal address"))
            for part in profile.ADDRESS
        ),
        Field("attributes", _("Attributes"), "textarea", _lines_of(user.attributes),
              longest=20_000, group=_("Attributes"),
              hint=_("One a line: name = value. The value is JSON, or plain text.")),
    ]  # fmt: skip
    return Sheet(
        title=_("Change %s") % user.username, button=_("Save"), fields=fields,
        version=etag(user.version), back=seat.at("/user", id=user.id),
    )  # fmt: skip


async def save(desk: Desk, seat: Seat, query: Query, form: Form) -> Response:
    user = await naming.user(desk, query)
    names = ("username", "email", "name", *(name for name, _label in TEXTS))
    sent: dict[str, Any] = {name: form.some(name) for name in names}
    sent |= {n: form.ticked(n) for n in ("email_verified", "phone_number_verified")}
    before = {name: getattr(user, name) for name in sent}
    patch = changed(before, sent)
    address = {part: form.some(f"address.{part}") for part in profile.ADDRESS}
    if address != {part: (user.address or {}).get(part) for part in profile.ADDRESS}:
        patch["address"] = address
    attributes = _read_lines(form.text("attributes"))
    if attributes != (user.attributes or {}):
        gone = dict.fromkeys((user.attributes or {}).keys() - attributes.keys())
        patch["attributes"] = {**gone, **attributes}
    version = form.some("version")
    await desk.services.db.write(
        lambda s: administration.change(s, user.id, patch, seat.held, version)
    )
    return desk.done(seat.at("/user", id=user.id), "saved")


def _lines_of(attributes: dict[str, Any] | None) -> str:
    return "\n".join(
        f"{name} = {json.dumps(value, ensure_ascii=False)}"
        for name, value in sorted((attributes or {}).items())
    )


def _read_lines(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in filter(None, map(str.strip, text.split("\n"))):
        name, equals, value = line.partition("=")
        if not equals:
            raise ValidationFailed([("/attributes", _("Each line is name = value"))])
        try:
            found[name.strip()] = json.loads(value)
        except (ValueError, RecursionError):
            found[name.strip()] = value.strip()
    return found
