"""`identity users factors …`"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from identity.cli.confirming import Yes, sure
from identity.cli.frame import operating
from identity.cli.naming import UserName, find_user
from identity.cli.printing import AsJson, as_json, remark, table

if TYPE_CHECKING:
    from sqlmodel import Session

SHOWN = ("kind", "name", "created_at", "last_used_at", "locked_until", "left")

factors = typer.Typer(
    name="factors", help="See and reset the second factors of a user.", rich_markup_mode=None
)


def add_to(commands: typer.Typer) -> None:
    commands.add_typer(factors)


@factors.command("list")
def list_(user: UserName, json: AsJson = False) -> None:
    """List what a user can give beside the password."""
    with operating() as operation, operation.look() as session:
        found = find_user(session, user)
        rows = _factors(session, found.id)
    if json:
        as_json(rows)
        return
    table(
        ("KIND", "NAME", "SINCE", "LAST USED", "LOCKED UNTIL", "LEFT"),
        (tuple(row[column] for column in SHOWN) for row in rows),
        none=f"{found.username} has no second factor.",
    )


@factors.command()
def reset(
    user: UserName,
    reason: Annotated[str | None, typer.Option(help="For the audit.")] = None,
    yes: Yes = False,
) -> None:
    """Take the second factors from a user who has lost them; all sessions end."""
    from identity.authentication import second_factor

    with operating() as operation:
        with operation.look() as session:
            username = find_user(session, user).username
        sure(f"Will {username} be let in by the password alone?", yes=yes)
        with operation.change() as session:
            found = find_user(session, user, lock=True)
            ended = second_factor.reset(session, found, None, reason)
    remark(f"{username} has no second factor any more; sessions ended: {ended}.")


@factors.command()
def link(
    user: UserName,
    reason: Annotated[str, typer.Option(help="For the audit; needed.")],
    yes: Yes = False,
) -> None:
    """Print a link by which a user who has lost every second factor sets up a new one.

    It is good once, for a day, together with the password. The user is told by mail.
    """
    from identity.authentication import enrolment

    with operating() as operation:
        with operation.look() as session:
            username = find_user(session, user).username
        sure(f"Is it {username} who has asked for a link?", yes=yes)
        with operation.change() as session:
            found = find_user(session, user, lock=True)
            issued = enrolment.issue(session, found, None, reason)
    print(issued.address(operation.settings.issuer))
    remark(f"Good once, until {issued.expires_at:%Y-%m-%d %H:%M} UTC, with the password.")


@factors.command()
def unlink(user: UserName) -> None:
    """Take back the link that a user was given."""
    from identity.authentication import enrolment

    with operating() as operation, operation.change() as session:
        found = find_user(session, user, lock=True)
        enrolment.withdraw(session, found, None)
        remark(f"The link of {found.username} is good no longer.")


def _factors(session: "Session", user_id: str) -> list[dict[str, Any]]:
    """As the API shows them."""
    from identity.authentication import recovery, totp
    from identity.authentication.passkeys import keeping

    empty = dict.fromkeys((*SHOWN, "id", "backed_up", "doubted_at"))
    rows: list[dict[str, Any]] = [
        empty | {"kind": "passkey"} | passkey.model_dump(include=set(empty))
        for passkey in keeping.of_user(session, user_id)
    ]
    found = totp.find(session, user_id)
    if found is not None:
        app = {"kind": "totp", "created_at": found.confirmed_at, "last_used_at": found.last_used_at}
        rows.append(empty | app | {"locked_until": totp.locked_until(found)})
    left, made = recovery.left(session, user_id)
    if made is not None:
        rows.append(empty | {"kind": "recovery_codes", "created_at": made, "left": left})
    return rows
