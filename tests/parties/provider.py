"""The service as relying parties find it, and a person in front of a real browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from tests.interop.deployment import PASSWORD, Deployment

NAME, EMAIL = "Grace Hopper", "grace@example.com"


class Provider(Deployment):
    """Beside the others there is `grace`, of whom an application may know name and address."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        grace = {"username": "grace", "password": PASSWORD, "name": NAME, "email": EMAIL}
        self.sub: str = self.administer("POST", "/users", grace)["id"]

    def client(self, client_id: str, *redirect_uris: str, **settings: Any) -> str:
        """Registers a third party's client; its secret, empty for a public one."""
        document = {
            "id": client_id,
            "name": client_id.title(),
            "grant_types": ["authorization_code", "refresh_token"],
            "scopes": ["openid", "profile", "email", "offline_access"],
            "redirect_uris": list(redirect_uris),
            **settings,
        }
        made = self.administer("POST", "/clients", document)
        return str(made.get("client_secret") or "")


class Person:
    """Somebody at a tab of a browser, in which what its console complains of is a failure."""

    def __init__(self, chromium: Any) -> None:
        self._context = chromium.new_context()
        self._context.set_default_timeout(30_000)
        self.page = self._context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _heard(self, message: Any) -> None:
        if message.type == "error" and "favicon" not in str(message.location):
            self.complaints.append(message.text)

    def signs_in(self, until: str) -> None:
        """At our own pages, where somebody has sent them; and agrees. Until the browser is at an
        address that begins with `until`."""
        page = self.page
        page.wait_for_selector("h1:has-text('Sign in')")
        page.fill("#username", "grace")
        page.fill("#password", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_selector("h1:has-text('asks for access')")
        page.click("#agree")
        page.wait_for_url(f"{until}**")

    def sees(self, words: str) -> None:
        """In the application's element `#who`."""
        self.page.wait_for_selector(f"#who:has-text('{words}')")

    def close(self) -> None:
        self._context.close()
        assert self.complaints == []


@contextmanager
def somewhere() -> Iterator[tuple[str, list[str]]]:
    """A server of a client that only keeps the addresses at which browsers arrive; its origin, and
    those."""
    arrived: list[str] = []

    class Keeping(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if urlsplit(self.path).path != "/favicon.ico":
                arrived.append(f"{origin}{self.path}")
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>Arrived</title>")

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keeping)
    origin = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield origin, arrived
    finally:
        server.shutdown()
        server.server_close()
