"""examples/node: the sibling on node beside the real service. jose comes by npm, outside of the
repository; all else is loopback."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from identity.verifier.gate.algorithms import ALGORITHMS
from tests.databases import ROOT, free_port
from tests.interop.deployment import AUDIENCE, Deployment, bearer, seconds_until, sibling
from tests.interop.npm import installed
from tests.verifier.forge import attacks
from tests.verifier.forger import Forger
from tests.world import claims_of

EXAMPLE = ROOT / "examples" / "node"
BOUND = 6.0
"""Seconds: the lists' `ttl`, and the least time between two makings of one."""


@contextmanager
def running(config: pytest.Config, folder: Path, settings: dict[str, str]) -> Iterator[str]:
    """The sibling as a process; its address."""
    modules = installed(EXAMPLE / "package.json", config) / "node_modules"
    for file in ("package.json", "identity.mjs", "orders.mjs"):
        shutil.copy(EXAMPLE / file, folder)
    (folder / "node_modules").symlink_to(modules)

    def command(port: int) -> list[str]:
        settings["PORT"] = str(port)
        return ["node", "orders.mjs"]

    with sibling(command, folder, settings) as url:
        yield url


@pytest.fixture(scope="module")
def orders(
    request: pytest.FixtureRequest,
    deployment: Deployment,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[httpx.Client]:
    settings = {"ISSUER": deployment.url, "AUDIENCE": AUDIENCE}
    with (
        running(request.config, tmp_path_factory.mktemp("node"), settings) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        yield client


def challenge(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.headers["www-authenticate"])


def test_a_good_token_gets_in(orders: httpx.Client, deployment: Deployment) -> None:
    for username in ("ada", "bob"):
        answer = orders.get("/", headers=bearer(deployment.token(username)))
        assert (answer.status_code, answer.json()["of"]) == (200, username), answer.text


def test_without_a_token_or_the_scope_the_client_is_told_what_it_needs(
    orders: httpx.Client, deployment: Deployment
) -> None:
    assert challenge(orders.get("/"), 401) == 'Bearer scope="orders:read"'
    narrow = deployment.token("ada", scope="orders:write")
    said = challenge(orders.get("/", headers=bearer(narrow)), 403)
    assert 'error="insufficient_scope", scope="orders:read"' in said


def test_a_broken_token_opens_nothing(orders: httpx.Client, deployment: Deployment) -> None:
    good = deployment.token()
    stranger = Forger(ALGORITHMS["ES256"].generate(), "unknown", "ES256", claims_of(good))
    broken = [token for _, token in attacks(stranger.private_key, "x", "ES256", stranger.claims)]
    broken += [good[:-6] + "AAAAAA", good + "A", deployment.token(resource=deployment.url)]
    for token in [stranger.token(), *broken[::4], *broken[-3:]]:
        answer = orders.get("/", headers=bearer(token))
        assert answer.status_code == 401, (token, answer.text)


def test_a_status_list_tells_it_of_a_revocation(
    orders: httpx.Client, deployment: Deployment
) -> None:
    """Of a token itself, and of the session that a refresh token keeps."""
    one, session, other = deployment.log_in(), deployment.log_in(), deployment.token()
    headers = [bearer(each["access_token"]) for each in (one, session)]
    assert {orders.get("/", headers=header).status_code for header in headers} == {200}
    revoked = deployment.revoke(one["access_token"])
    deployment.revoke(session["refresh_token"])

    def refused() -> bool:
        return {orders.get("/", headers=header).status_code for header in headers} == {401}

    assert seconds_until(refused, revoked, BOUND + 10) < BOUND
    assert orders.get("/", headers=bearer(other)).status_code == 200


def test_while_the_service_is_away_it_lets_nobody_in(
    request: pytest.FixtureRequest, deployment: Deployment, tmp_path: Path
) -> None:
    nowhere = {"ISSUER": f"http://127.0.0.1:{free_port()}", "AUDIENCE": AUDIENCE}
    with running(request.config, tmp_path, nowhere) as url:
        answer = httpx.get(url, headers=bearer(deployment.token()), trust_env=False)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert httpx.get(url, trust_env=False).status_code == 401


def test_no_file_of_it_names_a_registry() -> None:
    for file in (*EXAMPLE.iterdir(), *(ROOT / "tests" / "interop" / "node").iterdir()):
        if file.is_file():
            assert not re.search(r"registry|resolved|integrity", file.read_text()), file
            assert file.name != "package-lock.json"
