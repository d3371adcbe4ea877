"""examples/mcp: the official MCP client connects to it and to the real service, and nobody has
registered anything by hand."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.browsing import Browser
from tests.databases import ROOT
from tests.described import site_of_a_client
from tests.elsewhere import Authority
from tests.interop.deployment import sibling
from tests.serving import ADMIN_PASSWORD, Server
from tests.world import PASSWORD, bearer

if TYPE_CHECKING:  # a second for whoever collects tests, and this one is left out by most
    from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthToken

CALLBACK = "http://127.0.0.1:33418/callback"
UVICORN = [sys.executable, "-m", "uvicorn", "notes:app", "--log-level", "warning", "--port"]
WAYS = ["registers", "is described"]
pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])


class Kept:
    """What the client keeps between two runs."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> "OAuthToken | None":
        return self.tokens

    async def set_tokens(self, tokens: "OAuthToken") -> None:
        self.tokens = tokens

    async def get_client_info(self) -> "OAuthClientInformationFull | None":
        return self.client

    async def set_client_info(self, client_info: "OAuthClientInformationFull") -> None:
        self.client = client_info


@pytest.fixture
def issuer(
    server: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Authority]:
    """The service, which trusts our authority as one of the public ones."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
    return server(REGISTRATION="open", CLIENT_METADATA_DOCUMENTS="true").url, authority


def prepare(issuer: str, resource: str) -> None:
    """A scope of the MCP server that is open to everybody, and a user who holds it."""
    with httpx.Client(base_url=issuer, trust_env=False, timeout=30) as http:
        form = {"grant_type": "password", "username": "admin", "password": ADMIN_PASSWORD}
        token = http.post("/token", data=form | {"scope": "*"}).json()["access_token"]

        def post(path: str, body: dict[str, Any]) -> None:
            answer = http.post(path, json=body, headers=bearer(token))
            assert answer.is_success, answer.text

        scope = {"name": "notes:read", "audience": resource, "open_to_registered": True}
        post("/scopes", scope)
        post("/roles", {"name": "reader", "scopes": ["notes:read"]})
        post("/users", {"username": "ada", "password": PASSWORD, "roles": ["reader"]})


class Person:
    """Somebody at a browser, whom the client sends to the service and waits for."""

    def __init__(self, api: httpx.AsyncClient) -> None:
        self._browser = Browser(api)
        self.saw = ""
        self.sent_to: dict[str, str] = {}

    async def go(self, address: str) -> None:
        page = await self._browser.get(address)
        if "sign-in" in str(page.answer.url):
            page = await self._browser.sign_in(page)
        self.saw = page.text
        self.sent_to = (await self._browser.submit(page, "agree")).sent_to

    async def back(self) -> "AuthorizationCodeResult":
        from mcp.shared.auth import AuthorizationCodeResult

        said = self.sent_to
        return AuthorizationCodeResult(code=said["code"], state=said["state"], iss=said["iss"])


async def ask(address: str, kept: Kept, person: Person, document: str | None) -> str:
    """What the MCP server's tool says to whoever comes with the official client."""
    import httpx2
    from mcp import ClientSession
    from mcp.client.auth import OAuthClientProvider
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared.auth import OAuthClientMetadata

    metadata = OAuthClientMetadata.model_validate(
        {"client_name": "Notebook", "redirect_uris": [CALLBACK]}
    )
    auth = OAuthClientProvider(
        address, metadata, kept, person.go, person.back, client_metadata_url=document
    )
    async with (
        httpx2.AsyncClient(auth=auth, timeout=30, trust_env=False) as http,
        streamable_http_client(address, http_client=http) as (reading, writing),
        ClientSession(reading, writing) as session,
    ):
        await session.initialize()
        answer = await session.call_tool("whoami", {})
        (said,) = answer.content
        return str(getattr(said, "text", ""))


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
async def test_the_official_client_connects_without_registration_by_hand(
    issuer: tuple[str, Authority], tmp_path: Path, way: str
) -> None:
    url, authority = issuer
    notes = sibling(
        lambda port: ["env", f"ADDRESS=http://127.0.0.1:{port}/mcp", *UVICORN, str(port)],
        tmp_path,
        {"ISSUER": url},
        where=ROOT / "examples" / "mcp",
    )
    tls = await asyncio.to_thread(authority.server, "127.0.0.1")
    api = httpx.AsyncClient(base_url=url, trust_env=False, timeout=30)
    with site_of_a_client(tls) as site, notes as at:
        address = f"{at}/mcp"
        await asyncio.to_thread(prepare, url, address)
        grants = ["authorization_code", "refresh_token"]
        site.says(client_name="Notebook", redirect_uris=[CALLBACK], grant_types=grants)
        async with api:
            kept, person = Kept(), Person(api)
            document = site.client_id if way == "is described" else None
            assert await ask(address, kept, person, document) == "These are the notes of ada."
            assert "Notebook" in person.saw and "127.0.0.1" in person.saw
            assert kept.client is not None and kept.tokens is not None
            assert kept.client.client_secret is None
            assert (kept.client.client_id == site.client_id) == (way == "is described")
            assert site.asked == (1 if document else 0)
            assert kept.tokens.refresh_token is not None
            # With what it kept it comes again, and nobody is asked.
            assert await ask(address, kept, person, document) == "These are the notes of ada."
