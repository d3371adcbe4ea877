"""`/branding` and logos of clients: who may set what, and what everybody sees from then on."""

import re
from html import escape
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image
from sqlmodel import select

from identity.app import create_app
from identity.directory.branding.table import Logo
from identity.directory.clients.table import Client
from identity.settings import Settings
from tests import acting
from tests.acting import Actor, clerk, pointers, problem
from tests.browsing import Browser, Flow, Page, code_client
from tests.pictures import png
from tests.second_factors import at_once
from tests.serving import running
from tests.transport import served
from tests.world import World

PNG = {"content-type": "image/png"}
GREEN = {"name": "Lighthouse", "accent": "#0B6B4F", "background": "#f3f6f4"}
SHEET = re.compile(r'href="([^"]*/static/brand-[0-9a-f]{24}\.css)"')
LOGO = re.compile(r'src="([^"]*/static/logo-[0-9a-f]{24}\.webp)"')


async def put(actor: Actor, path: str, picture: bytes, **headers: str) -> httpx.Response:
    return await actor("PUT", path, content=picture, headers=PNG | headers)


async def sign_in_page(api: httpx.AsyncClient) -> str:
    """Without its nonce, which is another one each time."""
    return re.sub(r'nonce="[^"]+"', "", (await api.get("/sign-in")).text)


async def test_name_and_colours_are_on_every_page_at_once(world: World, settings: Settings) -> None:
    boss = await acting.admin(world)
    other = create_app(settings)
    async with (
        running(other),
        httpx.AsyncClient(transport=served(other), base_url=settings.issuer) as elsewhere,
    ):
        assert "Lighthouse" not in await sign_in_page(elsewhere)
        shown = await boss.done("PATCH", "/branding", GREEN)
        assert shown["name"] == "Lighthouse" and shown["accent"] == "#0b6b4f"
        assert shown["accent_dark"] is None and shown["logo"] is None
        assert min(each["contrast"] for each in shown["contrasts"]) >= 4.5
        for api in (world.api, elsewhere):
            page = await api.get("/sign-in")
            assert "<title>Sign in · Lighthouse</title>" in page.text
            (sheet,) = SHEET.findall(page.text)
            assert page.text.index("style.css") < page.text.index(sheet)
            assert (
                "style=" not in page.text
                and "style-src 'self'" in page.headers["content-security-policy"]
            )
            answer = await api.get(sheet)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/css; charset=utf-8"
            assert answer.headers["cache-control"] == "public, max-age=31536000"
            assert "--accent: light-dark(#0b6b4f, " in answer.text
            etag = {"if-none-match": answer.headers["etag"]}
            assert (await api.get(sheet, headers=etag)).status_code == 304
        # Another brand has another address, and the one before is nobody's.
        await boss.done("PATCH", "/branding", {"accent": "#7a1f5c"})
        for api in (world.api, elsewhere):
            assert SHEET.findall(await sign_in_page(api)) != [sheet]
            gone = await api.get(sheet)
            assert gone.status_code == 404 and gone.headers["cache-control"] == "no-store"
    plain = await boss.done("PATCH", "/branding", dict.fromkeys(GREEN))
    assert plain["name"] == "Identity" and not plain["accent"]
    assert not SHEET.findall(await sign_in_page(world.api))
    events = await world.events("branding.updated")
    assert events[0].detail["after"]["name"] == "Lighthouse"
    assert events[1].detail["before"] == {"accent": "#0b6b4f"}


