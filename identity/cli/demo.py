"""`identity demo`"""

from typing import TYPE_CHECKING, Annotated

import typer

from identity.cli.confirming import Yes, sure
from identity.cli.frame import operating
from identity.cli.printing import facts, remark

if TYPE_CHECKING:
    from identity.cli.frame import Operation


def add_to(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    seed: Annotated[
        int, typer.Option(min=0, help="Another one makes other people, who do other things.")
    ] = 1,
    remove: Annotated[bool, typer.Option("--remove", help="Take all of it away again.")] = False,
    yes: Yes = False,
) -> None:
    """Fill the service with people, applications and a week of what they did, to try it out.

    Never in production. All of it is marked, and `--remove` takes away what is marked and nothing
    else; what the audit has recorded stays.
    """
    with operating() as operation:
        if remove:
            _remove(operation, yes=yes)
        else:
            _build(operation, seed)


def _build(operation: "Operation", seed: int) -> None:
    import secrets

    from identity.oauth.grants.registry import GRANTS
    from identity.service.demonstration import building

    password = secrets.token_urlsafe(12)
    with operation.change() as session:
        master = operation.master(session)
        built = building.build(session, operation.settings, master, GRANTS, seed, password)
    _seal(operation)
    remark(f"{built.users} users, {built.clients} clients, {built.events} events of a week.")
    remark("The password of all of them, shown this once; for example:")
    facts([("username", built.somebody), ("password", password)])


def _remove(operation: "Operation", *, yes: bool) -> None:
    from identity.service.demonstration import removing

    sure("Take the demonstration away, with all that was made of it since?", yes=yes)
    with operation.change() as session:
        removed = removing.remove(session)
    _seal(operation)
    remark(f"Gone: {removed.users} users, {removed.clients} clients. The audit keeps its record.")


def _seal(operation: "Operation") -> None:
    """Whether or not the service runs."""
    from identity.records import audit
    from identity.service.opening import audit_keys

    sealed = True
    while sealed:
        with operation.change() as session:
            key = audit_keys(operation.master(session))[0]
            sealed = audit.seal(session, key) is not None
