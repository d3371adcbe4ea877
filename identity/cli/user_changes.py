"""`identity users update`, `grant` and `revoke`."""

from typing import Annotated

import typer

from identity.cli import user_profile
from identity.cli.frame import operating
from identity.cli.naming import UserName, find_user
from identity.cli.printing import remark

RoleNames = Annotated[list[str], typer.Argument(metavar="ROLE...", help="Names of roles.")]


def add_to(commands: typer.Typer) -> None:
    for command in (update, grant, revoke):
        commands.command()(command)


def update(
    user: UserName,
    username: Annotated[str | None, typer.Option(help="Another username.")] = None,
    email: Annotated[
        str | None, typer.Option(help="Another e-mail address; an empty one takes it away.")
    ] = None,
    email_verified: Annotated[
        bool | None,
        typer.Option("--email-verified/--email-unverified", help="Whether it is proven."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Another name for people; an empty one takes it away.")
    ] = None,
    set_: user_profile.Set = None,
    unset: user_profile.Unset = None,
) -> None:
    """Change what a user is called, its e-mail address, or what else is known of it. Roles: `grant`
    and `revoke`."""
    from identity.directory.users import accounts, profile

    given = {"username": username, "email": email, "name": name, "email_verified": email_verified}
    fields: dict[str, object] = {k: value for k, value in given.items() if value is not None}
    patch = user_profile.patch(set_ or (), unset or ())
    if not fields and not patch:
        words = "say what is to change: --username, --email, --name, --set, --unset"
        raise typer.BadParameter(words)
    for key in ("email", "name"):
        if fields.get(key) == "":
            fields[key] = None
    with operating() as operation, operation.change() as session:
        found = find_user(session, user, lock=True)
        fields |= profile.patched(found, patch)
        accounts.update(session, found, fields, None)
    remark(f"{found.username} is changed.")


def grant(user: UserName, role: RoleNames) -> None:
    """Give the user roles, beside those it has."""
    _change_roles(user, add=role)


def revoke(user: UserName, role: RoleNames) -> None:
    """Take roles from the user."""
    _change_roles(user, take=role)


def _change_roles(user: str, *, add: list[str] = [], take: list[str] = []) -> None:  # noqa: B006
    from identity.directory.access.granting import ensure_built_in
    from identity.directory.users import accounts
    from identity.errors import ValidationFailed

    with operating() as operation, operation.change() as session:
        ensure_built_in(session)
        found = find_user(session, user, lock=True)
        before = set(accounts.roles_of(session, found.id))
        lacking = sorted(set(take) - before)
        if lacking:
            words = f"{found.username} does not have the role {' '.join(lacking)}"
            raise ValidationFailed([("/roles", words)])
        after = sorted((before | set(add)) - set(take))
        accounts.set_roles(session, found, after, None)
    remark(f"{found.username} has the roles: {' '.join(after) or 'none'}.")
