"""`identity roles …` and `identity scopes …`"""

from collections import defaultdict
from typing import Annotated

import typer

from identity.cli.confirming import Yes, sure
from identity.cli.frame import operating
from identity.cli.naming import RoleName
from identity.cli.printing import AsJson, as_json, facts, ordered, remark, table

commands = typer.Typer(
    name="roles", help="See and change roles: named sets of scopes.", rich_markup_mode=None
)
scopes = typer.Typer(name="scopes", help="See and change scopes.", rich_markup_mode=None)

Description = Annotated[str, typer.Option(help="For people to read.")]
Acr = Annotated[
    str | None,
    typer.Option(
        help="aal2: it is not held by who signed in without a second factor; phr: nor by who did "
        "without a passkey."
    ),
]


@commands.command("list")
def list_(json: AsJson = False) -> None:
    """List the roles, what they hold, and how many users have them."""
    from sqlmodel import func, select

    from identity.directory.access.table import Role, RoleScope
    from identity.directory.users.table import UserRole

    with operating() as operation, operation.look() as session:
        roles = session.exec(select(Role).order_by(Role.name)).all()
        holds: dict[str, list[str]] = defaultdict(list)
        for role, scope in session.exec(
            select(RoleScope.role, RoleScope.scope).order_by(RoleScope.scope)
        ):
            holds[role].append(scope)
        count = select(UserRole.role, func.count()).group_by(UserRole.role)
        users = dict(session.exec(count).all())
    if json:
        shown = ("name", "description", "acr", "builtin", "created_at", "updated_at")
        as_json(
            [
                ordered(role, mode="json", include=set(shown))
                | {"scopes": holds[role.name], "users": users.get(role.name, 0)}
                for role in roles
            ]
        )
        return
    table(
        ("NAME", "USERS", "SCOPES", "DESCRIPTION"),
        ((r.name, users.get(r.name, 0), holds[r.name], r.description) for r in roles),
        none="There are no roles yet; the first start of the service makes `admin`.",
    )


@commands.command()
def create(
    name: Annotated[str, typer.Argument(help="Letters, digits and . _ : -")],
    scope: Annotated[
        list[str] | None, typer.Option(help="A scope that it holds; may be repeated.")
    ] = None,
    description: Description = "",
    acr: Acr = None,
) -> None:
    """Create a role."""
    from identity.directory.access import editing
    from identity.directory.access.granting import ensure_built_in

    with operating() as operation, operation.change() as session:
        ensure_built_in(session)
        editing.create_role(
            session, name=name, description=description, scopes=scope or [], acr=acr, held=None
        )
    remark(f"Created the role {name}.")


@commands.command()
def show(name: RoleName, json: AsJson = False) -> None:
    """Show one role, what it holds, and who has it."""
    from sqlmodel import col, select

    from identity.directory.access import editing
    from identity.directory.access.granting import scopes_of_roles
    from identity.directory.users.table import User, UserRole

    with operating() as operation, operation.look() as session:
        role = editing.get_role(session, name)
        members = select(User.username).join(UserRole).where(UserRole.role == name)
        shown = ordered(role, exclude={"version"}) | {
            "scopes": sorted(scopes_of_roles(session, [name])),
            "users": list(session.exec(members.order_by(col(User.username)))),
        }
    if json:
        as_json(shown)
        return
    facts(shown.items())


@commands.command()
def update(
    name: RoleName,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="Instead of the scopes it holds; may be repeated. An empty one: none."),
    ] = None,
    description: Annotated[str | None, typer.Option(help="For people to read.")] = None,
    acr: Annotated[
        str | None,
        typer.Option(help="aal2, phr, or an empty one: signing in by password is enough."),
    ] = None,
) -> None:
    """Change a role; its users gain and lose scopes at once, also in tokens already issued."""
    from identity.directory.access import editing
    from identity.directory.access.granting import ensure_built_in

    fields: dict[str, object] = {}
    if scope is not None:
        fields["scopes"] = [one for one in scope if one]
    if description is not None:
        fields["description"] = description
    if acr is not None:
        fields["acr"] = acr or None
    if not fields:
        raise typer.BadParameter("say what is to change: --scope, --description, --acr")
    with operating() as operation, operation.change() as session:
        ensure_built_in(session)
        role = editing.get_role(session, name, lock=True)
        editing.update_role(session, role, fields, None)
    remark(f"The role {name} is changed.")


@commands.command()
def delete(name: RoleName, yes: Yes = False) -> None:
    """Delete a role; its users lose it at once."""
    from identity.directory.access import editing
    from identity.directory.users import accounts

    with operating() as operation:
        with operation.look() as session:
            editing.get_role(session, name)
        sure(f"Delete the role {name}?", yes=yes)
        with operation.change() as session:
            role = editing.get_role(session, name, lock=True)
            accounts.lose_role(session, name)
            editing.remove_role(session, role, None)
    remark(f"The role {name} is deleted.")


@scopes.command("list")
def list_scopes(json: AsJson = False) -> None:
    """List the scopes and the resources they belong to."""
    from sqlmodel import select

    from identity.directory.access.table import Scope

    with operating() as operation, operation.look() as session:
        found = session.exec(select(Scope).order_by(Scope.name)).all()
    if json:
        as_json([ordered(scope, mode="json", exclude={"version"}) for scope in found])
        return
    table(
        ("NAME", "AUDIENCE", "DESCRIPTION"),
        ((s.name, s.audience, s.description) for s in found),
        none="There are no scopes yet; the first start of the service makes its own.",
    )


@scopes.command("create")
def create_scope(
    name: Annotated[str, typer.Argument()],
    audience: Annotated[
        str | None,
        typer.Option(help="The resource that it belongs to: an absolute URI (RFC 8707)."),
    ] = None,
    description: Description = "",
    open_to_registered: Annotated[
        bool,
        typer.Option(
            "--open-to-registered",
            help="Clients that registered themselves may ask users for it.",
        ),
    ] = False,
) -> None:
    """Create a scope. The role `admin` holds it from the start."""
    from identity.directory.access import editing
    from identity.directory.access.granting import ensure_built_in

    with operating() as operation, operation.change() as session:
        ensure_built_in(session)
        editing.create_scope(
            session,
            name=name,
            description=description,
            audience=audience,
            open_to_registered=open_to_registered,
        )
    remark(f"Created the scope {name}.")


@scopes.command("delete")
def delete_scope(name: Annotated[str, typer.Argument()], yes: Yes = False) -> None:
    """Delete a scope; roles, clients and tokens lose it at once."""
    from identity.directory.access import editing
    from identity.directory.clients import accounts

    with operating() as operation:
        with operation.look() as session:
            editing.get_scope(session, name)
        sure(f"Delete the scope {name}?", yes=yes)
        with operation.change() as session:
            scope = editing.get_scope(session, name, lock=True)
            accounts.lose_scope(session, name)
            editing.remove_scope(session, scope, None)
    remark(f"The scope {name} is deleted.")
