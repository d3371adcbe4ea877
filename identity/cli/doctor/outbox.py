"""What `identity doctor` says of clients that are to be told of logouts."""

from datetime import timedelta

from sqlmodel import Session, col, func, select

from identity.cli.doctor.findings import Finding, Findings
from identity.cli.frame import Operation
from identity.clock import utcnow
from identity.tokens.logouts import LogoutNotice

LATE = timedelta(minutes=15)


def examine_outbox(operation: Operation, session: Session) -> Findings:
    late = col(LogoutNotice.noted_at) < utcnow() - LATE
    given_up = col(LogoutNotice.given_up_at).is_not(None)
    query = select(LogoutNotice.client_id, func.count()).where(late | given_up)
    stuck = session.exec(query.group_by(LogoutNotice.client_id).order_by(LogoutNotice.client_id))
    rows = stuck.all()
    for client_id, count in rows[:5]:
        yield Finding(
            "note", "logouts", f"{client_id} could not be told of {count} that ended",
            "GET /clients/{id}/logouts says why; is its backchannel_logout_uri right?",
        )  # fmt: skip
    if not rows:
        yield Finding("ok", "logouts", "clients have been told")
