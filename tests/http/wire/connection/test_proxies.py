"""The same requests through real proxies that share their connections among clients: whatever one
client sends, another gets its own answer."""

import asyncio
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from identity.http.server.server import Server, configured
from identity.http.server.sockets import hold
from identity.http.wire.lifespan import Lifespan
from identity.http.wire.protocol import Limits
from tests.databases import free_port, wait_until
from tests.http.wire.connection.line import answer
from tests.http.wire.connection.scripts import Script, scripts

CASES = 120
SBIN = "/usr/sbin:/usr/local/sbin"
PROXIES = {
    name: shutil.which(name) or shutil.which(name, path=SBIN) for name in ("nginx", "haproxy")
}

HAPROXY = """
global
    maxconn 200
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 3s
    timeout http-request 300ms
    timeout http-keep-alive 5s
    http-reuse always
    option http-buffer-request
    retries 0
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    server one 127.0.0.1:{service}
"""
NGINX = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/errors;
events {{ worker_connections 200; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_header_timeout 300ms;
    upstream service {{ server 127.0.0.1:{service}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
            proxy_read_timeout 3s;
            proxy_next_upstream off;
        }}
    }}
}}
"""


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await answer(scope, receive, send, lambda: asyncio.sleep(0.005))


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    """The port of a server of ours, in a thread."""
    config = configured(Limits())
    config.app = application  # type: ignore[assignment]
    config.load()
    config.lifespan_class = Lifespan  # type: ignore[assignment]
    opened = threading.Event()
    server = Server(config, opened.set, None)
    sockets = hold("127.0.0.1", 0, shared=False)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets)))
    thread.start()
    assert opened.wait(10)
    yield sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module", params=PROXIES)
def proxy(request: pytest.FixtureRequest, service: int) -> Iterator[int]:
    """The port of a proxy in front of `service`."""
    name = request.param
    program, port = PROXIES[name], free_port()
    if program is None:
        pytest.skip(f"{name} is not installed: left out, what it makes of connections it shares")
    folder = Path(f"/tmp/identity-proxy-{port}")
    folder.mkdir()
    folder.chmod(0o777)
    text = HAPROXY if name == "haproxy" else NGINX
    (folder / "conf").write_text(text.format(port=port, service=service, folder=folder))
    options = ["-db", "-f"] if name == "haproxy" else ["-p", str(folder), "-e", "errors", "-c"]
    log = (folder / "log").open("w")
    process = subprocess.Popen([program, *options, str(folder / "conf")], stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(port), 10, (folder / "log").read_text)
        yield port
    finally:
        process.terminate()
        process.wait(10)
        log.close()
        shutil.rmtree(folder)


def answers(port: int) -> bool:
    with suppress(OSError):
        return b"200 OK" in ask(port, b"/ready")
    return False


def ask(port: int, path: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=3) as client:
        client.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path)
        said = b""
        while piece := client.recv(65536):
            said += piece
    return said


def send(port: int, script: Script) -> None:
    """And read what comes at once: whoever leaves in the middle leaves something in the proxy."""
    with socket.create_connection(("127.0.0.1", port), timeout=0.02) as client, suppress(OSError):
        for piece, _ in script.pieces:
            client.sendall(piece)
        while client.recv(65536):
            pass


@pytest.mark.fuzz
def test_nobody_gets_the_answer_to_another_clients_request(proxy: int) -> None:
    number = 0

    # Not shrunk: each case takes real time, and the smallest one is seldom needed here.
    @settings(
        max_examples=CASES,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(script=scripts())
    def try_out(script: Script) -> None:
        nonlocal number
        send(proxy, script)
        for _ in range(2):
            number += 1
            said = ask(proxy, b"/probe-%d" % number)
            assert said.startswith(b"HTTP/1.1 200"), said
            paths = re.findall(rb'\["([A-Z]+)", "([^"]*)"', said)
            assert paths == [(b"GET", b"/probe-%d" % number)], said

    try_out()