async def test_a_logo_is_served_as_it_was_drawn(world: World) -> None:
    boss = await acting.admin(world)
    first = (await put(boss, "/branding/logo", png(400, 200) + b"<script>")).json()["logo"]
    assert (first["width"], first["height"]) == (192, 96)
    assert first["url"].startswith(f"{world.services.settings.issuer}/static/logo-")
    page = await sign_in_page(world.api)
    (address,) = LOGO.findall(page)
    assert first["url"].endswith(address)
    answer = await world.api.get(address)
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["cache-control"] == "public, max-age=31536000"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert b"script" not in answer.content
    with Image.open(BytesIO(answer.content)) as image:
        assert image.size == (192, 96)
    await put(boss, "/branding/logo", png(64, 64, "#7a1f5c"))
    page = await sign_in_page(world.api)
    assert LOGO.findall(page) != [address]
    assert re.search(
        r'rel="icon" href="[^"]*/static/logo-[0-9a-f]{24}\.webp" type="image/webp"', page
    )
    assert (await world.api.get(address)).status_code == 404
    assert (await boss("DELETE", "/branding/logo")).status_code == 204
    assert not LOGO.findall(await sign_in_page(world.api))
    problem(await boss("DELETE", "/branding/logo"), 404)
    assert len(await world.events("branding.logo_set")) == 2
    assert len(await world.events("branding.logo_removed")) == 1
    with world.change() as session:
        assert not session.exec(select(Logo)).all()


@pytest.mark.parametrize(("width", "beside"), [(64, True), (128, True), (129, False), (300, False)])
@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_wordmark_says_the_name_itself(world: World, width: int, beside: bool) -> None:
    boss = await acting.admin(world)
    await boss.done("PATCH", "/branding", {"name": "Lighthouse"})
    await put(boss, "/branding/logo", png(width, 64))
    page = await sign_in_page(world.api)
    assert ("<span><bdi>Lighthouse</bdi></span>" in page) is beside
    assert ('alt="Lighthouse"' in page) is not beside


# --- What is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patch", "where"),
    [
        ({"accent": "#ffcc00"}, "/accent"),
        ({"accent_dark": "#10141c"}, "/accent_dark"),
        ({"background": "#808080"}, "/background"),
        ({"background_dark": "#ffffff"}, "/background_dark"),
        ({"accent": "red"}, "/accent"),
        ({"accent": "#000;} body{display:none"}, "/accent"),
        ({"accent": "url(https://evil.example)"}, "/accent"),
        ({"accent": 7}, "/accent"),
        ({"name": "x" * 41}, "/name"),
        ({"name": "two\nlines"}, "/name"),
        ({"name": "\u202eevil"}, "/name"),
        ({"name": "a\u2028b"}, "/name"),
        ({"css": "body{}"}, "/css"),
        ({"logo": "https://evil.example/x.png"}, "/logo"),
    ],
)
@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_what_no_page_is_to_look_like(
    world: World, patch: dict[str, Any], where: str
) -> None:
    boss = await acting.admin(world)
    before = await sign_in_page(world.api)
    assert pointers(await boss("PATCH", "/branding", patch)) == {where}
    assert await sign_in_page(world.api) == before


async def test_two_colours_that_each_would_do_are_looked_at_together(world: World) -> None:
    boss = await acting.admin(world)
    await boss.done("PATCH", "/branding", {"accent": "#2f5fd0"})
    assert pointers(await boss("PATCH", "/branding", {"background": "#d9deea"})) == {"/accent"}
    await boss.done("PATCH", "/branding", {"background": "#d9deea", "accent": "#1c3d8f"})


@pytest.mark.parametrize("name", ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>',
                                  "{{ 7*7 }}", "</title><h1>", "' onload='x"])  # fmt: skip
@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_name_is_text_wherever_it_stands(world: World, name: str) -> None:
    boss = await acting.admin(world)
    await boss.done("PATCH", "/branding", {"name": name})
    await put(boss, "/branding/logo", png(300, 64))
    for path in ("/sign-in", "/language", "/consent"):
        page = Page(await world.api.get(path))
        assert page.title.endswith(f" · {name}")
        assert name == "{{ 7*7 }}" or name not in page.answer.text
        assert f'alt="{escape(name)}"' in page.answer.text.replace("&#34;", "&quot;").replace(
            "&#39;", "&#x27;"
        )


