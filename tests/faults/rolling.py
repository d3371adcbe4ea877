"""Servers are stopped and started one after the other behind a proxy, under load, and replaced by
those of the next version: nobody who asks through it notices."""

import itertools
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.databases import environment
from tests.faults.proxies import HAProxy, Nginx, Proxy, in_front
from tests.faults.replicas import BROKEN, Line, Replicas, settings_of
from tests.serving import Server
from tests.trials.row import Outcome, Place
from tests.upgrade import before

DRAIN = "2s"
"""IDENTITY_DRAIN: a few times what HAProxy takes to notice."""
CLIENTS = 4
PAUSE = 0.01
"""Seconds between two requests of a client."""


@dataclass
class Rolling:
    """`settings`: what servers are told. `servers`: those behind the proxy."""

    replicas: Replicas
    settings: dict[str, str]
    folder: Path
    servers: list[Server]
    proxy: Proxy

    def restart(self, number: int) -> None:
        """Stop one in good order, and start one of this version in its place."""
        old = self.servers[number]
        assert old.stop(30) == 0
        self.servers[number] = Server(self.folder, self.settings, port=old.port)
        self.proxy.wait()


@contextmanager
def _behind(
    kind: Callable[[list[int], Path], Proxy], database: str, place: Place
) -> Iterator[Rolling]:
    url = place.templates.fresh(database, place.folder)
    with ExitStack() as ends:
        ends.callback(place.templates.discard, url)
        replicas = Replicas(url, place.folder, 2, DRAIN=DRAIN)
        ends.callback(replicas.close)
        yield ends.enter_context(
            _rolling(kind, replicas, settings_of(url, place.folder), replicas.servers, place.folder)
        )


behind_haproxy = partial(_behind, HAProxy)
behind_nginx = partial(_behind, Nginx)


@contextmanager
def _rolling(
    kind: Callable[[list[int], Path], Proxy],
    replicas: Replicas, settings: dict[str, str], servers: list[Server], folder: Path,
) -> Iterator[Rolling]:  # fmt: skip
    proxy = kind([server.port for server in servers], folder)
    with in_front(proxy, folder) as front:
        settings = settings | {"DRAIN": DRAIN}
        stage = Rolling(replicas, settings, folder, list(servers), front)
        try:
            yield stage
        finally:
            for server in stage.servers:
                server.stop(30)


def one_after_the_other(stage: Rolling, dice: random.Random) -> Outcome:
    seen, ours, counted = Outcome(), stage.replicas, Counter[str]()
    stop = threading.Event()

    def client(username: str) -> None:
        """Logs in, refreshes, asks: as a client on a connection that it keeps."""
        line = Line(stage.proxy.front, ours.secret)
        login = line.log_in(username)
        for turn in itertools.count():
            if stop.wait(PAUSE):
                break
            try:
                if turn % 4:
                    answer = line.post("/introspect", token=login["access_token"])
                else:
                    answer = line.refresh(login["refresh_token"])
                    login |= answer.document if answer.status == 200 else {}
                counted[str(answer.status)] += 1
                if answer.status == 200 and turn % 4 and not answer.document["active"]:
                    counted["inactive"] += 1
            except BROKEN as error:
                counted[type(error).__name__] += 1
        line.close()

    users = [ours.user().username for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as threads:
        clients = [threads.submit(client, username) for username in users]
        try:
            time.sleep(dice.uniform(0.2, 0.7))
            for number in dice.sample(range(2), 2):
                stage.restart(number)
        finally:
            stop.set()
        for each in clients:
            each.result()
    failed = {what: count for what, count in counted.items() if what != "200"}
    seen.see(not failed, f"failed: {failed}")
    seen.measured["requests"] = sum(counted.values())
    return seen


# --- The next version ----------------------------------------------------------------------------


@contextmanager
def version_before(database: str, place: Place) -> Iterator[tuple[Place, Path]]:
    """Its code, from this checkout's history."""
    yield place, before.code(place.folder / "before")


def upgraded(stage: tuple[Place, Path], dice: random.Random) -> Outcome:
    """Two servers of the version before, on the database that it made; then, under load, the
    schema's expansion and one server of this version after the other in their place."""
    place, code = stage
    postgres = place.templates.postgres
    folder = place.folder / f"upgrade-{dice.getrandbits(32):08x}"
    folder.mkdir()
    url = postgres.create()
    with ExitStack() as ends:
        ends.callback(postgres.drop, url)
        settings = settings_of(url, folder)
        theirs = {name: value for name, value in settings.items() if name != "MAIL_FOLDER"}
        older = []
        for _ in range(2):
            server = Server(folder, theirs | {"DRAIN": DRAIN}, code=code)
            ends.callback(server.stop, 30)
            older.append(server)
        subprocess.run(
            [sys.executable, "-m", "identity", "migrate"], check=True, capture_output=True,
            cwd=folder, env=environment(**settings),
        )  # fmt: skip
        replicas = Replicas(url, folder, 0)
        ends.callback(replicas.close)
        rolling = ends.enter_context(_rolling(HAProxy, replicas, settings, older, folder))
        return one_after_the_other(rolling, dice)
