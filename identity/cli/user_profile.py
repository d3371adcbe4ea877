"""`--set NAME=VALUE` and `--unset NAME` of `identity users`: members of a profile, by the names
that the API has for them."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

PAGE = "docs/profiles.md"


def _names(incomplete: str) -> list[str]:
    from identity.directory.users.profile import ADDRESS, MEMBERS

    known = [*MEMBERS, *(f"address.{part}" for part in ADDRESS), "attributes."]
    return [name for name in known if name.startswith(incomplete)]


Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help=f"Something known of the user ({PAGE}), such as given_name=Ada, address.country=UK "
        "or attributes.department=Sales; may be repeated. Whole objects are JSON.",
        autocompletion=_names,
    ),
]
Unset = Annotated[
    list[str] | None,
    typer.Option(
        "--unset",
        metavar="NAME",
        help="What is no longer known; may be repeated.",
        autocompletion=_names,
    ),
]


def patch(given: Sequence[str], unset: Sequence[str] = ()) -> dict[str, Any]:
    """A merge patch of a profile, None for what is taken away."""
    said: list[tuple[str, Any]] = []
    for assignment in given:
        name, mark, text = assignment.partition("=")
        if not mark:
            raise typer.BadParameter(f"--set takes NAME=VALUE, not {name}")
        said.append((name, _value(name, text)))
    said += [(name, None) for name in unset]
    if len({name for name, _ in said}) != len(said):
        raise typer.BadParameter("--set and --unset name one thing twice")
    found: dict[str, Any] = {}
    for name, value in said:
        member, part = _parts(name)
        if part is None:
            found[member] = value
        else:
            found[member] = (found.get(member) or {}) | {part: value}
    return found


def _parts(name: str) -> tuple[str, str | None]:
    """`attributes.a.b` is the attribute `a.b`."""
    from identity.directory.users.profile import MEMBERS, OBJECTS

    member, dot, part = name.partition(".")
    if member not in MEMBERS or (dot and (member not in OBJECTS or not part)):
        raise typer.BadParameter(f"nothing is called {name}; {PAGE} has what is known of users")
    return member, part if dot else None


def _value(name: str, text: str) -> Any:
    from identity.directory.users.profile import OBJECTS

    if name in OBJECTS or name == "phone_number_verified":
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            what = "a JSON object" if name in OBJECTS else "true or false"
            raise typer.BadParameter(f"{name} is {what}, not {text}") from None
    return text or None
