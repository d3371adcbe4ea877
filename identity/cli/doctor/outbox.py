"""What `identity doctor` says of clients that are to be told of logouts, and of mails."""

from sqlmodel import Session, col, func, select

from identity.authentication.mail.outbox import OutgoingMail
from identity.cli.frame import Operation
from identity.clock import utcnow
from identity.service import warnings
from identity.service.findings import Finding, Findings
from identity.service.warnings import LATE


def examine_mails(operation: Operation, session: Session) -> Findings:
    late = col(OutgoingMail.noted_at) < utcnow() - LATE
    unsent = col(OutgoingMail.sent_at).is_(None)
    query = select(func.count()).where(unsent, late | col(OutgoingMail.given_up_at).is_not(None))
    stuck = session.exec(query.select_from(OutgoingMail)).one()
    if stuck:
        yield Finding(
            "note", "mails", f"{stuck} could not be sent",
            "`identity mail list` says why, `identity mail test ADDRESS` what the server says",
        )  # fmt: skip
    elif not operation.settings.sends_mail:
        yield Finding(
            "note", "mails", "none are sent: IDENTITY_SMTP_URL is not set",
            "without mails nobody can reset a password, be invited, or hear of what happens to "
            "their account",
        )  # fmt: skip
    else:
        yield Finding("ok", "mails", "have been sent")


def examine_outbox(operation: Operation, session: Session) -> Findings:
    return warnings.outbox(operation.settings, session)
