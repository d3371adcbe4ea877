"""`identity users …`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from identity.cli import (
    user_changes,
    user_factors,
    user_import,
    user_profile,
    user_sessions,
    user_state,
)
from identity.cli.confirming import Yes, sure
from identity.cli.frame import operating
from identity.cli.moments import Moment, moment
from identity.cli.naming import UserName, find_user
from identity.cli.printing import AsJson, as_json, cell, facts, remark, table
from identity.cli.secrets import new_password

if TYPE_CHECKING:
    from datetime import datetime

    from sqlmodel import Session

    from identity.directory.users.shown import UserOut
    from identity.directory.users.table import User

commands = typer.Typer(name="users", help="See and change users.", rich_markup_mode=None)

FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")]
Generate = Annotated[bool, typer.Option("--generate", help="Make up a password and print it.")]


@commands.command("list")
def list_(
    search: Annotated[
        str | None, typer.Option("--search", "-q", help="Part of a username, e-mail or name.")
    ] = None,
    status: Annotated[str | None, typer.Option(help="active or disabled.")] = None,
    role: Annotated[str | None, typer.Option(help="Only holders of this role.")] = None,
    last_login_before: Moment = None,
    never_logged_in: Annotated[
        bool | None,
        typer.Option("--never-logged-in/--logged-in", help="Only who never did, or who did."),
    ] = None,
    order: Annotated[
        str, typer.Option(help="created, last_login or -last_login (the latest first).")
    ] = "created",
    limit: Annotated[int | None, typer.Option(min=1, help="At the most so many.")] = None,
    json: AsJson = False,
) -> None:
    """List users, oldest first; by their last login, only those who have ever logged in."""
    from identity.cli.queries import list_users
    from identity.directory.users.listing import ORDERS, Wanted

    if status not in (None, "active", "disabled"):
        raise typer.BadParameter("--status is active or disabled")
    if order not in ORDERS:
        raise typer.BadParameter(f"--order is one of {', '.join(ORDERS)}")
    before = moment(last_login_before, "--last-login-before") if last_login_before else None
    with operating() as operation, operation.look() as session:
        wanted = Wanted(
            q=search, status=status, role=role,
            last_login_before=before, never_logged_in=never_logged_in,
        )  # fmt: skip
        users = list_users(session, wanted, order=order, limit=limit)
    if json:
        as_json([user.model_dump(mode="json") for user in users])
        return
    table(
        ("USERNAME", "E-MAIL", "NAME", "STATUS", "ROLES", "LAST LOGIN"),
        ((u.username, u.email, u.name, u.status, u.roles, u.last_login_at) for u in users),
        none="There are no such users.",
    )


@commands.command()
def show(user: UserName, json: AsJson = False) -> None:
    """Show one user: also whether it is locked, and what login failed last, and why."""
    with operating() as operation, operation.look() as session:
        found = find_user(session, user)
        out = _out(session, found)
        state = user_state.state_of(operation, session, found)
    if json:
        as_json(out.model_dump(mode="json") | state)
        return
    locked = [f"{lock['address'] or 'everywhere'} until {cell(lock['until'])}"
              for lock in state["locked"]]  # fmt: skip
    last = state["last_failure"]
    words = f"{cell(last['at'])} from {cell(last['address'])}: {last['why']}" if last else None
    shown = state | {"locked": "; ".join(locked) or "no", "last_failure": words}
    facts([*out.model_dump().items(), *shown.items()])


@commands.command()
def create(
    username: Annotated[
        str | None, typer.Argument(metavar="USERNAME", help="What the user logs in by.")
    ] = None,
    email: Annotated[str | None, typer.Option(help="E-mail address; logs in as well.")] = None,
    name: Annotated[str | None, typer.Option(help="Name for people to read.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="A role; may be repeated.")] = None,
    set_: user_profile.Set = None,
    password_stdin: FromStdin = False,
    generate: Generate = False,
    one_time: Annotated[
        bool | None,
        typer.Option(
            "--one-time/--permanent",
            help="Whether the password must be changed first; by default a generated one must.",
        ),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Many, from a file as `import` reads it; --generate for each.",
        ),
    ] = None,
    format_: user_import.Format = None,
    json: AsJson = False,
) -> None:
    """Create a user. The password is asked for, read from stdin, or made up and printed.

    With --from FILE those of a file who are not there yet; with --generate each gets a one-time
    password, printed behind the username, and without it none until it is set.
    """
    from identity.clock import utcnow
    from identity.directory.access.granting import ensure_built_in
    from identity.directory.users import accounts

    if (username is None) == (from_ is None):
        raise typer.BadParameter("either USERNAME or --from FILE is needed")
    if username is None or from_ is not None:
        assert from_ is not None
        if email or name or role or set_ or password_stdin or one_time is not None:
            raise typer.BadParameter("with --from, the file says all but --generate")
        user_import.create_from(from_, format_, generate=generate, json=json)
        return
    known = user_profile.patch(set_ or ())
    with operating() as operation:
        password, made_up = new_password(from_stdin=password_stdin, generate=generate)
        hashed = _hashed(operation.settings.passwords.bcrypt_rounds, password, username, email)
        must_change = made_up if one_time is None else one_time
        expires = utcnow() + operation.settings.passwords.one_time_password_ttl
        with operation.change() as session:
            ensure_built_in(session)
            user = accounts.create(
                session,
                username=username,
                email=email,
                name=name,
                password_hash=hashed,
                must_change_password=must_change,
                password_expires_at=expires,
                roles=role or [],
                known=known,
            )
            out = _out(session, user)
    if json:
        as_json(out.model_dump(mode="json") | ({"password": password} if made_up else {}))
        return
    remark(f"Created {out.username} ({out.id}).")
    _hand_over(password if made_up else None, expires if must_change else None)


@commands.command()
def disable(user: UserName) -> None:
    """Refuse the user's logins; sessions and tokens end at once."""
    from identity.directory.users import accounts
    from identity.tokens.sessions import lifecycle

    with operating() as operation, operation.change() as session:
        found = find_user(session, user, lock=True)
        accounts.set_status(session, found, "disabled", None)
        ended = lifecycle.end_all(session, "user disabled", user_id=found.id)
    remark(f"{found.username} is disabled; sessions ended: {ended}.")


