"""`identity lockdown …`"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from identity.cli.confirming import Yes, sure
from identity.cli.frame import operating
from identity.cli.printing import AsJson, as_json, facts, remark

if TYPE_CHECKING:
    from identity.tokens.lockdown import State

commands = typer.Typer(
    name="lockdown", help="Stop every sign-in and whatever is issued.", rich_markup_mode=None
)


@commands.command()
def on(
    reason: Annotated[
        str | None, typer.Option(help="For the audit, and other administrators.")
    ] = None,
    end_tokens: Annotated[
        bool, typer.Option("--end-tokens", help="Every token dies, every session ends, as well.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Stop sign-ins, logins, codes, refreshes and tokens on every process, at once.

    Whoever holds the scope lockdown:write can still sign in.
    """
    from identity.authentication.all_sessions import Filter
    from identity.service import stopping

    if end_tokens:
        sure("End every token and every session?", yes=yes)
    with operating() as operation:
        with operation.change() as session:
            stopping.begin(session, reason, end_tokens)
        remark("Nobody can sign in, and nothing is issued.")
        if not end_tokens:
            return
        total = 0
        for kind in stopping.KINDS:
            unit = stopping.ender(Filter(kind), None, stopping.REASON)
            while True:
                with operation.change() as session:
                    ended = unit(session)
                if not ended.looked_at:
                    break
                total += ended.ended
    remark(f"Every token is dead; sessions ended: {total}.")


@commands.command()
def off() -> None:
    """Let everybody sign in again. What died stays dead."""
    from identity.service import stopping
    from identity.tokens import lockdown

    with operating() as operation, operation.change() as session:
        before = lockdown.look(session)
        stopping.lift(session)
    remark("Everybody can sign in again." if before.active else "Nothing was stopped.")


@commands.command()
def status(json: AsJson = False) -> None:
    """Say whether sign-ins are stopped, since when, by whom and why."""
    from identity.tokens import lockdown

    with operating() as operation, operation.look() as session:
        state = lockdown.look(session)
    if json:
        as_json(_facts(state))
    else:
        facts(_facts(state).items())


def _facts(state: "State") -> dict[str, Any]:
    return {
        "active": state.active,
        "since": state.since,
        "reason": state.reason,
        "actor_type": state.actor_type,
        "actor": state.actor,
        "tokens_ended": state.tokens_ended,
    }
