"""examples/gateway: the real nginx between a client, the real service, and an upstream that knows
nothing of tokens but shows what it was sent."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from identity.verifier.testing.proofs import ProofKey
from tests.databases import ROOT, free_port
from tests.interop.deployment import AUDIENCE, Deployment, bearer, sibling
from tests.world import PASSWORD

CONFIG = (ROOT / "examples" / "gateway" / "nginx.conf").read_text()
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
TOLD = (
    "x-user", "x-subject", "x-subject-type", "x-client", "x-scopes", "x-roles", "x-session",
)  # fmt: skip

pytestmark = pytest.mark.skipif(NGINX is None, reason="no nginx here (apt-get install nginx)")

UPSTREAM = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Echo(BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.dumps([[name.lower(), value] for name, value in self.headers.items()]).encode()
        self.send_response(500 if self.path == "/broken" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_DELETE = do_GET
    def log_message(self, *arguments):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
"""


def config(port: int, identity: str, orders: str) -> str:
    """The example's, with other ports; nothing else of it changes."""
    ports = {"8080": str(port), "8000": identity.rpartition(":")[2]}
    ports["8081"] = orders.rpartition(":")[2]
    changed, count = re.subn(
        r"(?<=127\.0\.0\.1:)(8080|8000|8081)\b", lambda found: ports[found[1]], CONFIG
    )
    assert count == 3
    return changed


