"""What `identity doctor` says of clients that are to be told of logouts, of mails, and of who is
held up."""

from sqlmodel import Session

from identity.cli.frame import Operation
from identity.service import warnings
from identity.service.findings import Findings


def examine_mails(operation: Operation, session: Session) -> Findings:
    return warnings.mails(operation.settings, session)


def examine_outbox(operation: Operation, session: Session) -> Findings:
    return warnings.outbox(operation.settings, session)


def examine_blocks(operation: Operation, session: Session) -> Findings:
    return warnings.blocked(operation.settings, session)
