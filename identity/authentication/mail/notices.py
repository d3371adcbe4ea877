"""Acts that their user is told of, whoever does them: what comes into the audit becomes a mail, in
the same transaction (`kinds.NOTICES`)."""

from sqlalchemy import bindparam
from sqlmodel import col

from identity.authentication.mail import links
from identity.authentication.mail.kinds import EVERYWHERE, NOTICES
from identity.authentication.mail.outbox import Outbox
from identity.clock import utcnow
from identity.directory.users.table import User
from identity.records.audit import Happened
from identity.store import Statement, Work, execute, select_of

_WHOM = Statement(lambda: select_of(User.email, User.locale).where(col(User.id) == bindparam("id")))


def tell(work: Work, mails: Outbox, happened: Happened) -> None:
    """Of an event that is among `NOTICES`."""
    kind, user_id = NOTICES[happened.event], happened.subject
    found = execute(work, _WHOM, {"id": user_id}).fetchall()
    if user_id is None or not found:
        return
    ((email, locale),) = found
    values = {"at": f"{utcnow():%Y-%m-%d %H:%M} UTC", "factor": happened.kind}
    old = links.old_addresses(work, user_id) if kind in EVERYWHERE else []
    for address in dict.fromkeys([email, *old]):
        mails.write(work, kind, to=address, user_id=user_id, locale=locale, values=values)
