"""A real PgBouncer between service and PostgreSQL: session mode serves with as many connections as
docs/postgresql.md says, transaction mode is refused in words."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from identity.settings import Settings, SettingsError
from identity.store import servers
from identity.store.deadlines import BUDGET
from tests.databases import environment, free_port, wait_until
from tests.faults.replicas import Line, Replicas, settings_of

PGBOUNCER = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
pytestmark = [
    pytest.mark.skipif(not Path(PGBOUNCER).exists(), reason="pgbouncer is not installed"),
    pytest.mark.parametrize("dialect", ["postgresql"]),
]

POOL = 4
"""Of a process of the service; the change feed's connection comes on top."""


@contextmanager
def pooler(url: str, mode: str, size: int) -> Iterator[str]:
    """The address of `url` behind a PgBouncer with `size` connections to the server. Nobody waits
    there for long: who gets none within two seconds is refused."""
    at, port = urlsplit(url), free_port()
    folder = Path(tempfile.mkdtemp(prefix="identity-pgbouncer-"))
    (folder / "users").write_text(f'"{at.username}" "{at.password}"\n')
    (folder / "ini").write_text(
        f"[databases]\n* = host={at.hostname} port={at.port}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = plain\nauth_file = {folder}/users\nquery_wait_timeout = 2\n"
        f"pool_mode = {mode}\ndefault_pool_size = {size}\n"
    )
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:  # which PgBouncer refuses to be
        nobody = pwd.getpwnam("nobody")
        for path in (folder, folder / "users", folder / "ini"):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [PGBOUNCER, folder / "ini"], stdout=log, stderr=log, cwd="/", **as_user
        )
    address = f"postgresql://{at.username}:{at.password}@127.0.0.1:{port}{at.path}"

    def answers() -> bool:
        try:
            psycopg.connect(address, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        wait_until(answers, 20, (folder / "log").read_text)
        yield address
    finally:
        process.terminate()
        process.wait(15)
        shutil.rmtree(folder)


@pytest.fixture
def behind(database_url: str) -> Iterator[Callable[[str, int], str]]:
    with ExitStack() as ends:
        yield lambda mode, size: ends.enter_context(pooler(database_url, mode, size))


def test_session_mode_serves_with_the_connections_that_are_documented(
    behind: Callable[[str, int], str], tmp_path: Path
) -> None:
    address = behind("session", POOL + 1)
    servers.examine(Settings.of(database_url=address))
    replicas = Replicas(address, tmp_path, 1, DATABASE_POOL=str(POOL))
    replicas.db.close()  # it has connections of its own, which are not the service's
    (server,) = replicas.servers

    def revoke_and_ask(_: int) -> None:
        with closing(Line(server.port, replicas.secret)) as line:
            for _ in range(10):
                token = line.issue()
                assert line.active(token)
                line.revoke(token)
                assert not line.active(token)

    try:
        with ThreadPoolExecutor(12) as threads:
            list(threads.map(revoke_and_ask, range(12)))
        said = server.log.read_text()
        assert "unavailable" not in said
    finally:
        replicas.close()


@pytest.mark.parametrize("size", [1, 8])
def test_transaction_mode_is_refused_at_the_start(
    behind: Callable[[str, int], str], tmp_path: Path, size: int
) -> None:
    address = behind("transaction", size)
    with pytest.raises(SettingsError, match="pooler in transaction mode"):
        servers.examine(Settings.of(database_url=address))
    done = subprocess.run(
        [sys.executable, "-m", "identity", "serve", "--port", str(free_port())],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env=environment(**settings_of(address, tmp_path)),
    )
    assert done.returncode == 1
    assert "pooler in transaction mode" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_fewer_connections_than_that_nobody_hangs(
    behind: Callable[[str, int], str], tmp_path: Path
) -> None:
    """Whoever gets none is refused within the budget of a request."""
    replicas = Replicas(behind("session", 3), tmp_path, 1, DATABASE_POOL=str(POOL))
    replicas.db.close()
    form = {"grant_type": "client_credentials"}

    def ask(_: int) -> set[int]:
        with closing(Line(replicas.servers[0].port, replicas.secret)) as line:
            statuses = set()
            for _ in range(2):
                began = time.monotonic()
                answer = line.post("/token", **form)
                statuses.add(answer.status)
                if answer.status == 200:
                    token = answer.document["access_token"]
                    statuses.add(line.post("/revoke", token=token).status)
                assert time.monotonic() - began < 2 * BUDGET + 6  # two requests, and a busy machine
            return statuses

    try:
        with ThreadPoolExecutor(8) as threads:
            assert set().union(*threads.map(ask, range(8))) <= {200, 503}
    finally:
        replicas.close()
