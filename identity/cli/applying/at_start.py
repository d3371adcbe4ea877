"""`IDENTITY_APPLY`: the files are applied before the service answers. It adds and changes, and
removes nothing. Several that start at once take turns, and all but the first find it done."""

from identity.cli.applying import doing
from identity.cli.applying import files as reading
from identity.cli.applying.command import house
from identity.cli.applying.mistakes import Mistaken
from identity.cli.applying.planning import Way, plan
from identity.cli.printing import remark
from identity.opaque import new_id
from identity.records import audit
from identity.service.opening import open_database
from identity.settings import Settings, SettingsError
from identity.store import Database

_WAY = Way()


def apply(settings: Settings) -> None:
    """Raises `SettingsError`: one line."""
    try:
        files = reading.read(settings.bootstrap.apply)
        before = audit.origin.set(audit.Origin(request_id=new_id(), actor_type="system"))
        db = open_database(settings)
        try:
            _apply(db, files, settings)
        finally:
            db.close()
            audit.origin.reset(before)
    except OSError as error:
        raise SettingsError(f"IDENTITY_APPLY: {error.filename}: {error.strerror}") from None
    except Mistaken as mistaken:
        raise SettingsError(f"IDENTITY_APPLY: {mistaken.line()}") from None


def _apply(db: Database, files: reading.Files, settings: Settings) -> None:
    ours = house(settings, files)
    with db.transaction() as session:
        doing.prepare(session)
        made = plan(session, files, _WAY)
        doing.carry_out(session, files, made, _WAY, ours)
    if made.visible:
        remark(f"IDENTITY_APPLY: set {made.set_name}: {len(made.visible)} added or changed.")
