"""One of several processes that do the same thing at the same moment: `contender.py URL KEYS_DIR`.

Says `ready`, then does what it reads, line by line, and says how it ended.
"""

import asyncio
import sys

from identity.keys import master, rotation, upkeep
from identity.settings import Settings, SettingsError
from identity.store import Database, changes
from tests.keys.starting import start


async def main(url: str, keys_dir: str) -> None:
    settings = Settings.of(database_url=url, keys_dir=keys_dir, id_token_algorithms="")
    db = Database(settings)
    db.before_commit.append(changes.writing(db))
    print("ready", flush=True)
    for line in sys.stdin:
        act, *arguments = line.split()
        try:
            said = await do(db, settings, act, *arguments)
        except SettingsError as refusal:
            said = f"refused: {refusal}"
        print(said, flush=True)
    db.close()


async def do(db: Database, settings: Settings, act: str, *arguments: str) -> str:
    key = await db.read(lambda session: master.load(session, settings))
    if act == "choose":
        choices = {"https://orders.example": arguments[0]}
        keys = settings.keys.model_copy(update={"audience_algorithms": choices})
        await start(db, settings.model_copy(update={"keys": keys}), key)
        return "chosen"
    if act == "start":
        await start(db, settings, key)
        return key.derive("comparison").hex()
    made = await upkeep.material(settings.keys.signing_algorithm, key)
    if act == "rotate":
        return (await db.write(lambda session: rotation.rotate(session, settings, made))).kid
    assert act == "revoke"
    await db.write(lambda session: rotation.revoke(session, settings, arguments[0], made))
    return "revoked"


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
