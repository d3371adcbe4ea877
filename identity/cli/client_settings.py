"""`--set NAME=VALUE` and `--unset NAME` of `identity clients`: any setting that a client has, by
the name that the API has for it."""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from identity.cli.naming import find_client

if TYPE_CHECKING:
    from identity.cli.frame import Operation
    from identity.directory.clients.surroundings import Surroundings
    from identity.directory.clients.table import Client

PAGE = "docs/client-settings.md"


def _names(incomplete: str) -> list[str]:
    from identity.directory.clients.settings import ClientSettings

    return [name for name in ClientSettings.model_fields if name.startswith(incomplete)]


def _assignments(incomplete: str) -> list[str]:
    return [f"{name}=" for name in _names(incomplete)]


Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help=f"A setting ({PAGE}); may be repeated, and of a list each time names one of its "
        "values. Objects are JSON; @FILE reads a value from a file.",
        autocompletion=_assignments,
    ),
]
Unset = Annotated[
    list[str] | None,
    typer.Option(
        "--unset",
        metavar="NAME",
        help="A setting that gets its default again; may be repeated.",
        autocompletion=_names,
    ),
]


def chosen(given: Sequence[str], unset: Sequence[str] = ()) -> dict[str, Any]:
    """Settings as JSON has them, None for the default. What a value may be, the settings say."""
    found: dict[str, Any] = {}
    for assignment in given:
        name, mark, text = assignment.partition("=")
        if not mark:
            raise typer.BadParameter(f"--set takes NAME=VALUE, not {name}")
        kind = _kind(name)
        value = _value(name, kind, text)
        if kind is tuple and name in found and isinstance(value, list):
            found[name] += value
        elif name in found:
            raise typer.BadParameter(f"--set gives {name} twice")
        else:
            found[name] = value
    for name in unset:
        _kind(name)
        if name in found:
            raise typer.BadParameter(f"{name} is set and unset at once")
        found[name] = None
    return found


def shown(client: "Client") -> dict[str, Any]:
    """The settings of a client, defaults too, as the API shows them."""
    from identity.directory.clients.settings import load

    return load(client.settings).model_dump(mode="json", warnings=False)


def surroundings(
    operation: "Operation", fields: Mapping[str, Any], client: str | None = None
) -> "Surroundings":
    """What has to be found out for these settings of `client`, None for a new one."""
    import asyncio

    from identity.authentication import sectors
    from identity.directory.clients.settings import load
    from identity.directory.clients.surroundings import Surroundings
    from identity.http.fetching import Fetcher

    sector = fields.get("sector_identifier_uri")
    if client and "redirect_uris" in fields and "sector_identifier_uri" not in fields:
        with operation.look() as session:
            sector = load(find_client(session, client).settings).sector_identifier_uri

    if sector is None:
        return Surroundings(operation.settings.keys.offered)

    async def look() -> "Surroundings":
        fetcher = Fetcher.of(operation.settings)
        try:
            return await sectors.surroundings(fetcher, operation.settings, sector, trusted=True)
        finally:
            await fetcher.close()

    return asyncio.run(look())


def _kind(name: str) -> type:
    """What Python has for the setting's values: tuple, dict, bool, int or str."""
    from identity.directory.clients.settings import ClientSettings

    field = ClientSettings.model_fields.get(name)
    if field is None:
        near = get_close_matches(name, ClientSettings.model_fields, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; {PAGE} has them all"
        raise typer.BadParameter(f"there is no setting {name}{hint}")
    return next(kind for kind in (tuple, dict, bool, int, str) if _holds(field.annotation, kind))


def _holds(annotation: Any, kind: type) -> bool:
    if annotation is kind or getattr(annotation, "__origin__", None) is kind:
        return True
    if isinstance(annotation, str):  # a value of a `Literal`
        return kind is str
    return any(_holds(part, kind) for part in get_args(annotation))


def _value(name: str, kind: type, text: str) -> Any:
    if text.startswith("@"):
        text = Path(text[1:]).read_text("utf-8").strip()
    if kind is str or (kind is tuple and not text.startswith("[")):
        return [text] if kind is tuple else text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        what = {tuple: "a JSON list", dict: "a JSON object", bool: "true or false"}
        raise typer.BadParameter(f"{name} is {what.get(kind, 'a number')}, not {text}") from None
