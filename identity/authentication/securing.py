"""This was not me: whoever holds a session or knows the password is out."""

from typing import Literal

from sqlmodel import Session

from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.records import audit
from identity.tokens.sessions import lifecycle


def said(session: Session, user: User, by: Literal["mail", "page"]) -> None:
    """On record: a user said that it was not them, and all that was signed in ends. `by`: a link in
    a mail, which takes the password away; or their own page, where they choose a new one at once,
    for there they have just proved who they are."""
    audit.record(session, "user.secured", subject=user.id, by=by)


def secure(session: Session, user: User) -> int:
    """End every session and take the password away; how many sessions. The user, whose row is
    locked, sets a new one by a mail, or gets one from an administrator. Second factors stay."""
    user.password_hash, user.must_change_password, user.password_expires_at = None, False, None
    accounts.touch(session, user)
    said(session, user, "mail")
    return lifecycle.end_all(session, "this was not me", user_id=user.id)
