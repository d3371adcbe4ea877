"""Rotation as the running service does it: look without a lock, make key material in a thread,
write only when something is due. Every process does this; the transaction decides who acts."""

import asyncio
from functools import partial

from identity.keys import rotation
from identity.keys.master import MasterKey
from identity.keys.material import Material, prepare
from identity.settings import Settings
from identity.store import Database


async def material(algorithm: str, master: MasterKey) -> Material:
    """A new key, for `rotation.rotate` and `rotation.revoke`."""
    return await asyncio.to_thread(prepare, algorithm, master)


async def tend(db: Database, settings: Settings, master: MasterKey) -> bool:
    """Do what is due; whether anything was. Call it every few seconds."""
    done = False
    for serves in settings.keys.served:
        due = await db.read(partial(rotation.due, settings=settings, serves=serves))
        if not due:
            continue
        algorithm = settings.keys.algorithm_for(serves)
        made = await material(algorithm, master) if due.create else None
        unit = partial(rotation.tend, settings=settings, material=made, serves=serves)
        done = await db.write(unit) or done
    return done
