"""`/console/branding`: the name, the logo and the colours of the pages, as people have them now."""

from typing import Any, Final

from sqlmodel import Session

from identity.directory.branding import colours
from identity.directory.branding.current import look
from identity.directory.branding.logos import LARGEST, LONGEST_SIDE, MEDIA
from identity.http.messages import Response
from identity.http.preconditions import etag
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Field, Form, Option, Sheet, changed
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.service.administration import branding as administration

COLOUR = _("Such as `#2f5fd0`. Empty: as the pages come.")
SCHEMES: Final = {"light": _("light"), "dark": _("dark")}
PARTS: Final = {
    "accent": _("links and buttons"),
    "on accent": _("words on buttons"),
    "text": _("text"),
    "muted": _("lesser text"),
    "danger": _("warnings"),
    "surface": _("panels"),
    "background": _("the background"),
    "marked": _("what is marked in the navigation"),
}


class BrandingScreen(Desk):
    screen = own("branding")

    async def show(self, seat: Seat, query: Query) -> Response:
        brand = await self.services.db.read(look)
        return self.page(
            seat, "branding", title=_("Branding"), own=brand, enough=colours.ENOUGH,
            pairs=colours.pairs(brand.chosen), schemes=SCHEMES, parts=PARTS,
            done=query.get("done", ""),
        )  # fmt: skip

    async def edit_sheet(self, seat: Seat, query: Query) -> Sheet:
        brand = await self.services.db.read(look)
        said = {name: value or "" for name, value in brand.chosen.items()}
        return Sheet(
            title=_("Change name and colours"), button=_("Save"),
            lead=_("Whoever looks at a page or gets a mail sees it from then on. Colours that "
                   "people could not read are refused."),
            fields=[
                Field("name", _("Name"), value=brand.name if brand.own_name else "", longest=40,
                      hint=_("Of whoever runs this service. Empty: Identity.")),
                Field("accent", _("Accent, in the light scheme"), value=said["accent"],
                      longest=7, hint=COLOUR),
                Field("accent_dark", _("Accent, in the dark scheme"), value=said["accent_dark"],
                      longest=7, hint=_("Empty: as much lighter as it has to be.")),
                Field("background", _("Background, in the light scheme"),
                      value=said["background"], longest=7, hint=COLOUR),
                Field("background_dark", _("Background, in the dark scheme"),
                      value=said["background_dark"], longest=7, hint=COLOUR),
            ],
            version=etag(brand.version), back=seat.at("/branding"),
        )  # fmt: skip

    async def edit(self, seat: Seat, query: Query, form: Form) -> Response:
        brand, version = await self.services.db.read(look), form.some("version")
        before: dict[str, Any] = {"name": brand.name if brand.own_name else None, **brand.chosen}
        patch = changed(before, {name: form.some(name) for name in before})
        await self.services.db.write(lambda s: administration.change(s, patch, version))
        return self.done(seat.at("/branding"), "saved")

    async def logo_sheet(self, seat: Seat, query: Query) -> Sheet:
        version = await self.services.db.read(lambda session: look(session).version)
        return picture_sheet(_("Set the logo"), etag(version), seat.at("/branding"))

    async def set_logo(self, seat: Seat, query: Query, form: Form) -> Response:
        made, version = await administration.picture(form.file("logo")), form.some("version")
        await self.services.db.write(lambda s: administration.set_logo(s, made, version))
        return self.done(seat.at("/branding"), "saved")

    async def remove_logo(self, seat: Seat, query: Query, form: Form) -> Response:
        def unit(session: Session) -> None:
            administration.remove_logo(session, None)

        await self.services.db.write(unit)
        return self.done(seat.at("/branding"), "deleted")

    deeds = {  # noqa: RUF012
        "edit": Deed("update_branding", "branding:write", edit, edit_sheet),
        "logo": Deed("set_logo", "branding:write", set_logo, logo_sheet),
        "no_logo": Deed("delete_logo", "branding:write", remove_logo),
    }


def picture_sheet(title: str, version: str, back: str) -> Sheet:
    hint = _("PNG, JPEG or WebP, at most %(size)s KiB and %(side)s pixels on each side.")
    return Sheet(
        title=title, button=_("Save"),
        lead=_("It is drawn anew: nothing but its pixels is kept. Choose one that can be seen on "
               "white and on black."),
        fields=[
            Field("logo", _("Picture"), "file", required=True,
                  options=[Option(each, each) for each in MEDIA],
                  hint=hint % {"size": LARGEST // 1024, "side": LONGEST_SIDE}),
        ],
        version=version, back=back,
    )  # fmt: skip


async def page(house: House) -> BrandingScreen:
    return BrandingScreen(house, await house.rendering())
