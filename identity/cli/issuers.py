"""`identity trusted-issuers …`"""

import json as json_
from pathlib import Path
from typing import Annotated, Any

import typer

from identity.cli.confirming import Yes, sure
from identity.cli.frame import operating
from identity.cli.printing import AsJson, as_json, facts, ordered, remark, table

commands = typer.Typer(
    name="trusted-issuers",
    help="See and change whose word counts for which program asks, or for whom.",
    rich_markup_mode=None,
)

IssuerName = Annotated[str, typer.Argument(metavar="ISSUER", help="Its `iss`, or its id.")]
Name = Annotated[str | None, typer.Option(help="For people to read.")]
Jwks = Annotated[Path | None, typer.Option(help="A file that holds its key set.")]
JwksUri = Annotated[str | None, typer.Option(help="Where its key set is.")]
Audience = Annotated[
    str | None, typer.Option(help="What its tokens are for; our own issuer unless given.")
]
UserMatch = Annotated[
    str | None, typer.Option(help="What of a user it names: id, username, email, or none.")
]
UserClaim = Annotated[str | None, typer.Option(help="The claim that names a user.")]
Statements = Annotated[
    bool | None,
    typer.Option(
        "--software-statements/--no-software-statements",
        help="Whether it says what programs are that register themselves.",
    ),
]


@commands.command("list")
def list_(json: AsJson = False) -> None:
    """List the trusted issuers."""
    from sqlmodel import col

    from identity.directory.issuers import editing
    from identity.directory.issuers.table import TrustedIssuer

    with operating() as operation, operation.look() as session:
        found = session.exec(editing.matching().order_by(col(TrustedIssuer.id))).all()
    if json:
        as_json([ordered(issuer, mode="json", exclude={"version"}) for issuer in found])
        return
    table(
        ("ISSUER", "NAME", "STATUS", "USERS"),
        ((i.issuer, i.name, i.status, i.user_match) for i in found),
        none="No issuer is trusted.",
    )


@commands.command()
def show(issuer: IssuerName, json: AsJson = False) -> None:
    """Show a trusted issuer."""
    from identity.directory.issuers import editing

    with operating() as operation, operation.look() as session:
        shown = ordered(editing.get(session, issuer), exclude={"version"})
    if json:
        as_json(shown)
        return
    facts(shown.items())


@commands.command()
def create(
    issuer: Annotated[str, typer.Argument(help="Exactly as its tokens have it in `iss`.")],
    name: Name = None,
    jwks: Jwks = None,
    jwks_uri: JwksUri = None,
    audience: Audience = None,
    user_match: UserMatch = None,
    user_claim: UserClaim = None,
    software_statements: Statements = None,
) -> None:
    """Trust an issuer. Without keys or their address they are where its metadata say."""
    from identity.directory.issuers import editing

    chosen = _chosen(name, jwks, jwks_uri, audience, user_match, user_claim)
    if software_statements is not None:
        chosen["software_statements"] = software_statements
    with operating() as operation, operation.change() as session:
        own = operation.settings.issuer
        made = editing.create(session, issuer=issuer, chosen=chosen, own_issuer=own, held=None)
        made_id = made.id
    remark(f"Trusts {issuer} from now on, by the id {made_id}.")


@commands.command()
def update(
    issuer: IssuerName,
    name: Name = None,
    jwks: Jwks = None,
    jwks_uri: JwksUri = None,
    audience: Audience = None,
    user_match: UserMatch = None,
    user_claim: UserClaim = None,
    software_statements: Statements = None,
    disable: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Whether it counts for now.")
    ] = None,
) -> None:
    """Change a trusted issuer. Keys and their address take each other's place; an empty address or
    audience is none."""
    from identity.directory.issuers import editing

    chosen = _chosen(name, jwks, jwks_uri, audience, user_match, user_claim)
    if software_statements is not None:
        chosen["software_statements"] = software_statements
    if disable is not None:
        chosen["status"] = "disabled" if disable else "active"
    if not chosen:
        raise typer.BadParameter("say what is to change; --help lists what can be")
    with operating() as operation, operation.change() as session:
        found = editing.get(session, issuer, lock=True)
        own = operation.settings.issuer
        editing.update(session, found, chosen, own_issuer=own, held=None)
    remark(f"{issuer} is changed.")


@commands.command()
def delete(issuer: IssuerName, yes: Yes = False) -> None:
    """Trust an issuer no longer."""
    from identity.directory.issuers import editing

    with operating() as operation:
        with operation.look() as session:
            editing.get(session, issuer)
        sure(f"Trust {issuer} no longer?", yes=yes)
        with operation.change() as session:
            editing.remove(session, editing.get(session, issuer, lock=True), None)
    remark(f"{issuer} is trusted no longer.")


def _chosen(
    name: str | None,
    jwks: Path | None,
    jwks_uri: str | None,
    audience: str | None,
    user_match: str | None,
    user_claim: str | None,
) -> dict[str, Any]:
    """What was given, as the API has it."""
    from typing import get_args

    from identity.directory.issuers import table as issuers

    if jwks is not None and jwks_uri is not None:
        raise typer.BadParameter("give --jwks or --jwks-uri, not both")
    if user_match is not None and user_match not in get_args(issuers.UserMatch):
        raise typer.BadParameter(f"--user-match is one of {', '.join(get_args(issuers.UserMatch))}")
    chosen: dict[str, Any] = {}
    for field, value in (("name", name), ("user_match", user_match), ("user_claim", user_claim)):
        if value is not None:
            chosen[field] = value
    if audience is not None:
        chosen["audience"] = audience or None
    if jwks is not None:
        chosen |= {"jwks": _key_set(jwks), "jwks_uri": None}
    elif jwks_uri is not None:
        chosen |= {"jwks": None, "jwks_uri": jwks_uri or None}
    return chosen


def _key_set(file: Path) -> Any:
    try:
        found = json_.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise typer.BadParameter(f"{file} is no key set")
    return found
