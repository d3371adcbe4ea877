"""Rotation as the running service does it: look without a lock, make key material in a thread,
write only when something is due. Every process does this; the transaction decides who acts."""

import asyncio

from identity.keys import rotation
from identity.keys.master import MasterKey, check
from identity.keys.material import Material, prepare
from identity.settings import Settings
from identity.store import Database


async def material(settings: Settings, master: MasterKey) -> Material:
    """A new key of the algorithm in force, for `rotation.rotate` and `rotation.revoke`."""
    return await asyncio.to_thread(prepare, settings.keys.signing_algorithm, master)


async def start(db: Database, settings: Settings, master: MasterKey) -> None:
    """See that there is a key that signs, and one of the algorithm in force to come.

    `SettingsError` where another machine, started at the same moment with a master key of its
    own, was first.
    """
    if await db.read(lambda session: rotation.lacking(session, settings)):
        made = await material(settings, master)
        await db.write(lambda session: rotation.ensure(session, settings, made))
    await db.read(lambda session: check(session, master))


async def tend(db: Database, settings: Settings, master: MasterKey) -> bool:
    """Do what is due; whether anything was. Call it every few seconds."""
    due = await db.read(lambda session: rotation.due(session, settings))
    if not due:
        return False
    made = await material(settings, master) if due.create else None
    return await db.write(lambda session: rotation.tend(session, settings, made))
