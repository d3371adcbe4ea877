"""The database with its hooks in place, for the service and for every command.

What a hook needs is imported when it has something to do: a command that only reads neither pays
for it, nor for anything else of the service.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlmodel import Session

from identity.authentication.mail.kinds import NOTICES
from identity.records import audit
from identity.settings import Settings
from identity.store import Database, Work, changes

if TYPE_CHECKING:
    from identity.authentication.mail.outbox import Outbox
    from identity.keys.master import MasterKey

_NARROWED = frozenset(("user.narrowed", "client.narrowed", "role.narrowed"))


def open_database(settings: Settings) -> Database:
    """The change feed's hook comes last: it writes what the others record."""
    db = Database(settings)
    db.before_commit += [_telling(settings), _show_narrowed, changes.writing(db)]
    return db


def audit_keys(master_key: "MasterKey") -> list[bytes]:
    """The keys that may have signed the audit chain's head, the one in force first."""
    return master_key.derive_all("audit")


def _telling(settings: Settings) -> Callable[[Work], None]:
    """Users are told by mail of what is done to their account."""
    outbox: list[Outbox] = []

    def tell(work: Work) -> None:
        told = [each for each in audit.happened(work) if each.event in NOTICES]
        audit.happened(work).clear()
        if not told or not settings.sends_mail:
            return
        from identity.authentication.mail import notices
        from identity.authentication.mail.outbox import Outbox
        from identity.keys import master

        if not outbox:
            # A command may come before the first start, which makes the key.
            key = (
                master.load(work, settings) if isinstance(work, Session) else master.read(settings)
            )
            outbox.append(Outbox(settings, key))
        for each in told:
            notices.tell(work, outbox[0], each)

    return tell


def _show_narrowed(work: Work) -> None:
    """As `sessions.ends` says, if anything lost something."""
    if any(kind in _NARROWED for kind, _ in changes.pending(work)):
        from identity.tokens.sessions import ends

        ends.show_narrowed(work)
