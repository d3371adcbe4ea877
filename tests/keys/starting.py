"""What the service's start does about keys, and nothing else of it."""

from identity.keys import master, rotation
from identity.keys.master import MasterKey
from identity.keys.material import prepare
from identity.settings import Settings
from identity.store import Database


async def start(db: Database, settings: Settings, master_key: MasterKey) -> None:
    """`service.bootstrap` makes the keys, `service.wiring` then looks at the master key again."""
    lacking = await db.read(lambda session: rotation.lacking(session, settings))
    if lacking:
        made = {each: prepare(settings.keys.algorithm_for(each), master_key) for each in lacking}
        await db.write(lambda session: rotation.ensure(session, settings, made))
    await db.read(lambda session: master.check(session, master_key))
