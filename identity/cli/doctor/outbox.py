"""What `identity doctor` says of clients that are to be told of logouts."""

from sqlmodel import Session

from identity.cli.frame import Operation
from identity.service import warnings
from identity.service.findings import Findings


def examine_outbox(operation: Operation, session: Session) -> Findings:
    return warnings.outbox(operation.settings, session)
