"""The two guides, docs/sign-in-web-app.md and docs/sign-in-single-page-app.md: the code that they
show is that of `examples/`, and signs somebody in in a real browser."""

import functools
import re
import sys
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.databases import ROOT, free_port
from tests.interop.deployment import sibling
from tests.parties.provider import NAME, Person, Provider

EXAMPLES = ROOT / "examples"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def single_page(single_page_port: int, provider: Provider, tmp_path: Path) -> Iterator[str]:
    """The example on a server that knows nothing but files; its address."""
    for file in (EXAMPLES / "single_page").iterdir():
        text = file.read_text().replace("http://127.0.0.1:8000", provider.url)
        (tmp_path / file.name).write_text(text)
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", single_page_port), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{single_page_port}/"
    server.shutdown()
    server.server_close()


def test_authlib_in_a_starlette_app(provider: Provider, person: Person, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    secret = provider.client(
        "web-app", f"{url}/signed-in", post_logout_redirect_uris=[f"{url}/"],
        token_endpoint_auth_method="client_secret_basic",
    )  # fmt: skip
    settings = {"ISSUER": provider.url, "CLIENT_ID": "web-app", "CLIENT_SECRET": secret}
    program = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES / "web_app"), "app:app"]

    with sibling(lambda _: [*program, "--port", str(port)], tmp_path, settings, at=port):
        page = person.page
        page.goto(url)
        person.sees("Nobody")
        page.click("a")
        person.signs_in(until=f"{url}/")
        person.sees(NAME)
        page.click("button")
        page.wait_for_url(f"{url}/")  # by way of our own sign-out, which needs no question
        person.sees("Nobody")
        page.goto(f"{provider.url}/sign-in")
        page.wait_for_selector("h1:has-text('Sign in')")
        # What did not begin in this browser does not end in it.
        answer = page.goto(f"{url}/signed-in?code=ac_{'A' * 43}&state=x&iss={provider.url}")
        assert answer.status == 400
        person.complaints.clear()  # the browser tells of that status


def test_a_single_page_without_a_library(
    provider: Provider, person: Person, single_page: str
) -> None:
    provider.client(
        "single-page", single_page, type="public", post_logout_redirect_uris=[single_page]
    )
    page = person.page
    page.goto(single_page)
    person.sees("Nobody")
    page.click("#sign-in")
    person.signs_in(until=single_page)
    person.sees(NAME)
    assert page.url == single_page  # no code is left in the address
    assert page.evaluate("sessionStorage.length + localStorage.length") == 0
    page.click("#sign-out")
    page.wait_for_url(single_page)
    person.sees("Nobody")
    for answer in (
        "state=theirs&code=ac_x",
        "state=&code=ac_x",
        "state=theirs&error=access_denied",
    ):
        page.goto(f"{single_page}?{answer}&iss={provider.url}")
        if not answer.startswith("state=&"):
            person.sees("not our state")
    page.click("#sign-in")
    page.wait_for_selector("h1:has-text('Sign in')")


def shown(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("page", "language", "file"),
    [
        ("sign-in-web-app.md", "python", "web_app/app.py"),
        ("sign-in-single-page-app.md", "js", "single_page/app.js"),
    ],
)
def test_the_code_that_a_guide_shows_is_that_of_the_example(
    page: str, language: str, file: str
) -> None:
    code = (EXAMPLES / file).read_text()
    blocks = shown(page, language)
    assert blocks
    for block in blocks:
        assert block in code
