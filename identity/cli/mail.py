"""`identity mail …`"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from identity.cli.frame import Operation, operating
from identity.cli.printing import AsJson, as_json, ordered, remark, table

if TYPE_CHECKING:
    from identity.authentication.mail.outbox import OutgoingMail

commands = typer.Typer(
    name="mail", help="See what waits to be sent, and whether mails arrive.", rich_markup_mode=None
)
SHOWN = 50


@commands.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="At the most so many.")] = SHOWN,
    json: AsJson = False,
) -> None:
    """List what has not been sent, longest waiting first."""
    from sqlmodel import col, select

    from identity.authentication.mail.outbox import OutgoingMail

    with operating() as operation, operation.look() as session:
        unsent = select(OutgoingMail).where(col(OutgoingMail.sent_at).is_(None))
        rows = session.exec(unsent.order_by(OutgoingMail.id).limit(limit)).all()
        shown = [_shown(row) for row in rows]
    if json:
        as_json(shown)
        return
    names = ("id", "kind", "state", "attempts", "due_at", "last_error")
    table(
        ("ID", "KIND", "STATE", "ATTEMPTS", "DUE", "LAST ERROR"),
        ([each[name] for name in names] for each in shown),
        none="All mails have been sent.",
    )


@commands.command()
def retry(
    mail: Annotated[
        str | None, typer.Argument(metavar="ID", help="All that have not been sent, if left out.")
    ] = None,
) -> None:
    """Send again what waits or was given up, at once."""
    from identity.authentication.mail import outbox
    from identity.errors import NotFound
    from identity.records import audit

    with operating() as operation, operation.change() as session:
        count = outbox.try_again(session, mail)
        if mail is not None and not count:
            raise NotFound("no such mail waits")
        audit.record(session, "mail.retried", mail=mail, count=count)
    remark(f"Mails to be sent now: {count}.")


@commands.command()
def test(address: Annotated[str, typer.Argument(metavar="ADDRESS")]) -> None:
    """Send a mail from here, past the outbox, and say what the server says."""
    import asyncio

    from identity.authentication.mail.preparing import Ready
    from identity.authentication.mail.sending import sender_of
    from identity.directory.branding.current import look
    from identity.directory.users import names
    from identity.opaque import new_id
    from identity.settings import SettingsError

    with operating() as operation:
        to = names.email(address, "/address")
        if not operation.settings.sends_mail:
            raise SettingsError("IDENTITY_SMTP_URL: is not set, so no mail can be sent")
        values: dict[str, Any] = {"username": None, "link": None}
        with operation.look() as session:
            brand = look(session)
        ready = Ready(new_id(), "test", to, None, values, brand)
        (failure,) = asyncio.run(sender_of(operation.settings).send([ready]))
        if failure is not None:
            remark(f"{_where(operation)}: {failure.why}")
            raise typer.Exit(1)
    remark(f"Sent, by way of {_where(operation)}.")


def _where(operation: Operation) -> str:
    """Where mails go, without a password."""
    from identity.setting_types import smtp_server

    mail = operation.settings.mail
    if mail.smtp_url is None:
        return str(mail.mail_folder)
    server = smtp_server(mail.smtp_url.get_secret_value())
    return f"{server.host}:{server.port}"


def _shown(row: "OutgoingMail") -> dict[str, Any]:
    facts = ordered(row, mode="json", exclude={"sealed", "target", "sent_at", "given_up_at"})
    return facts | {"state": "given_up" if row.given_up_at else "waiting"}
