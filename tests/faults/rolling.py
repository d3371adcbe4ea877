"""Servers are stopped and started one after the other behind HAProxy, under load: nobody who asks
through it notices."""

import csv
import itertools
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.databases import free_port, wait_until
from tests.faults.replicas import BROKEN, Line, Replicas, settings_of
from tests.serving import Server
from tests.trials.row import Outcome, Place

DRAIN = "2s"
"""IDENTITY_DRAIN: a few times what HAProxy takes to notice."""
CLIENTS = 4
SERVERS = ("one", "two")
PAUSE = 0.01
"""Seconds between two requests of a client."""
CONFIGURATION = """
global
    log stdout format raw local0
    maxconn 200
defaults
    mode http
    log global
    timeout connect 1s
    timeout client 60s
    timeout server 60s
frontend watched
    bind 127.0.0.1:{watched}
    stats enable
    stats uri /stats
frontend identity
    bind 127.0.0.1:{front}
    default_backend identity
backend identity
    balance roundrobin
    option httpchk
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host identity
    http-check expect status 200
    option http-buffer-request
    retries 2
    option redispatch 1
    retry-on conn-failure empty-response
    acl asks method GET HEAD
    acl asks path /introspect
    http-request disable-l7-retry unless asks
    default-server inter 200ms fall 2 rise 1
    server one 127.0.0.1:{one} check
    server two 127.0.0.1:{two} check
"""


def no_haproxy() -> str:
    return "" if shutil.which("haproxy") else "haproxy is not installed"


@dataclass
class Rolling:
    replicas: Replicas
    folder: Path
    url: str
    front: int
    watched: int

    def restart(self, number: int) -> None:
        """Stop one in good order, and start one in its place that is asked by HAProxy again."""
        old = self.replicas.servers[number]
        assert old.stop(30) == 0
        settings = settings_of(self.url, self.folder) | {"DRAIN": DRAIN}
        self.replicas.servers[number] = Server(self.folder, settings, port=old.port)
        wait_until(self.whole, 30, lambda: "haproxy does not take it back")

    def whole(self) -> bool:
        """Whether HAProxy asks both."""
        said = Line(self.watched, "").get("/stats;csv").body.decode()
        servers = [row for row in csv.DictReader(said.splitlines()) if row["svname"] in SERVERS]
        return [row["status"] for row in servers] == ["UP"] * len(SERVERS)


@contextmanager
def behind_haproxy(database: str, place: Place) -> Iterator[Rolling]:
    url = place.templates.fresh(database, place.folder)
    with ExitStack() as ends:
        ends.callback(place.templates.discard, url)
        replicas = Replicas(url, place.folder, 2, DRAIN=DRAIN)
        ends.callback(replicas.close)
        front, watched = free_port(), free_port()
        one, two = (server.port for server in replicas.servers)
        file = place.folder / "haproxy.cfg"
        file.write_text(CONFIGURATION.format(front=front, watched=watched, one=one, two=two))
        log = ends.enter_context((place.folder / "haproxy.log").open("wb"))
        process = subprocess.Popen(["haproxy", "-db", "-f", str(file)], stdout=log, stderr=log)
        ends.callback(process.wait, 10)
        ends.callback(process.kill)
        stage = Rolling(replicas, place.folder, url, front, watched)
        ends.callback(lambda: [server.stop() for server in replicas.servers])
        wait_until(lambda: _answers(stage), 20, lambda: "haproxy does not answer")
        wait_until(stage.whole, 20, lambda: "haproxy does not see both")
        yield stage


def _answers(stage: Rolling) -> bool:
    try:
        return Line(stage.front, stage.replicas.secret).get("/readyz").status == 200
    except BROKEN:
        return False


def one_after_the_other(stage: Rolling, dice: random.Random) -> Outcome:
    seen, ours, counted = Outcome(), stage.replicas, Counter[str]()
    stop = threading.Event()

    def client(username: str) -> None:
        """Logs in, refreshes, asks: as a client on a connection that it keeps."""
        line = Line(stage.front, ours.secret)
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
