"""docs/mutual-tls.md: a real nginx and a real HAProxy ask clients for their certificates, in front
of the real service."""

import re
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.certificates import SERVER, Authority, Issued, by_itself, jwk
from tests.databases import ROOT, free_port, wait_until
from tests.serving import ADMIN_PASSWORD, Server
from tests.world import bearer, claims_of

PAGE = (ROOT / "docs" / "mutual-tls.md").read_text()
(NGINX_SAYS,) = re.findall(r"^```nginx\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
(HAPROXY_SAYS,) = re.findall(r"^```haproxy\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SBIN = "/usr/sbin:/usr/local/sbin"
HOME = """pid nginx.pid; daemon off; worker_processes 1; error_log stderr;
events {}
http {
access_log off;
client_body_temp_path body; proxy_temp_path proxy;
fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
"""
DN = "CN=shop,O=Example"
OWN = {"grant_type": "client_credentials", "client_id": "shop", "scope": "users:read"}
FORGED_PEER = "127.0.0.2"


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=SBIN)
    if found is None:
        pytest.skip(f"{name} is not installed (apt-get install {name})")
    return found


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One that nginx's workers may enter, who are nobody where the tests are root."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    made = Authority()
    (folder / "ca.pem").write_bytes(made.own.pem)
    made.issue("CN=localhost", x509.DNSName("localhost"), usage=[SERVER]).write(folder, "server")
    both = (folder / "server.pem").read_bytes() + (folder / "server.key").read_bytes()
    (folder / "both.pem").write_bytes(both)
    return made


def replaced(text: str, **changes: str) -> str:
    for shown, meant in changes.items():
        assert text.count(shown) == 1, shown
        text = text.replace(shown, meant)
    return text


def nginx(folder: Path, port: int, upstream: int) -> list[str]:
    shutil.copy(ROOT / "examples" / "gateway" / "client-cert.conf", folder)
    changes = {
        "listen 443": f"listen 127.0.0.1:{port}",
        "127.0.0.1:8000": f"127.0.0.1:{upstream}",
        "/etc/ssl/identity.example.com.pem": str(folder / "server.pem"),
        "/etc/ssl/identity.example.com.key": str(folder / "server.key"),
    }
    (folder / "nginx.conf").write_text(f"{HOME}{replaced(NGINX_SAYS, **changes)}}}\n")
    return [program("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]


def haproxy(folder: Path, port: int, upstream: int) -> list[str]:
    changes = {
        "bind :443": f"bind 127.0.0.1:{port}",
        "127.0.0.1:8000": f"127.0.0.1:{upstream} maxconn 50",
        "/etc/haproxy/identity.pem": str(folder / "both.pem"),
        "/etc/haproxy/clients-ca.pem": str(folder / "ca.pem"),
        "global\n": "global\n    maxconn 100\n",
    }
    (folder / "haproxy.cfg").write_text(replaced(HAPROXY_SAYS, **changes))
    return [program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


@contextmanager
def in_front_of(upstream: int, folder: Path, kind: str) -> Iterator[int]:
    port = free_port()
    command = (nginx if kind == "nginx" else haproxy)(folder, port, upstream)
    log = folder / f"{kind}.log"
    with log.open("wb") as written:
        process = subprocess.Popen(command, stdout=written, stderr=written)

    def answers() -> bool:
        try:
            with through(port, folder, None) as client:
                return client.get("/healthz").status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_until(answers, 20, log.read_text)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def through(port: int, folder: Path, held: Issued | None) -> httpx.Client:
    """A client that shows `held` to whoever asks for a certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if held is not None:
        name = held.x5t.replace("-", "_")
        context.load_cert_chain(*held.write(folder, name))
    return httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=context, timeout=60)


class Site:
    """The service, its administrator, and the proxy in front of it."""

    def __init__(self, server: Server, port: int, folder: Path) -> None:
        self.server, self.port, self.folder = server, port, folder
        form = {"grant_type": "password", "username": "admin", "password": ADMIN_PASSWORD}
        with httpx.Client(base_url=server.url, timeout=60) as api:
            answer = api.post("/token", data=form | {"scope": "*"})
            self.admin = bearer(answer.json()["access_token"])

    def register(self, client_id: str, **settings: Any) -> None:
        body = {
            "id": client_id, "name": client_id, "type": "confidential",
            "grant_types": ["client_credentials"], "scopes": ["users:read"],
            "tls_client_certificate_bound_access_tokens": True, **settings,
        }  # fmt: skip
        with httpx.Client(base_url=self.server.url, timeout=60) as api:
            answer = api.post("/clients", json=body, headers=self.admin)
            assert answer.status_code == 201, answer.text

    def ask(self, held: Issued | None, client_id: str = "shop", **said: Any) -> httpx.Response:
        with through(self.port, self.folder, held) as client:
            return client.post("/token", data=OWN | {"client_id": client_id}, **said)

    def use(self, token: str, held: Issued | None, **more: str) -> int:
        """What the administration answers to it: through FastAPI."""
        with through(self.port, self.folder, held) as client:
            answer = client.get("/users", headers=bearer(token) | more)
            lane = client.get("/forward-auth", headers=bearer(token) | more)
            assert answer.status_code == lane.status_code
            return answer.status_code


@pytest.fixture
def site(
    server: Callable[..., Server], authority: Authority, folder: Path, kind: str
) -> Iterator[Site]:
    program(kind)
    running = server(
        TRUSTED_PROXIES="127.0.0.1",
        CERTIFICATE_PROXIES="127.0.0.1",
        CERTIFICATE_CA=str(folder / "ca.pem"),
    )
    with in_front_of(running.port, folder, kind) as port:
        yield Site(running, port, folder)


@pytest.mark.parametrize(
    ("kind", "dialect"), [("nginx", "sqlite"), ("nginx", "postgresql"), ("haproxy", "sqlite")]
)
def test_a_client_proves_itself_and_holds_its_tokens_by_its_certificate(
    site: Site, authority: Authority
) -> None:
    site.register(
        "shop", token_endpoint_auth_method="tls_client_auth", tls_client_auth_subject_dn=DN
    )
    own, stranger = authority.issue(DN), Authority("CN=Other").issue(DN)
    big = authority.issue(
        DN, *[x509.DNSName(f"host-{n}.shop.example.com") for n in range(25)],
        key=rsa.generate_private_key(65537, 4096),
    )  # fmt: skip
    answer = site.ask(own)
    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    assert claims_of(token)["cnf"] == {"x5t#S256": own.x5t}
    assert claims_of(site.ask(big).json()["access_token"])["cnf"] == {"x5t#S256": big.x5t}

    # What a client itself says is taken away, once or often, with a certificate or without.
    forged = own.headers["client-cert"]
    for said in (
        [("Client-Cert", forged)],
        [("client-cert", forged)] * 2,
        [("Client_Cert", forged)],
    ):
        for held in (None, stranger):
            answer = site.ask(held, headers=said)
            assert answer.status_code == 401, answer.text
    assert site.ask(own, headers=stranger.headers).status_code == 200
    chain = [("Client-Cert-Chain", "nonsense")] * 2
    assert site.ask(own, headers=chain).status_code == 200

    for held in (
        None,
        stranger,
        by_itself(DN),
        authority.issue("CN=till,O=Example"),
        authority.issue(DN, ends=-timedelta(hours=1)),
        authority.issue(DN, usage=[SERVER]),
    ):
        # A proxy may refuse itself what it finds wrong.
        assert site.ask(held).status_code in (400, 401)
    assert site.use(token, own) == 200
    assert site.use(token, own, **{"Client-Cert": "nonsense"}) == 200
    for held in (None, stranger, authority.issue(DN), big):
        assert site.use(token, held) == 401
        assert site.use(token, held, **own.headers) == 401

    # Whoever gets at the service itself is no proxy.
    transport = httpx.HTTPTransport(local_address=FORGED_PEER)
    with httpx.Client(base_url=site.server.url, transport=transport, timeout=60) as beside:
        assert beside.post("/token", data=OWN, headers=own.headers).status_code == 401
        headers = bearer(token) | own.headers | {"X-Forwarded-For": "127.0.0.1"}
        assert beside.get("/users", headers=headers).status_code == 401

    its_own(site, authority)


def its_own(site: Site, authority: Authority) -> None:
    """The same of a client whose certificate nobody vouches for."""
    own = by_itself(DN)
    site.register(
        "report", token_endpoint_auth_method="self_signed_tls_client_auth",
        jwks={"keys": [jwk(own, whole=True)]},
    )  # fmt: skip
    answer = site.ask(own, "report")
    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    assert claims_of(token)["cnf"] == {"x5t#S256": own.x5t}
    for held in (None, by_itself(DN), by_itself(DN, key=own.key), authority.issue(DN)):
        assert site.ask(held, "report").status_code == 401
    assert site.use(token, by_itself(DN)) == 401
    assert site.use(token, own) == 200


def test_the_proxies_accept_what_is_documented(authority: Authority, folder: Path) -> None:
    """Without a warning."""
    for command in (
        [*haproxy(folder, free_port(), free_port()), "-c", "-dW"],
        [*nginx(folder, free_port(), free_port()), "-t"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0 and "warn" not in done.stderr, done.stderr
