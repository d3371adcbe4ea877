"""docs/haproxy.md: HAProxy accepts what it shows, and does with requests what it says."""

import re
import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.databases import ROOT, free_port, wait_until

HAPROXY = shutil.which("haproxy") or "/usr/sbin/haproxy"
PAGE = (ROOT / "docs" / "haproxy.md").read_text()
FRONT, PATRONI = re.findall(r"^```haproxy\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(not Path(HAPROXY).exists(), reason="haproxy is not installed")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "identity.example.com")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("haproxy") / "identity.pem"
    pem = serialization.Encoding.PEM
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(pem, *plain) + made.public_bytes(pem))
    return path


@pytest.mark.parametrize("text", [FRONT, PATRONI], ids=["service", "patroni"])
def test_haproxy_accepts_the_documented_configuration(
    text: str, certificate: Path, tmp_path: Path
) -> None:
    written = tmp_path / "haproxy.cfg"
    written.write_text(text.replace("/etc/haproxy/identity.pem", str(certificate)))
    command = [HAPROXY, "-c", "-dW", "-f", str(written)]  # a warning is a refusal
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Backend:
    """Alive for whoever checks. It answers requests, or hangs up on them where it `fails`."""

    def __init__(self, *, fails: bool) -> None:
        self.fails = fails
        self.seen: Counter[str] = Counter()
        self.checked = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    return
                head += piece
            path = head.split()[1].decode()
            if path == "/readyz":
                self.checked += 1
            else:
                self.seen[path] += 1
                if self.fails:
                    return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@contextmanager
def in_front_of(certificate: Path, folder: Path, *backends: Backend) -> Iterator[httpx.Client]:
    port = free_port()
    text = FRONT.replace("/etc/haproxy/identity.pem", str(certificate))
    text = text.replace("bind :443", f"bind 127.0.0.1:{port}")
    text = text.replace("maxconn 20000", "maxconn 200")  # files are few here
    for shown, backend in zip(("10.0.0.11:8000", "10.0.0.12:8000"), backends, strict=True):
        assert text.count(shown) == 1
        text = text.replace(shown, f"127.0.0.1:{backend.port}")
    (folder / "haproxy.cfg").write_text(text)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [HAPROXY, "-db", "-f", str(folder / "haproxy.cfg")], stdout=log, stderr=log
        )
    try:
        wait_until(
            lambda: all(backend.checked for backend in backends), 10, (folder / "log").read_text
        )
        # A request that is not the first on its connection gets no 502: HAProxy closes, so that
        # the client may decide.
        limits = httpx.Limits(max_keepalive_connections=0)
        address = f"https://127.0.0.1:{port}"
        with httpx.Client(base_url=address, verify=False, trust_env=False, limits=limits) as client:
            yield client
    finally:
        process.kill()
        process.wait(10)
        for backend in backends:
            backend.listener.close()


def test_what_only_asks_is_asked_again_and_what_changes_something_is_not(
    certificate: Path, tmp_path: Path
) -> None:
    dying, well = Backend(fails=True), Backend(fails=False)
    with in_front_of(certificate, tmp_path, dying, well) as client, closing(dying.listener):
        for _ in range(12):
            assert client.get("/.well-known/jwks.json").status_code == 200
            assert client.post("/introspect", data={"token": "x"}).status_code == 200
        answers = Counter(client.post("/token", data={"a": "b"}).status_code for _ in range(12))
        assert dying.seen["/.well-known/jwks.json"] > 0 and dying.seen["/introspect"] > 0
        assert answers[200] == well.seen["/token"]
        assert answers[502] == dying.seen["/token"] > 0
        assert sum(answers.values()) == 12
        assert client.get("/metrics").status_code == 403
