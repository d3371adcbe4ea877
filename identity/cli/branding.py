"""`identity branding …`: what the pages look like."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from identity.cli.confirming import Yes, sure
from identity.cli.frame import operating
from identity.cli.naming import find_client
from identity.cli.printing import AsJson, as_json, facts, remark

if TYPE_CHECKING:
    from sqlmodel import Session

    from identity.directory.branding.logos import Drawn

commands = typer.Typer(
    name="branding",
    help="See and change the name, the logo and the colours of the pages.",
    rich_markup_mode=None,
)

Client = Annotated[
    str | None, typer.Option(metavar="CLIENT", help="Of this client, rather than of the service.")
]
Colour = Annotated[str | None, typer.Option(metavar="#RRGGBB", help="Empty: as the pages come.")]


@commands.command()
def show(json: AsJson = False) -> None:
    """Show what is set, and how well it can be read."""
    from identity.directory.branding import colours, current

    with operating() as operation, operation.look() as session:
        brand = current.look(session)
    logo = brand.logo
    shown: dict[str, Any] = {
        "name": brand.name,
        **brand.chosen,
        "logo": f"{logo.width} × {logo.height}" if logo else None,
        "contrast": int(min(pair.contrast for pair in colours.pairs(brand.chosen)) * 100) / 100,
    }
    as_json(shown) if json else facts(shown.items())


@commands.command("set")
def set_(
    name: Annotated[str | None, typer.Option(help="Of whoever runs the service.")] = None,
    accent: Colour = None,
    accent_dark: Colour = None,
    background: Colour = None,
    background_dark: Colour = None,
) -> None:
    """Change name and colours. Refused where people could not read what comes of it."""
    from identity.service.administration import branding

    given = {
        "name": name, "accent": accent, "accent_dark": accent_dark, "background": background,
        "background_dark": background_dark,
    }  # fmt: skip
    chosen = {field: value for field, value in given.items() if value is not None}
    if not chosen:
        raise typer.BadParameter("say what is to change; --help lists what can be")
    with operating() as operation, operation.change() as session:
        branding.change(session, chosen, None)
    remark("The pages have it from now on.")


@commands.command()
def logo(
    file: Annotated[Path, typer.Argument(help="PNG, JPEG or WebP.")], client: Client = None
) -> None:
    """Set the logo. The file is drawn anew: nothing but its pixels is kept."""
    from identity.directory.branding.logos import LARGEST, drawn

    with file.open("rb") as opened:
        made = drawn(opened.read(LARGEST + 1))
    with operating() as operation, operation.change() as session:
        _set(session, client, made)
    remark(f"It is shown from now on, at {made.width} × {made.height} pixels.")


@commands.command("remove-logo")
def remove_logo(client: Client = None, yes: Yes = False) -> None:
    """Do without a logo."""
    from identity.service.administration import branding

    sure("Do without the logo?", yes=yes)
    with operating() as operation, operation.change() as session:
        if client is None:
            branding.remove_logo(session, None)
        else:
            branding.remove_logo_of(session, find_client(session, client).id, None, None)
    remark("It is gone.")


def _set(session: "Session", client: str | None, made: "Drawn") -> None:
    from identity.service.administration import branding

    if client is None:
        branding.set_logo(session, made, None)
    else:
        branding.set_logo_of(session, find_client(session, client).id, made, None, None)
