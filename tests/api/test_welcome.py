"""The bare address leads on: people to their account, programs to where things are."""

import httpx
import pytest

from tests.world import World

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


async def test_a_browser_is_sent_to_the_account_by_way_of_signing_in(
    api: httpx.AsyncClient,
) -> None:
    answer = await api.get("/", headers={"accept": BROWSER})
    assert answer.status_code == 302
    assert answer.headers["vary"] == "Accept"
    page = await api.get("/", headers={"accept": BROWSER}, follow_redirects=True)
    assert page.url.path == "/sign-in" and page.url.params["to"] == "/account"
    assert (await api.get("/docs")).status_code == 200


async def test_a_program_is_told_where_everything_is(world: World) -> None:
    issuer = world.services.settings.issuer
    for accept in ({}, {"accept": "*/*"}, {"accept": "application/json"}):
        answer = await world.api.get("/", headers=accept)
        assert answer.status_code == 200
        document = answer.json()
        assert document.pop("issuer") == issuer
        assert set(document) == {"documentation", "openapi", "metadata", "jwks_uri"}
        for address in document.values():
            assert (await world.api.get(address)).status_code == 200, address
    assert (await world.api.post("/")).status_code == 405