async def test_who_may(world: World) -> None:
    reader = await clerk(world, "branding:read", username="reader")
    others = await clerk(
        world, "clients:write", "clients:read", "users:write", "audit:read", username="others"
    )
    shop = code_client(world)
    changes = (("PATCH", "/branding", {"name": "Mine"}), ("DELETE", "/branding/logo", None))
    for method, path, body in changes:
        for actor in (reader, others):
            problem(await actor(method, path, body), 403)
        assert (await world.api.request(method, path, json=body)).status_code == 401
    for actor in (reader, others):
        problem(await put(actor, "/branding/logo", png()), 403)
    assert (await world.api.put("/branding/logo", content=png(), headers=PNG)).status_code == 401
    problem(await others("GET", "/branding"), 403)
    assert (await reader("GET", "/branding")).status_code == 200
    problem(await put(reader, f"/clients/{shop.id}/logo", png()), 403)
    # A client that holds more than who acts is beyond them, its looks too.
    with world.change() as session:
        session.add(Client(id="mighty", grants=["client_credentials"], scopes=["keys:write"]))
    problem(await put(others, "/clients/mighty/logo", png()), 403)
    problem(await others("DELETE", "/clients/mighty/logo"), 403)
    assert (await world.api.get("/sign-in")).text.count("Mine") == 0


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_only_pictures_of_moderate_size_are_taken(world: World) -> None:
    boss = await acting.admin(world)
    for media, status in (
        ("image/svg+xml", 415),
        ("text/html", 415),
        ("", 415),
        ("image/png", 422),
    ):
        answer = await boss(
            "PUT", "/branding/logo", content=b"<svg/>", headers={"content-type": media}
        )
        assert answer.status_code == status, media
    large = await put(boss, "/branding/logo", png() + bytes(70_000))
    assert large.status_code == 413
    assert pointers(await put(boss, "/branding/logo", png() + bytes(62_000))) == {""}
    assert not LOGO.findall(await sign_in_page(world.api))


async def test_who_has_an_old_version_is_told(world: World) -> None:
    boss = await acting.admin(world)
    etag = (await boss("GET", "/branding")).headers["etag"]
    changed = await boss("PATCH", "/branding", {"name": "One"}, headers={"if-match": etag})
    assert changed.headers["etag"] != etag
    problem(await boss("PATCH", "/branding", {"name": "Two"}, headers={"if-match": etag}), 412)
    problem(await put(boss, "/branding/logo", png(), **{"if-match": etag}), 412)
    problem(await boss("DELETE", "/branding/logo", headers={"if-match": etag}), 412)
    same = await boss("PATCH", "/branding", {"name": "One"})
    assert same.headers["etag"] == changed.headers["etag"], "nothing has changed"


# --- What nobody has put there -----------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "brand-.css", "brand-" + "0" * 24 + ".css", "logo-" + "0" * 24 + ".webp", "logo-.webp",
        "logo-%00.webp", "logo-' OR 1=1.webp", "logo-" + "0" * 24, "brand-../style.css",
        "logo-" + "A" * 24 + ".webp", "logo-" + "0" * 24 + ".webp.html",
    ],
)  # fmt: skip
async def test_under_other_names_there_is_nothing(world: World, name: str) -> None:
    answer = await world.api.get(f"/static/{name}")
    assert answer.status_code in (400, 404)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_no_header_or_parameter_changes_what_is_kept_under_a_name(world: World) -> None:
    boss = await acting.admin(world)
    await boss.done("PATCH", "/branding", GREEN)
    (sheet,) = SHEET.findall(await sign_in_page(world.api))
    whole = await world.api.get(sheet)
    odd = {"host": "evil.example", "x-forwarded-host": "evil.example", "accept": "text/html",
           "x-forwarded-prefix": "//evil", "accept-language": "de"}  # fmt: skip
    for query in ("", "?accent=red", "?v=1"):
        answer = await world.api.get(sheet + query, headers=odd)
        assert answer.content == whole.content and "evil" not in answer.text
    page = await world.api.get("/sign-in", headers=odd)
    assert SHEET.findall(page.text) == [sheet], "the address depends on nobody who asks"
    assert page.headers["cache-control"] == "no-store"


