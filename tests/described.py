"""A program's own web server, with a document about the client that it is."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Any

CALLBACK = "https://notes.example/callback"


@dataclass
class Site:
    """A program's own web server."""

    port: int
    scheme: str = "http"
    document: Any = field(default_factory=dict)
    status: int = 200
    media_type: str | None = "application/json"
    asked: int = 0

    @property
    def client_id(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/client.json"

    def says(self, **said: Any) -> None:
        self.document = {
            "client_id": self.client_id, "client_name": "Notes", "redirect_uris": [CALLBACK], **said
        }  # fmt: skip


@contextmanager
def site_of_a_client(tls: SSLContext | None = None) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked += 1
            body = site.document
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(site.status)
            if site.media_type is not None:
                self.send_header("content-type", site.media_type)
            self.send_header("cache-control", "no-store")
            self.send_header("location", "/client.json?again")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = Site(server.server_port)
    if tls is not None:
        server.socket, site.scheme = tls.wrap_socket(server.socket, server_side=True), "https"
    site.says()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