@commands.command()
def enable(user: UserName) -> None:
    """Admit a disabled user again."""
    from identity.directory.users import accounts

    with operating() as operation, operation.change() as session:
        found = find_user(session, user, lock=True)
        accounts.set_status(session, found, "active", None)
    remark(f"{found.username} is active.")


@commands.command()
def delete(user: UserName, yes: Yes = False) -> None:
    """Delete the user for good; sessions and tokens end at once."""
    from identity.directory.users import accounts
    from identity.tokens.sessions import lifecycle

    with operating() as operation:
        with operation.look() as session:
            username = find_user(session, user).username
        sure(f"Delete {username} for good?", yes=yes)
        with operation.change() as session:
            found = find_user(session, user, lock=True)
            lifecycle.end_all(session, "user deleted", user_id=found.id)
            accounts.remove(session, found, None)
    remark(f"{username} is deleted.")


@commands.command("set-password")
def set_password(
    user: UserName,
    password_stdin: FromStdin = False,
    generate: Generate = False,
    permanent: Annotated[
        bool, typer.Option("--permanent", help="It need not be changed at the next login.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Set a one-time password; the user's sessions end at once."""
    from identity.clock import utcnow
    from identity.directory.users import accounts
    from identity.tokens.sessions import lifecycle

    with operating() as operation:
        with operation.look() as session:
            found = find_user(session, user)
        password, made_up = new_password(from_stdin=password_stdin, generate=generate)
        rounds = operation.settings.passwords.bcrypt_rounds
        hashed = _hashed(rounds, password, found.username, found.email)
        expires = utcnow() + operation.settings.passwords.one_time_password_ttl
        with operation.change() as session:
            found = accounts.get(session, found.id, lock=True)
            accounts.set_password_hash(
                session,
                found,
                hashed,
                must_change=not permanent,
                expires_at=expires,
                held=None,
            )
            ended = lifecycle.end_all(session, "password reset", user_id=found.id)
    if json:
        shown = {"password": password} if made_up else {}
        as_json({"username": found.username, "sessions_ended": ended} | shown)
        return
    remark(f"{found.username} has a new password; sessions ended: {ended}.")
    _hand_over(password if made_up else None, None if permanent else expires)


user_changes.add_to(commands)
user_import.add_to(commands)
user_state.add_to(commands)
user_sessions.add_to(commands)
user_factors.add_to(commands)


def _out(session: "Session", user: "User") -> "UserOut":
    from identity.directory.users.accounts import roles_of
    from identity.directory.users.shown import UserOut

    return UserOut.of(user, roles_of(session, user.id))


def _hashed(rounds: int, password: str, username: str, email: str | None) -> str:
    from identity.authentication.passwords import policy
    from identity.authentication.passwords.hashing import PasswordHasher

    policy.check(password, username=username, email=email)
    return PasswordHasher(rounds).hash(password)


def _hand_over(password: str | None, expires: "datetime | None") -> None:
    """`expires`: of a one-time password."""
    if password is not None:
        print(password)
    if expires is not None:
        until = f"{expires:%Y-%m-%d %H:%M} UTC"
        remark(f"It must be changed before the first login, until {until}: POST /password.")
