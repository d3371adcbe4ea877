"""A filled database, and what is started on it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import processes
from bench.world import Size, World
from identity.settings import Settings
from identity.store import migrating
from tests.databases import Postgres

SERVER_CORE, LOAD_CORE = 0, 1


@contextmanager
def database(dialect: str, folder: Path) -> Iterator[str]:
    """An empty database, durable as in production."""
    if dialect == "sqlite":
        yield f"sqlite:///{folder / 'identity.db'}"
        return
    server = Postgres(durable=True, options=["autovacuum=on"])
    try:
        yield server.create()
    finally:
        server.remove()


@contextmanager
def prepared(dialect: str, size: Size, **changed: str) -> Iterator[tuple[Path, str, World, int]]:
    """A folder, a filled database, the world beside it, and the port its issuer names."""
    with tempfile.TemporaryDirectory(prefix="identity-bench-") as name:
        folder = Path(name)
        port = processes.free_port()
        with database(dialect, folder) as url:
            settings = Settings.of(
                database_url=url,
                keys_dir=folder / "keys",
                port=port,
                **{key.lower(): value for key, value in changed.items()},
            )
            migrating.upgrade(settings)
            with processes.service(folder, url, None, PORT=str(port), **changed):
                pass  # bootstraps
            world = World(settings)
            world.fill(size)
            try:
                yield folder, url, world, port
            finally:
                world.close()