def nginx(port: int, folder: Path, identity: str, orders: str) -> list[str]:
    assert NGINX is not None
    (folder / "temp").mkdir(exist_ok=True)
    (folder / "nginx.conf").write_text(config(port, identity, orders))
    return [NGINX, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("upstream")
    (folder / "echo.py").write_text(UPSTREAM)
    with sibling(lambda port: [sys.executable, "echo.py", str(port)], folder, {}) as url:
        yield url


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One that nginx's workers may enter, who are nobody where the tests are root."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def gateway(deployment: Deployment, upstream: str, folder: Path) -> Iterator[httpx.Client]:
    with (
        sibling(lambda port: nginx(port, folder, deployment.url, upstream), folder, {}) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        yield client


def seen(answer: httpx.Response) -> dict[str, str]:
    """The headers that the upstream got, each of them once."""
    assert answer.status_code == 200, answer.text
    headers: list[tuple[str, str]] = [tuple(each) for each in answer.json()]
    assert len(dict(headers)) == len(headers)
    return dict(headers)


def challenge(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    challenges: list[str] = answer.headers.get_list("www-authenticate")
    assert len(challenges) == 1
    return challenges[0]


def test_the_upstream_is_told_who_asks(gateway: httpx.Client, deployment: Deployment) -> None:
    tokens = deployment.log_in("ada", scope="orders:read")
    headers = seen(gateway.get("/orders", headers=bearer(tokens["access_token"])))
    me = deployment.administer("GET", "/users?q=ada")["items"][0]["id"]
    told = {name: headers[name] for name in TOLD}
    assert told.pop("x-session")
    assert told == {
        "x-user": "ada",
        "x-subject": me,
        "x-subject-type": "user",
        "x-client": "storefront",
        "x-scopes": "orders:read",
        "x-roles": "role-of-ada",
    }
    assert "authorization" not in headers


def test_a_body_reaches_the_upstream_and_not_the_service(
    gateway: httpx.Client, deployment: Deployment
) -> None:
    header = bearer(deployment.token("ada"))
    for size in (1, 100_000):
        headers = seen(gateway.post("/orders", headers=header, content=b"x" * size))
        assert headers["content-length"] == str(size)


def test_without_a_token_the_client_is_challenged(gateway: httpx.Client) -> None:
    needed = challenge(gateway.get("/orders"), 401)
    assert needed.startswith('Bearer realm="identity", scope="orders:read", DPoP algs="ES256 ')
    assert 'scope="orders:write"' in challenge(gateway.delete("/orders"), 401)


def test_a_token_that_is_bound_to_a_key_passes_with_its_proof(
    gateway: httpx.Client, deployment: Deployment
) -> None:
    key, outside = ProofKey(), "https://orders.example.com/orders"
    proof = key.proof("POST", f"{deployment.url}/token")
    form = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    form |= {"client_id": "storefront", "resource": AUDIENCE, "scope": "orders:read"}
    answer = deployment.http.post("/token", data=form, headers={"dpop": proof})
    token = answer.json()["access_token"]
    headers = seen(gateway.get("/orders?page=2", headers=key.headers("GET", outside, token)))
    assert headers["x-user"] == "ada" and not {"dpop", "authorization"} & headers.keys()
    for sent in (bearer(token), key.headers("GET", f"{outside}/1", token)):
        assert challenge(gateway.get("/orders", headers=sent), 401).startswith("DPoP ")
    strange = key.headers("GET", outside, token, nonce="strange")
    nonce = gateway.get("/orders", headers=strange).headers["dpop-nonce"]
    seen(gateway.get("/orders", headers=key.headers("GET", outside, token, nonce=nonce)))


def test_a_token_that_is_not_good_here_is_refused(
    gateway: httpx.Client, deployment: Deployment
) -> None:
    elsewhere = deployment.token(resource=deployment.url)
    good = deployment.token()
    for token in ("nonsense", good[:-6] + "AAAAAA", elsewhere):
        assert 'error="invalid_token"' in challenge(gateway.get("/", headers=bearer(token)), 401)


def test_a_missing_scope_is_403_and_names_what_is_needed(
    gateway: httpx.Client, deployment: Deployment
) -> None:
    header = bearer(deployment.token("bob"))
    seen(gateway.get("/orders", headers=header))
    for method in ("POST", "DELETE", "PROPFIND"):
        said = challenge(gateway.request(method, "/orders", headers=header), 403)
        assert 'error="insufficient_scope"' in said
        assert 'scope="orders:write"' in said


def test_nobody_can_say_who_they_are_by_themselves(
    gateway: httpx.Client, deployment: Deployment
) -> None:
    """Also not as WSGI would read it, where X_User is X-User; nor by naming what nginx names."""
    spoofed = dict.fromkeys(TOLD, "root") | {name.replace("-", "_"): "root" for name in TOLD}
    assert gateway.get("/orders", headers=spoofed).status_code == 401
    for username in ("ada", "bob"):
        answer = gateway.get("/orders", headers=bearer(deployment.token(username)) | spoofed)
        assert seen(answer)["x-user"] == username
        assert "root" not in answer.text
    for path in ("/_identity", "/_identity?scope=", "/orders?scope=&audience="):
        assert gateway.get(path, headers=spoofed).status_code in (401, 404)


def test_the_needed_scope_is_the_gateways_to_say(
    gateway: httpx.Client, deployment: Deployment
) -> None:
    header = bearer(deployment.token("bob"))
    for trick in ("/orders?scope=orders:read", "/orders?x=%26scope=", "/_identity/../orders"):
        assert gateway.post(trick, headers=header).status_code == 403
    method = {"X-HTTP-Method-Override": "GET", "X-Original-Method": "GET"}
    assert gateway.post("/orders", headers=header | method).status_code == 403


def test_two_authorization_headers_open_nothing_twice(
    gateway: httpx.Client, deployment: Deployment
) -> None:
    good = f"Bearer {deployment.token('bob')}"
    for order in ([good, "Bearer x"], ["Bearer x", good], [good, good]):
        headers = [("authorization", each) for each in order]
        answer = gateway.get("/orders", headers=headers)
        if answer.status_code == 200:
            assert "authorization" not in seen(answer)
        else:
            assert answer.status_code in (400, 401)


def test_a_revoked_token_opens_nothing_from_then_on(
    gateway: httpx.Client, deployment: Deployment
) -> None:
    token = deployment.token()
    seen(gateway.get("/orders", headers=bearer(token)))
    deployment.revoke(token)
    challenge(gateway.get("/orders", headers=bearer(token)), 401)


def test_an_upstreams_own_failure_stays_its_own(
    gateway: httpx.Client, deployment: Deployment
) -> None:
    answer = gateway.get("/broken", headers=bearer(deployment.token()))
    assert answer.status_code == 500
    assert json.loads(answer.text)


def test_while_the_service_is_away_nothing_passes_and_clients_may_come_back(
    upstream: str, deployment: Deployment, tmp_path: Path
) -> None:
    token = deployment.token()
    nowhere = f"http://127.0.0.1:{free_port()}"
    with sibling(lambda port: nginx(port, tmp_path, nowhere, upstream), tmp_path, {}) as url:
        for headers in ({}, bearer(token)):
            answer = httpx.get(f"{url}/orders", headers=headers, trust_env=False)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_the_example_opens_no_port_to_others() -> None:
    assert set(re.findall(r"[\d.]+(?=:\d{4})", CONFIG)) == {"127.0.0.1"}
    assert AUDIENCE in CONFIG
