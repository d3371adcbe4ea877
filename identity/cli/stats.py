"""`identity stats`"""

from typing import Annotated

import typer

from identity.cli.frame import operating
from identity.cli.printing import AsJson, as_json, facts, table

HOURS = (1, 168)


def add_to(app: typer.Typer) -> None:
    app.command()(stats)


def stats(
    hours: Annotated[
        int, typer.Option(min=HOURS[0], max=HOURS[1], help="How many, the current one last.")
    ] = 24,
    json: AsJson = False,
) -> None:
    """Count logins, failures and tokens by hour, and users, clients and live sessions."""
    from identity.service.counting import counted

    with operating() as operation, operation.look() as session:
        found = counted(session, hours)
    if json:
        as_json(found.model_dump(mode="json"))
        return
    for what in ("users", "clients"):
        there = getattr(found, what)
        facts([(f"{what:8}", f"{there.total} ({there.active} active, {there.disabled} disabled)")])
    facts([("sessions", found.sessions)])
    table(
        ("HOUR", "LOGINS", "FAILURES", "TOKENS"),
        ((hour.hour, hour.logins, hour.failures, hour.tokens) for hour in found.hours),
        none="",
    )
