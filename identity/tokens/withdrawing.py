"""Taking back what a user agreed to: with the agreement goes all that the client got by it."""

from sqlalchemy import delete
from sqlmodel import Session, col

from identity.directory import consents
from identity.tokens.codes import AuthorizationCode
from identity.tokens.sessions import lifecycle


def withdraw(session: Session, user_id: str, client_id: str, reason: str) -> bool:
    """Part of the caller's unit of work. False where nothing had been agreed to."""
    if not consents.withdraw(session, user_id, client_id):
        return False
    lifecycle.end_all(session, reason, user_id=user_id, client_id=client_id)
    session.execute(
        delete(AuthorizationCode).where(
            col(AuthorizationCode.user_id) == user_id,
            col(AuthorizationCode.client_id) == client_id,
            col(AuthorizationCode.used_at).is_(None),
        )
    )
    return True
