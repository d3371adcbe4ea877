"""A client's own address that is told when sessions end: a real server on loopback."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from tests.databases import wait_until


@dataclass
class Receiver:
    port: int
    told: list[str] = field(default_factory=list)
    """Logout tokens, in the order in which they came."""
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    """What it answers."""
    holding: threading.Event = field(default_factory=threading.Event)
    """While it is cleared nobody gets an answer."""

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}/backchannel?tenant=1"

    def wait_for(self, count: int, seconds: float = 20) -> list[str]:
        """The tokens, once there are at least so many."""
        wait_until(
            lambda: len(self.told) >= count, seconds, lambda: f"told {len(self.told)}, not {count}"
        )
        return list(self.told)


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            receiver.headers.append({k.lower(): v for k, v in self.headers.items()})
            receiver.told += parse_qs(body, strict_parsing=True)["logout_token"]
            receiver.holding.wait(30)
            try:
                self.send_response(receiver.status)
                if 300 <= receiver.status < 400:
                    self.send_header("location", receiver.uri)
                self.send_header("content-length", "0")
                self.end_headers()
            except OSError:
                pass  # whoever told us is gone

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    receiver = Receiver(server.server_port)
    receiver.holding.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.holding.set()
        server.shutdown()
        thread.join()
        server.server_close()
