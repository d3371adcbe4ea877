"""Proxies in front of two servers, and how each hears that one of them leaves and comes back."""

import csv
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from tests.databases import free_port, wait_until
from tests.faults.replicas import BROKEN, Line

PATH = "/usr/sbin:/usr/local/sbin"
SERVERS = ("one", "two")
FAIL_TIMEOUT = 1
"""Seconds for which nginx asks nobody who did not answer."""
HAPROXY = """
global
    log stdout format raw local0
    maxconn 200
defaults
    mode http
    log global
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout check 5s
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
NGINX = """
daemon off;
master_process on;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx-errors.log;
events {{ worker_connections 200; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    upstream identity {{
        server 127.0.0.1:{one} max_fails=1 fail_timeout={seconds}s;
        server 127.0.0.1:{two} max_fails=1 fail_timeout={seconds}s;
        keepalive 32;
    }}
    server {{
        listen 127.0.0.1:{front};
        location / {{
            proxy_pass http://identity;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
        }}
    }}
}}
"""


class Proxy(Protocol):
    front: int
    """Its port."""
    command: list[str]

    def wait(self) -> None:
        """Until it asks both servers."""


def no_haproxy() -> str:
    return "" if shutil.which("haproxy") else "haproxy is not installed"


def no_nginx() -> str:
    return "" if _nginx() else "nginx is not installed"


class HAProxy:
    """It asks `/readyz`, and so hears of who leaves while they still serve."""

    def __init__(self, ports: Sequence[int], folder: Path) -> None:
        self.front, self._watched = free_port(), free_port()
        one, two = ports
        file = folder / "haproxy.cfg"
        file.write_text(HAPROXY.format(front=self.front, watched=self._watched, one=one, two=two))
        self.command = ["haproxy", "-db", "-f", str(file)]

    def wait(self) -> None:
        wait_until(self._whole, 30, lambda: "haproxy does not ask both")

    def _whole(self) -> bool:
        with closing(Line(self._watched, "")) as line:
            said = line.get("/stats;csv").body.decode()
        servers = [row for row in csv.DictReader(said.splitlines()) if row["svname"] in SERVERS]
        return [row["status"] for row in servers] == ["UP"] * len(SERVERS)


class Nginx:
    """It asks nobody, and learns that somebody has left when a connection is refused: then it asks
    the other. Who left for good says so by closing each connection after its answer."""

    def __init__(self, ports: Sequence[int], folder: Path) -> None:
        self.front = free_port()
        one, two = ports
        file = folder / "nginx.conf"
        file.write_text(
            NGINX.format(folder=folder, front=self.front, one=one, two=two, seconds=FAIL_TIMEOUT)
        )
        self.command = [_nginx(), "-e", "stderr", "-p", str(folder), "-c", str(file)]

    def wait(self) -> None:
        time.sleep(FAIL_TIMEOUT)


@contextmanager
def in_front(proxy: Proxy, folder: Path) -> Iterator[Proxy]:
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(proxy.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(lambda: _answers(proxy), 20, lambda: "the proxy does not answer")
            proxy.wait()
            yield proxy
        finally:
            process.terminate()
            process.wait(20)


def _answers(proxy: Proxy) -> bool:
    with closing(Line(proxy.front, "")) as line:
        try:
            return line.get("/readyz").status == 200
        except BROKEN:
            return False


def _nginx() -> str:
    return shutil.which("nginx") or shutil.which("nginx", path=PATH) or ""