# --- Clients --------------------------------------------------------------------------------


async def test_a_clients_logo_is_where_people_meet_it(world: World) -> None:
    world.user("ada")
    flow = Flow(world, code_client(world))
    boss = await acting.admin(world)
    problem(await boss("GET", "/clients/shop/logo"), 404)
    before = (await boss("GET", "/clients/shop")).headers["etag"]
    shown = await put(boss, "/clients/shop/logo", png(80, 40), **{"if-match": before})
    assert shown.status_code == 200 and shown.json()["width"] == 80
    problem(await put(boss, "/clients/shop/logo", png(), **{"if-match": before}), 412)
    browser = Browser(world.api)
    page, _ = await flow.start(browser)
    assert shown.json()["url"].endswith(LOGO.findall(page.answer.text)[0])
    page = await browser.sign_in(page)
    assert "consent" in str(page.answer.url)
    (address,) = LOGO.findall(page.answer.text)
    assert (await world.api.get(address)).headers["content-type"] == "image/webp"
    assert (await boss("GET", "/clients/shop/logo")).json() == shown.json()
    assert not LOGO.findall(await sign_in_page(world.api)), "the client's alone"
    assert (await boss("DELETE", "/clients/shop/logo")).status_code == 204
    page, _ = await flow.start(Browser(world.api))
    assert not LOGO.findall(page.answer.text)
    (event,) = await world.events("client.logo_set")
    assert event.subject == "shop"


async def test_a_client_that_registered_itself_has_no_logo(world: World) -> None:
    flow = Flow(world, code_client(world))
    boss = await acting.admin(world)
    await put(boss, "/clients/shop/logo", png())
    world.change_client("shop", self_registered=True)
    page, _ = await flow.start(Browser(world.api))
    assert not LOGO.findall(page.answer.text), "nobody has vouched for it"
    problem(await put(boss, "/clients/shop/logo", png(20, 20)), 409)


async def test_a_logo_goes_with_its_client(world: World) -> None:
    code_client(world)
    boss = await acting.admin(world)
    url = (await put(boss, "/clients/shop/logo", png())).json()["url"]
    await put(boss, "/branding/logo", png(32, 32))
    await boss.done("DELETE", "/clients/shop")
    with world.change() as session:
        assert [logo.client_id for logo in session.exec(select(Logo))] == [None]
    await boss.done("POST", "/clients", {"id": "shop", "name": "Another", "grant_types": []})
    problem(await boss("GET", "/clients/shop/logo"), 404)
    assert (await world.api.get(url)).status_code == 404


async def test_the_same_picture_of_two_stays_while_either_has_it(world: World) -> None:
    code_client(world)
    boss = await acting.admin(world)
    url = (await put(boss, "/clients/shop/logo", png())).json()["url"]
    assert (await put(boss, "/branding/logo", png())).json()["logo"]["url"] == url
    await boss.done("DELETE", "/branding/logo")
    assert (await world.api.get(url)).status_code == 200
    await boss.done("DELETE", "/clients/shop/logo")
    assert (await world.api.get(url)).status_code == 404


async def test_two_who_set_a_logo_at_once_leave_one(world: World) -> None:
    boss = await acting.admin(world)
    answers = await at_once(
        *(put(boss, "/branding/logo", png(32 + n, 32)) for n in range(5)),
        *(boss("PATCH", "/branding", {"name": f"Name {n}"}) for n in range(5)),
    )
    assert {answer.status_code for answer in answers} == {200}
    with world.change() as session:
        assert len(session.exec(select(Logo)).all()) == 1
    assert (await boss("GET", "/branding")).headers["etag"] == '"10"'
