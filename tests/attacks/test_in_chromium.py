"""The same in a real browser, for what rests on how browsers behave: a page at another site posts
forms and shows frames, while somebody is signed in."""

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from tests.browsing import verifier_and_challenge
from tests.interop.deployment import PASSWORD
from tests.pages.test_in_chromium import CHROMIUM, chromium
from tests.parties.conftest import provider, single_page_port
from tests.parties.provider import Provider, somewhere

__all__ = ["chromium", "provider", "single_page_port"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: nothing was tried")


@contextmanager
def another_site() -> Iterator[tuple[str, dict[str, str]]]:
    """Its address, and path to page. By name it is another site than 127.0.0.1 is (a site has no
    port)."""
    pages: dict[str, str] = {}

    class Serving(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(pages.get(self.path, "").encode())

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Serving)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}", pages
    finally:
        server.shutdown()
        server.server_close()


def posting(address: str, fields: dict[str, str]) -> str:
    inputs = "".join(
        f'<input name="{escape(name)}" value="{escape(value)}">' for name, value in fields.items()
    )
    return (
        f'<!doctype html><form method="post" action="{escape(address)}">{inputs}</form>'
        "<script>document.forms[0].submit()</script>"
    )


def test_what_another_site_posts_and_frames(chromium: Any, provider: Provider) -> None:
    with another_site() as (site, pages), somewhere() as (origin, arrived):
        callback = f"{origin}/callback"
        provider.client("framed", callback)
        context = chromium.new_context()
        page = context.new_page()
        # Nobody is signed in by a form of somebody else's.
        pages["/sign-in"] = posting(
            f"{provider.url}/sign-in", {"username": "grace", "password": PASSWORD}
        )
        page.goto(f"{site}/sign-in")
        page.wait_for_url(f"{provider.url}/**")
        assert not [each for each in context.cookies() if each["name"] == "identity"]
        page.goto(f"{provider.url}/sign-in")
        page.fill("#username", "grace")
        page.fill("#password", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_selector("h1:has-text('Your account')")
        # A request that is posted becomes one by GET, which brings the cookie along.
        _, challenge = verifier_and_challenge()
        asked = {
            "response_type": "code", "client_id": "framed", "redirect_uri": callback, "state": "st",
            "scope": "openid", "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        pages["/ask"] = posting(f"{provider.url}/authorize", asked)
        page.goto(f"{site}/ask")
        page.wait_for_selector("h1:has-text('asks for access')")
        consent = page.url
        # The page that asks is answered by nobody else, and is in nobody's frame.
        fields = {
            each.get_attribute("name"): each.get_attribute("value")
            for each in page.locator("form input").all()
        }
        pages["/agree"] = posting(consent, {**fields, "answer": "agree"})
        page.goto(f"{site}/agree")
        page.wait_for_url(f"{provider.url}/consent**")
        assert page.locator("#agree").count() == 0 and arrived == []
        pages["/sign-out"] = posting(f"{provider.url}/sign-out", {})
        page.goto(f"{site}/sign-out")
        page.wait_for_url(f"{provider.url}/sign-out")
        silent = f"{provider.url}/authorize?{urlencode({**asked, 'prompt': 'none'})}"
        for framed in (consent, silent, f"{provider.url}/sign-in"):
            pages["/frame"] = f'<!doctype html><iframe src="{escape(framed)}"></iframe>'
            page.goto(f"{site}/frame")
            inner = page.frames[1]
            if framed == silent:  # nobody is signed in there: the cookie stays away
                inner.wait_for_url(f"{callback}**")
                assert dict(parse_qsl(urlsplit(inner.url).query))["error"] == "login_required"
            else:
                page.wait_for_load_state()
                assert inner.url.startswith("chrome-error:") or inner.locator("form").count() == 0
        # Still signed in, and nothing has been agreed to.
        page.goto(silent)
        page.wait_for_url(f"{callback}**")
        assert dict(parse_qsl(urlsplit(page.url).query))["error"] == "consent_required"
        context.close()
