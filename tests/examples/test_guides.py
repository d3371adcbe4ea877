"""The guides "Sign in with Identity" for what is no web page: the code that they show is that of
`examples/`, and signs somebody in, or a program, at the real service."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from importlib import util
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from identity.testing.service import ADMIN, Service, make_template
from tests.databases import ROOT, environment
from tests.signing import Signer, said

EXAMPLES = ROOT / "examples"
GUIDES = [
    ("sign-in-phone-app.md", "phone_app/notes.py"),
    ("sign-in-command-line-tool.md", "command_line/sign_in.py"),
    ("sign-in-television.md", "television/tv.py"),
    ("sign-in-microservice.md", "microservice/report.py"),
]


@pytest.mark.parametrize(("page", "file"), GUIDES)
def test_the_code_that_a_guide_shows_is_that_of_the_example(page: str, file: str) -> None:
    text, code = (ROOT / "docs" / page).read_text(), (EXAMPLES / file).read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        assert block in code


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    template = make_template(tmp_path_factory.mktemp("template"))
    with Service(template, tmp_path_factory.mktemp("guides")) as service:
        boss = Boss(service)
        boss("POST", "/users", {"username": "grace", "password": "tangerine harbour 71",
                                "name": "Grace Hopper"})  # fmt: skip
        yield service


class Boss:
    def __init__(self, service: Service) -> None:
        self._url = service.url
        form = {"grant_type": "password", "scope": "*"}
        form |= {"username": ADMIN[0], "password": ADMIN[1]}
        answer = httpx.post(f"{self._url}/token", data=form, trust_env=False, timeout=60)
        self._headers = {"authorization": f"Bearer {answer.json()['access_token']}"}

    def __call__(self, method: str, path: str, document: Any) -> Any:
        answer = httpx.request(
            method,
            f"{self._url}{path}",
            json=document,
            headers=self._headers,
            trust_env=False,
            timeout=60,
        )
        assert answer.is_success, answer.text
        return answer.json()


def registered(service: Service, page: str, client_id: str) -> None:
    """The client that the guide's command makes, made over HTTP."""
    text = (ROOT / "docs" / page).read_text()
    (command,) = re.findall(rf"^identity clients create {client_id} (.*)$", text, re.MULTILINE)
    chosen: dict[str, Any] = {
        "id": client_id,
        "name": client_id,
        "type": "public" if "--public" in command else "confidential",
        "grant_types": re.findall(r"--grant (\S+)", command),
        "scopes": re.findall(r"--scope (\S+)", command),
    }
    for uri in re.findall(r"--set redirect_uris=(\S+)", command):
        chosen.setdefault("redirect_uris", []).append(uri)
    Boss(service)("POST", "/clients", chosen)


