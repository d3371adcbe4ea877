"""`sector_identifier_uri`: whoever answers for the sector lists the redirect URIs in it (OpenID
Connect Registration §5), and by its host users are known."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from identity.app import create_app
from tests.acting import admin, pointers, problem
from tests.browsing import Browser, Flow
from tests.conformance.lines import line
from tests.elsewhere import Answer, Authority, Elsewhere, elsewhere
from tests.serving import running
from tests.transport import served
from tests.world import Caller, World, claims_of

OURS = "http://127.0.0.1:8000"
SHOP, BANK = "https://shop.example/cb", "https://bank.example/cb"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def server(authority: Authority) -> AsyncIterator[Elsewhere]:
    async with elsewhere(authority.server("localhost")) as server:
        yield server


@pytest.fixture
def settings(make_settings: Callable[..., Any], authority: Authority) -> Any:
    return make_settings(
        fetch_ca=authority.pem, fetch_networks="127.0.0.0/8, ::1", registration="open"
    )


@pytest.fixture
async def world(settings: Any) -> AsyncIterator[World]:
    app = create_app(settings)
    async with running(app), httpx.AsyncClient(transport=served(app), base_url=OURS) as api:
        yield World(app, api)


def lists(server: Elsewhere, *found: Any, path: str = "/sector.json") -> str:
    """The address of a document that says this."""
    server.answers[path] = Answer(json.dumps(list(found)).encode())
    return f"https://localhost:{server.port}{path}"


def asked(sector: str, *redirects: str, client_id: str = "app") -> dict[str, Any]:
    return {
        "id": client_id, "name": "App", "subject_type": "pairwise",
        "grant_types": ["authorization_code"], "scopes": ["*"], "redirect_uris": list(redirects),
        "sector_identifier_uri": sector, "first_party": True,
    }  # fmt: skip


async def subject(world: World, made: dict[str, Any], redirect_uri: str, browser: Browser) -> str:
    flow = Flow(world, Caller(made["id"], made["client_secret"]), redirect_uri)
    sub: str = claims_of((await flow.tokens(browser, scope="openid"))["id_token"])["sub"]
    return sub


@line("Registration", "`sector_identifier_uri` is checked")
async def test_clients_of_one_sector_know_users_by_one_name_whatever_their_hosts(
    world: World, server: Elsewhere
) -> None:
    world.user("ada")
    boss, browser = await admin(world), Browser(world.api)
    sector = lists(server, SHOP, BANK)
    names = []
    for client_id, redirects in (("shop", [SHOP, BANK]), ("bank", [BANK])):
        made = await boss.done("POST", "/clients", asked(sector, *redirects, client_id=client_id))
        assert made["sector_identifier_uri"] == sector
        names.append(await subject(world, made, redirects[0], browser))
    assert names[0] == names[1]
    alone = {**asked(sector, BANK, client_id="alone"), "sector_identifier_uri": None}
    made = await boss.done("POST", "/clients", {k: v for k, v in alone.items() if v is not None})
    assert await subject(world, made, BANK, browser) != names[0]


async def test_a_redirect_uri_that_is_not_listed_is_refused(
    world: World, server: Elsewhere
) -> None:
    boss, sector = await admin(world), lists(server, SHOP, "https://shop.example/CB")
    refusal = await boss("POST", "/clients", asked(sector, SHOP, BANK))
    assert pointers(refusal) == {"/redirect_uris/1"}
    await boss.done("POST", "/clients", asked(sector, SHOP))
    # Nor can it come in later, nor the list be exchanged for one that lacks what is there.
    patch = {"redirect_uris": [SHOP, BANK]}
    assert pointers(await boss("PATCH", "/clients/app", patch)) == {"/redirect_uris/1"}
    other = lists(server, BANK, path="/other.json")
    patch = {"sector_identifier_uri": other}  # type: ignore[dict-item]
    assert pointers(await boss("PATCH", "/clients/app", patch)) == {"/redirect_uris/0"}
    # Each time as it is now: the document has been changed.
    lists(server, SHOP, BANK)
    changed = await boss.done("PATCH", "/clients/app", {"redirect_uris": [SHOP, BANK]})
    assert changed["redirect_uris"] == [SHOP, BANK]
    # What has nothing to do with it asks nobody.
    before = len(server.asked)
    await boss.done("PATCH", "/clients/app", {"contacts": ["ops@example.com"]})
    await boss.done("PATCH", "/clients/app", {"sector_identifier_uri": sector})
    assert len(server.asked) == before + 1
    await boss.done("PATCH", "/clients/app", {"subject_type": "public", "redirect_uris": [SHOP],
                                              "sector_identifier_uri": None})  # fmt: skip


NO_LISTS: list[Any] = [
    Answer(b"{}"), Answer(b"not json"), Answer(b"[1]"), Answer(b'"https://shop.example/cb"'),
    Answer(b"[]", 404), Answer(b"", 302, {"location": "/sector.json"}),
    Answer(json.dumps([f"https://shop.example/{n}" for n in range(1001)]).encode()),
    Answer(b"[" + b" " * 70_000 + b"]"), Answer(b"[" * 5_000),
]  # fmt: skip


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_what_is_no_list_is_said_to_be_none(world: World, server: Elsewhere) -> None:
    boss, sector = await admin(world), lists(server)
    for answer in NO_LISTS:
        server.answers["/sector.json"] = answer
        refusal = await boss("POST", "/clients", asked(sector, SHOP))
        assert pointers(refusal) == {"/sector_identifier_uri"}, answer
        assert "/sector.json" not in problem(refusal, 422)["errors"][0]["detail"]
        world.services.fetcher._breakers.clear()


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_program_that_registers_itself_makes_us_ask_nobody_inside(
    world: World, server: Elsewhere
) -> None:
    """The same addresses that an administrator may name: nobody has vouched for this one."""
    sector = lists(server, SHOP).replace("localhost", "127.0.0.1")
    for address in (sector, "https://169.254.169.254/latest", "https://10.0.0.1/sector.json"):
        said = {"redirect_uris": [SHOP], "subject_type": "pairwise"}
        said |= {"sector_identifier_uri": address}
        answer = await world.api.post("/register", json=said)
        assert answer.status_code == 400
        assert answer.json()["error"] == "invalid_client_metadata"
        assert address.partition("//")[2] not in answer.text
    assert server.asked == []


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_who_changes_the_sector_meanwhile_does_not_slip_one_in(
    world: World, server: Elsewhere
) -> None:
    """Between the look at the list and the change, another administrator names another list."""
    boss = await admin(world)
    first, second = lists(server, SHOP, BANK), lists(server, SHOP, path="/second.json")
    await boss.done("POST", "/clients", asked(first, SHOP))
    came, held = asyncio.Event(), asyncio.Event()

    async def slowly(_: Any, __: Any) -> Answer:
        came.set()
        await held.wait()
        return Answer(json.dumps([SHOP, BANK]).encode())

    server.answers["/sector.json"] = slowly
    late = asyncio.create_task(boss("PATCH", "/clients/app", {"redirect_uris": [SHOP, BANK]}))
    await came.wait()
    await boss.done("PATCH", "/clients/app", {"sector_identifier_uri": second})
    held.set()
    assert pointers(await late) == {"/sector_identifier_uri"}
    shown = await boss.done("GET", "/clients/app")
    assert (shown["redirect_uris"], shown["sector_identifier_uri"]) == ([SHOP], second)
