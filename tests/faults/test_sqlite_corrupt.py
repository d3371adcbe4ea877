"""Pages of SQLite's file that hold nonsense: a 503, as for any database that cannot be asked."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.refusing import says_try_again
from tests.world import World, bearer

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


def spoil(path: Path, *tables: str) -> None:
    """Overwrite the first page of each of these tables and of their indexes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        marks = ", ".join("?" * len(tables))
        query = f"SELECT rootpage FROM sqlite_master WHERE tbl_name IN ({marks}) AND rootpage > 0"
        pages = [page for (page,) in connection.execute(query, tables)]
        assert pages
        spoilt = bytearray(path.read_bytes())
        for page in pages:
            spoilt[(page - 1) * size : page * size] = b"\xa5" * size
        path.write_bytes(spoilt)
        connection.execute("PRAGMA user_version=7")  # others forget the pages that they keep


async def test_corrupt_pages_are_a_503(world: World, database_url: str) -> None:
    world.user()
    root = world.user("root", roles=["admin"])
    known, admin = await world.log_in(), await world.log_in("root")
    assert await world.active(known["access_token"])
    path = Path(database_url.removeprefix("sqlite:///"))
    spoil(path, "user_account", "session", "refresh_token", "login_name", "audit_event")
    assert says_try_again(await world.refresh(known["refresh_token"]))
    assert says_try_again(await world.revoke(known["refresh_token"]))
    for method, where in (("GET", f"/users/{root.id}"), ("GET", "/users"), ("GET", "/audit")):
        answer = await world.api.request(method, where, headers=bearer(admin["access_token"]))
        assert says_try_again(answer), where
    login = await world.token(grant_type="password", username="ada", password="wrong password")
    assert says_try_again(login)
