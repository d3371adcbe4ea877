"""The database with its hooks in place, for the service and for every command.

What a hook needs is imported when it has something to do: a command that only reads neither pays
for it, nor for anything else of the service.
"""

from typing import TYPE_CHECKING

from identity.settings import Settings
from identity.store import Database, Work, changes

if TYPE_CHECKING:
    from identity.keys.master import MasterKey

_NARROWED = frozenset(("user.narrowed", "client.narrowed", "role.narrowed"))


def open_database(settings: Settings) -> Database:
    """The change feed's hook comes last: it writes what the others record."""
    db = Database(settings)
    db.before_commit += [_show_narrowed, changes.writing(db)]
    return db


def audit_keys(master_key: "MasterKey") -> list[bytes]:
    """The keys that may have signed the audit chain's head, the one in force first."""
    return master_key.derive_all("audit")


def _show_narrowed(work: Work) -> None:
    """As `sessions.showing` does, if anything lost something."""
    if any(kind in _NARROWED for kind, _ in changes.pending(work)):
        from identity.tokens.sessions import ends

        ends.show_narrowed(work)
