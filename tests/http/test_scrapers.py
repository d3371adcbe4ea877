"""Who may read /metrics."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from identity.app import create_app
from tests.serving import running
from tests.transport import as_served
from tests.world import bearer

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])
SECRET = "secret-of-the-scraper"
Scrape = Callable[..., Any]


@pytest.fixture
async def scrape(make_settings: Callable[..., Any]) -> AsyncIterator[Scrape]:
    """`await scrape(settings, peer, headers)`: the answer of a service made for it."""
    async with AsyncExitStack() as open_ones:

        async def ask(
            settings: dict[str, str], peer: str, headers: dict[str, str] | None = None
        ) -> httpx.Response:
            app = create_app(make_settings(**settings))
            await open_ones.enter_async_context(running(app))
            transport = httpx.ASGITransport(app=as_served(app), client=(peer, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
                return await client.get("/metrics", headers=headers)

        yield ask


@pytest.mark.parametrize("peer", ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7"])
async def test_only_named_addresses_read_the_numbers(scrape: Scrape, peer: str) -> None:
    allowed = {"metrics_allow": "192.0.2.0/24, 2001:db8::7"}
    assert (await scrape(allowed, peer)).status_code == 200
    for stranger in ("192.0.3.1", "2001:db8::8"):
        refused = await scrape(allowed, stranger)
        assert refused.status_code == 403
        assert "192.0.2" not in refused.text and "identity_" not in refused.text
        assert (await scrape(allowed, stranger, bearer(SECRET))).status_code == 403


async def test_a_secret_is_as_good_as_an_address(scrape: Scrape) -> None:
    allowed = {"metrics_allow": f"192.0.2.1 token:{SECRET} token:another-secret-of-16"}
    assert (await scrape(allowed, "192.0.2.1")).status_code == 200
    assert (await scrape(allowed, "192.0.2.9", bearer(SECRET))).status_code == 200
    assert (await scrape(allowed, "192.0.2.9", bearer("another-secret-of-16"))).status_code == 200
    missing = await scrape(allowed, "192.0.2.9")
    assert missing.status_code == 401
    assert missing.headers["www-authenticate"] == 'Bearer realm="identity"'
    for wrong in (SECRET[:-1], SECRET + "x", "", SECRET.upper()):
        answer = await scrape(allowed, "192.0.2.9", bearer(wrong))
        assert answer.status_code == 401, wrong
        assert SECRET not in answer.text


async def test_behind_a_trusted_proxy_the_client_counts(scrape: Scrape) -> None:
    behind = {"metrics_allow": "192.0.2.1 10.0.0.1", "trusted_proxies": "10.0.0.1"}
    near, far = ({"x-forwarded-for": host} for host in ("192.0.2.1", "192.0.2.9"))
    assert (await scrape(behind, "10.0.0.1", near)).status_code == 200
    assert (await scrape(behind, "10.0.0.1", far)).status_code == 403
    assert (await scrape(behind, "192.0.2.9", near)).status_code == 403


async def test_without_the_setting_everybody_may(scrape: Scrape) -> None:
    assert (await scrape({}, "192.0.2.9")).status_code == 200