class _Form(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.action, self.fields = "", {}  # type: ignore[var-annotated]
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = known.get("action", "")
        elif tag == "input" and "name" in known:
            self.fields[known["name"]] = known.get("value", "")


class Telephone:
    """A person's browser: it signs in, agrees, and stops where somebody else is led to."""

    def __init__(self, service: Service) -> None:
        self._url = service.url

    def opens(self, address: str, **typed: str) -> str:
        """Where it ends up, or "" where it stays."""
        with httpx.Client(trust_env=False, timeout=60, headers={"origin": self._url}) as http:
            return self._opens(http, address, typed)

    def _opens(self, http: httpx.Client, address: str, typed: dict[str, str]) -> str:
        answer = http.get(address)
        for _ in range(12):
            if answer.is_redirect:
                target = urljoin(str(answer.url), answer.headers["location"])
                if not target.startswith(f"{self._url}/"):
                    return target
                answer = http.get(target)
                continue
            form = _Form(answer.text)
            if not form.action:
                return ""
            fields = {**form.fields, **{n: v for n, v in typed.items() if n in form.fields}}
            if "password" in fields:
                fields |= {"username": "grace", "password": "tangerine harbour 71"}
            elif 'value="agree"' in answer.text:
                fields["answer"] = "agree"
            answer = http.post(urljoin(str(answer.url), form.action), data=fields)
        raise AssertionError("sent around in circles")


@contextmanager
def program(file: str, service: Service, **settings: str) -> Iterator[Any]:
    """The example as it is started by hand; nobody's browser opens."""
    around = environment() | {"ISSUER": service.url, "BROWSER": "true", "no_proxy": "*"} | settings
    command = [sys.executable, str(EXAMPLES / file)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=around
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_command_line_tool(service: Service) -> None:
    registered(service, "sign-in-command-line-tool.md", "command-line")
    with program("command_line/sign_in.py", service) as tool:
        assert tool.stdout.readline() == "Sign in with your browser:\n"
        back = Telephone(service).opens(tool.stdout.readline().strip())
        assert back.startswith("http://127.0.0.1:") and "code=" in back
        with httpx.Client(trust_env=False, timeout=60) as browser:
            origin = back.partition("/callback")[0]
            assert browser.get(f"{origin}/favicon.ico").status_code == 404
            assert browser.get(back).status_code == 200
        assert tool.stdout.read() == "Hello Grace Hopper\n"
        assert tool.wait(30) == 0


def test_what_did_not_begin_in_the_tool_does_not_end_in_it(service: Service) -> None:
    with program("command_line/sign_in.py", service) as tool:
        tool.stdout.readline()
        address = httpx.URL(tool.stdout.readline().strip())
        redirect_uri = address.params["redirect_uri"]
        with httpx.Client(trust_env=False, timeout=60) as browser:
            browser.get(redirect_uri, params={"code": "ac_x", "state": "x", "iss": service.url})
        assert "another question" in tool.stdout.read()
        assert tool.wait(30) != 0


def test_a_television(service: Service) -> None:
    registered(service, "sign-in-television.md", "tv-app")
    with program("television/tv.py", service, CLIENT_ID="tv-app") as tv:
        address = tv.stdout.readline().removeprefix("Open ").strip()
        code = tv.stdout.readline().removeprefix("and type ").strip()
        assert address == f"{service.url}/device"
        Telephone(service).opens(address, user_code=code)
        assert tv.stdout.read() == "Hello Grace Hopper\n"
        assert tv.wait(30) == 0


def test_a_phone_app(service: Service) -> None:
    registered(service, "sign-in-phone-app.md", "phone-app")
    spec = util.spec_from_file_location("notes", EXAMPLES / "phone_app" / "notes.py")
    assert spec is not None and spec.loader is not None
    notes: Any = util.module_from_spec(spec)
    spec.loader.exec_module(notes)
    metadata = httpx.get(
        f"{service.url}/.well-known/openid-configuration", trust_env=False, timeout=60
    ).json()
    waiting = notes.begin(metadata)
    opened = Telephone(service).opens(waiting.address)
    assert opened.startswith(f"{notes.REDIRECT_URI}?")
    other = waiting._replace(state="another")
    with pytest.raises(ValueError, match="another question"):
        notes.finish(metadata, other, opened)
    tokens = notes.finish(metadata, waiting, opened)
    again = notes.refresh(metadata, tokens["refresh_token"])
    assert again["access_token"] and again["refresh_token"] != tokens["refresh_token"]


def test_a_microservice_without_secrets(service: Service, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "sign-in-microservice.md").read_text()
    cluster, subject = (
        "https://kubernetes.default.svc.cluster.local",
        re.findall(r"system:serviceaccount:[a-z:]+", text)[0],
    )
    signer, boss = Signer("RS256"), Boss(service)
    boss("POST", "/trusted-issuers", {"issuer": cluster, "jwks": signer.jwks})
    boss("POST", "/clients", {
        "id": "report", "name": "Nightly report", "grant_types": ["client_credentials"],
        "scopes": ["introspect"], "token_endpoint_auth_method": "workload_identity",
        "workloads": {cluster: subject},
    })  # fmt: skip
    file = tmp_path / "identity"
    for who, works in ((subject, True), ("system:serviceaccount:shop:other", False)):
        file.write_text(signer.sign(said("x", service.url, iss=cluster, sub=who)) + "\n")
        with program("microservice/report.py", service, TOKEN_FILE=str(file)) as report:
            shown = report.stdout.read()
            assert (report.wait(30) == 0) == works, shown
            assert (shown == "A token for 900 seconds\n") == works
