"""What the profile `fapi2` does beside the settings that it implies (FAPI 2.0 Security Profile)."""

from sqlmodel import select

from identity.opaque import digest
from identity.tokens.sessions.table import RefreshToken
from identity.tokens.status.table import RevokedPlace
from tests import acting
from tests.acting import pointers
from tests.browsing import Browser, Flow, code_client
from tests.pushing import come, push, pushed
from tests.world import World, granted, refused


def bank(world: World) -> Flow:
    """As a newer version has set it: this one takes no such profile yet."""
    world.user()
    settings = {"profile": "fapi2", "require_pushed_authorization_requests": True}
    return Flow(world, code_client(world, **settings, first_party=True))


async def tokens(flow: Flow) -> dict[str, str]:
    browser = Browser(flow.world.api)
    request_uri, verifier = await pushed(flow)
    page = await browser.sign_in(await come(browser, flow, request_uri))
    return granted(await flow.redeem(page.sent_to["code"], verifier))


async def test_refresh_tokens_are_not_rotated_and_end_with_their_session(world: World) -> None:
    flow = bank(world)
    first = await tokens(flow)
    issued = [first["access_token"]]
    for _ in range(3):
        again = granted(await world.refresh(first["refresh_token"], flow.client))
        assert again["refresh_token"] == first["refresh_token"]
        issued.append(again["access_token"])
    assert len(set(issued)) == 4
    assert [await world.active(token) for token in issued] == [True] * 4
    await world.revoke(first["refresh_token"], flow.client)
    assert [await world.active(token) for token in issued] == [False] * 4
    refused(await world.refresh(first["refresh_token"], flow.client), 400, "invalid_grant")
    with world.change() as session:
        places = session.exec(select(RevokedPlace.place)).all()
    assert len(set(places)) == 4  # each token's place in the status lists


async def test_one_that_lay_unused_too_long_is_dead(world: World) -> None:
    flow = bank(world)
    first = await tokens(flow)
    with world.change() as session:
        stored = session.get_one(RefreshToken, digest(first["refresh_token"]))
        stored.expires_at = stored.issued_at
        session.add(stored)
    refused(await world.refresh(first["refresh_token"], flow.client), 400, "invalid_grant")


async def test_a_push_names_where_to_send_the_browser(world: World) -> None:
    flow = bank(world)
    refused((await push(flow, redirect_uri=None))[0], 400, "invalid_request")


async def test_it_takes_no_password(world: World) -> None:
    bank(world)
    boss = await acting.admin(world)
    answer = await boss("PATCH", "/clients/shop", {"grant_types": ["password"]})
    assert pointers(answer) == {"/grant_types"}
