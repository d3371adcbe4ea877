"""Relying parties as others wrote them, unmodified, by their own documentation: each signs somebody
in through our pages in a real browser. `make parties` installs and runs them;
docs/relying-parties.md tells what each of them needed."""

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE, Popen
from threading import Thread
from typing import Any

import pytest

from tests.databases import free_port
from tests.interop.deployment import sibling
from tests.interop.npm import installed
from tests.parties.provider import EMAIL, NAME, Person, Provider, somewhere

HERE = Path(__file__).parent


# --- Libraries: a script that is told the address at which the browser arrived --------------------


@contextmanager
def script(command: Sequence[str | Path], folder: Path, settings: dict[str, str]) -> Iterator[Any]:
    with (
        (folder / "script.log").open("wb") as log,
        Popen(
            [str(each) for each in command],
            cwd=folder,
            env=os.environ | settings,
            stdin=PIPE,
            stdout=PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):

        def ask(line: str | None = None) -> dict[str, Any]:
            assert process.stdin and process.stdout
            if line is not None:
                process.stdin.write(line + "\n")
                process.stdin.flush()
            said = process.stdout.readline()
            assert said, (folder / "script.log").read_text()
            document: dict[str, Any] = json.loads(said)
            return document

        yield ask
        process.terminate()


def signs_somebody_in(
    name: str, command: Sequence[str | Path], folder: Path, provider: Provider, person: Person
) -> None:
    with somewhere() as (origin, arrived):
        callback, after = f"{origin}/callback", f"{origin}/after"
        secret = provider.client(name, callback, post_logout_redirect_uris=[after])
        settings = {"ISSUER": provider.url, "CLIENT_ID": name, "CLIENT_SECRET": secret,
                    "REDIRECT_URI": callback, "AFTER": after}  # fmt: skip
        with script(command, folder, settings) as ask:
            person.page.goto(ask()["go"])
            person.signs_in(until=callback)
            told = ask(arrived[-1])
        assert told["sub"] == told["again"] == told["userinfo"]["sub"] == provider.sub
        assert (told["userinfo"]["name"], told["userinfo"]["email"]) == (NAME, EMAIL)
        person.page.goto(told["leave"])
        person.page.wait_for_url(f"{after}**")


@pytest.mark.parametrize("library", ["openid-client", "oauth4webapi"])
def test_a_library_on_node(
    library: str,
    with_npm: None,
    provider: Provider,
    person: Person,
    request: pytest.FixtureRequest,
) -> None:
    folder = installed(HERE / "node" / "package.json", request.config)
    shutil.copy(HERE / "node" / f"{library}.mjs", folder)
    signs_somebody_in(library, ["node", f"{library}.mjs"], folder, provider, person)


GO = shutil.which("go")
GO_PACKAGES = Path("/usr/share/gocode")
"""Where Debian puts the sources of Go's libraries."""


@pytest.mark.skipif(
    GO is None or not (GO_PACKAGES / "src/github.com/coreos/go-oidc").exists(),
    reason="no go-oidc here (Debian: golang-go, golang-github-coreos-go-oidc-dev)",
)
def test_go_oidc(provider: Provider, person: Person, tmp_path: Path) -> None:
    program = tmp_path / "go_oidc"
    how = {"GO111MODULE": "off", "GOPATH": str(GO_PACKAGES), "GOCACHE": str(tmp_path / "cache"),
           "GOFLAGS": "", "GOTOOLCHAIN": "local"}  # fmt: skip
    build = [str(GO), "build", "-o", str(program), str(HERE / "go" / "go_oidc.go")]
    subprocess.run(build, check=True, env=os.environ | how)
    signs_somebody_in("go-oidc", [program], tmp_path, provider, person)


def test_requests_oauth2client(
    others: Path, provider: Provider, person: Person, tmp_path: Path
) -> None:
    program = [others, HERE / "requests_oauth2client.py"]
    # By that name its own directory would hide the library.
    shutil.copy(HERE / "requests_oauth2client.py", tmp_path / "program.py")
    program[1] = tmp_path / "program.py"
    signs_somebody_in("requests-oauth2client", program, tmp_path, provider, person)


# --- Sites: servers with pages of their own ------------------------------------------------------


@pytest.mark.parametrize(
    ("library", "callback"),
    [
        ("mozilla", "/oidc/callback/"),
        ("allauth", "/accounts/oidc/identity/login/callback/"),
    ],
)
def test_a_django_site(
    library: str,
    callback: str,
    others: Path,
    provider: Provider,
    person: Person,
    tmp_path: Path,
) -> None:
    port, name = free_port(), f"site-with-{library}"
    url = f"http://127.0.0.1:{port}"
    secret = provider.client(name, f"{url}{callback}")
    settings = {"ISSUER": provider.url, "CLIENT_ID": name, "CLIENT_SECRET": secret}
    program = HERE / "django" / f"site_with_{library}.py"
    with sibling(lambda _: [str(others), str(program), str(port)], tmp_path, settings, at=port):
        person.page.goto(url)
        person.sees("Nobody")
        person.page.click("a")
        person.signs_in(until=f"{url}/")
        person.sees(EMAIL)


# --- A single page ---------------------------------------------------------------------------


def test_oidc_client_ts_in_a_static_page(
    with_npm: None,
    provider: Provider,
    person: Person,
    single_page_port: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    modules = installed(HERE / "node" / "package.json", request.config) / "node_modules"
    script = modules / "oidc-client-ts" / "dist" / "browser" / "oidc-client-ts.min.js"
    shutil.copy(script, tmp_path)
    page = (HERE / "static_page.html").read_text().replace("ISSUER", provider.url)
    (tmp_path / "index.html").write_text(page)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", single_page_port), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{single_page_port}/"
    provider.client("static-page", url, type="public", post_logout_redirect_uris=[url])
    try:
        person.page.goto(url)
        person.sees("Nobody")
        person.page.click("#sign-in")
        person.signs_in(until=url)
        person.sees(NAME)
        person.page.click("#refresh")
        person.sees("refreshed")
        person.page.click("#sign-out")
        person.page.wait_for_url(url)
        person.sees("Nobody")
    finally:
        server.shutdown()
        server.server_close()
