"""The database's file is replaced, or its log deleted, under the running service: it says so, and
ends, before anybody is told what is no longer true or writes what would be lost."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from identity.errors import Unavailable
from identity.store.files import Files
from tests.databases import wait_until
from tests.faults.files import WAYS, copied, delete_index, delete_log, replace, whole
from tests.faults.refusing import says_try_again
from tests.serving import ADMIN_PASSWORD, Server
from tests.world import World

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


def path_of(database_url: str) -> Path:
    return Path(database_url.removeprefix("sqlite:///"))


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_said_or_written_any_more(
    world: World, database_url: str, way: Callable[[Path], None]
) -> None:
    path = path_of(database_url)
    world.user()
    known = await world.log_in()
    assert await world.active(known["access_token"])
    copied(path)
    given_up: list[bool] = []
    world.services.db.when_lost = lambda: given_up.append(True)
    way(path)
    assert world._checker is not None
    for _ in range(2):
        answer = await world.api.post(
            "/introspect", data={"token": known["access_token"]}, headers=world._checker.basic
        )
        assert says_try_again(answer)
        assert says_try_again(await world.refresh(known["refresh_token"]))
        assert says_try_again(await world.revoke(known["refresh_token"]))
    ready = await world.api.get("/readyz")
    assert ready.json()["reasons"]["database"] == "the database cannot be reached"
    assert (await world.api.get("/healthz")).status_code == 200
    assert given_up == [True]


@pytest.mark.parametrize("way", WAYS)
async def test_a_write_under_way_is_not_called_done(
    world: World, database_url: str, way: Callable[[Path], None]
) -> None:
    """The file goes between the beginning of a transaction and its end."""
    path = path_of(database_url)
    copied(path)
    await world.services.feed.catch_up()
    with pytest.raises(Unavailable):
        await world.services.db.write(lambda session: way(path))


def log_in(server: Server) -> httpx.Response:
    form = {"grant_type": "password", "username": "admin", "password": ADMIN_PASSWORD}
    return httpx.post(f"{server.url}/token", data=form, trust_env=False, timeout=10)


def lines(server: Server, event: str) -> int:
    return server.log.read_text().count(f'"{event}"')


def test_one_process_ends_and_its_successor_serves_the_new_file(
    server: Callable[..., Server], database_url: str
) -> None:
    path = path_of(database_url)
    service = server()
    copied(path)
    assert log_in(service).status_code == 200  # which only the file to be lost has heard of
    replace(path)
    assert service.process.wait(15) == 1
    assert lines(service, "database lost") == 1
    assert not path.with_name(path.name + "-wal").exists()
    successor = server()
    assert whole(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM session").fetchone() == (0,)
    assert log_in(successor).status_code == 200


def test_workers_end_and_are_replaced_on_the_new_file(
    server: Callable[..., Server], database_url: str
) -> None:
    path = path_of(database_url)
    service = server(workers=2)
    copied(path)
    for _ in range(5):
        assert log_in(service).status_code == 200
    with closing(sqlite3.connect(path.with_name("copy.db"))) as copy:
        copy.execute("UPDATE user_account SET status = 'disabled'")
        copy.commit()
    replace(path)

    def served() -> bool:
        try:
            return log_in(service).status_code == 400
        except httpx.TransportError:
            return False

    wait_until(lambda: lines(service, "database lost") == 2, 15, service.log.read_text)
    wait_until(served, 15, service.log.read_text)
    assert service.process.poll() is None
    assert whole(path)


@pytest.mark.parametrize("way", [delete_log, delete_index])
def test_what_was_acknowledged_outlives_the_log(
    server: Callable[..., Server], database_url: str, way: Callable[[Path], None]
) -> None:
    path = path_of(database_url)
    service = server()
    token = log_in(service).json()
    ended = httpx.post(
        f"{service.url}/revoke", data={"token": token["refresh_token"]}, trust_env=False
    )
    assert ended.status_code == 200
    way(path)
    assert service.process.wait(15) == 1
    assert whole(path)
    successor = server()
    form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    again = httpx.post(f"{successor.url}/token", data=form, trust_env=False)
    assert again.json()["error"] == "invalid_grant"


def test_a_folder_that_is_busy_with_other_things_loses_nothing(
    dialect: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.db"
    path.touch()
    lost: list[bool] = []
    files = Files(str(path), lambda: lost.append(True))
    for number in range(50):
        (tmp_path / str(number)).touch()
        files.check()
    files.close()
    files.check()  # without its folder it looks by name
    assert lost == []


def test_a_file_that_goes_while_its_folder_keeps_its_time_is_lost_all_the_same(
    dialect: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """The clock that a folder's time is taken from moves only every few milliseconds."""
    monkeypatch.setattr("identity.store.files.LOOK_AGAIN", 3600)
    path = tmp_path / "a.db"
    path.touch()
    changed = tmp_path.stat().st_mtime_ns
    monkeypatch.setattr("identity.store.files.time_ns", lambda: changed + 1_000_000)
    files = Files(str(path), lambda: None)
    files.check()
    path.unlink()
    os.utime(tmp_path, ns=(changed, changed))
    with pytest.raises(Unavailable):
        files.check()
    files.close()


async def test_a_log_that_went_with_its_last_connection_is_not_lost(world: World) -> None:
    """All connections were closed, and with them SQLite's log: as it should be."""
    user = world.user()
    source: Any = world.services.feed._source
    await world.services.feed.catch_up()
    await source.close()
    world.services.db.engine.dispose()
    found = await world.services.db.read(lambda session: session.get(type(user), user.id))
    assert found is not None
    await world.services.feed.catch_up()
    await world.services.db.write(lambda session: None)


def test_a_name_that_is_a_link_is_followed(dialect: str, tmp_path: Path, monkeypatch: Any) -> None:
    """What the link names changes in another folder than the file's."""
    monkeypatch.setattr("identity.store.files.LOOK_AGAIN", 0)
    for folder in ("one", "two", "links"):
        (tmp_path / folder).mkdir()
    for folder in ("one", "two"):
        (tmp_path / folder / "a.db").touch()
    link = tmp_path / "links" / "a.db"
    link.symlink_to(tmp_path / "one" / "a.db")
    files = Files(str(link), lambda: None)
    files.check()
    link.unlink()
    link.symlink_to(tmp_path / "two" / "a.db")
    with pytest.raises(Unavailable):
        files.check()
    files.close()
