"""This was not me: whoever holds a session or knows the password is out."""

from sqlmodel import Session

from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.records import audit
from identity.tokens.sessions import lifecycle


def secure(session: Session, user: User) -> int:
    """End every session and take the password away; how many sessions. The user, whose row is
    locked, sets a new one by a mail, or gets one from an administrator. Second factors stay."""
    user.password_hash, user.must_change_password, user.password_expires_at = None, False, None
    accounts.touch(session, user)
    audit.record(session, "user.secured", subject=user.id)
    return lifecycle.end_all(session, "this was not me", user_id=user.id)
