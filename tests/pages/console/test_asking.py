"""Why somebody could not sign in, why they may do what they may, and what a token would say: as the
API answers, for whoever may ask."""

import html
import json
import re
from datetime import timedelta
from typing import Any

import pytest

from identity.clock import utcnow
from identity.directory.access import editing
from identity.directory.users import accounts
from identity.pages.console import user_why
from identity.service import why
from tests import acting
from tests.browsing import CODE_GRANTS, Browser, Page, code_client
from tests.pages.console.sitting import administrator, at, role, seated, somebody
from tests.second_factors import given_app
from tests.world import PASSWORD, World
from tests.world import claims_of as minted_in

EVIL = "<img src=x onerror=alert(1)>\"'"


def test_every_reason_has_its_words() -> None:
    reasons = set(why.Reason.__args__)  # type: ignore[attr-defined]
    assert reasons == user_why.REASONS.keys()
    assert reasons > user_why.STEPS | user_why.DETAILED


async def test_what_keeps_somebody_out_is_said_in_order(world: World) -> None:
    administrator(world)
    user = world.user("ada")
    browser = await seated(world)
    page = await browser.get(at("/user", id=user.id))
    assert "Nothing but a wrong password keeps them out" in page.text
    page = await browser.get(at("/user-why", id=user.id))
    assert "Nothing but a wrong password keeps them out" in page.text
    world.client("shop", grants=("client_credentials",))
    given_app(world, user)
    world.set_status(user, "disabled")
    page = await browser.get(at("/user-why", id=user.id, client="shop"))
    said = [
        "may not take passwords", "The user is disabled.", "A second factor is needed",
    ]  # fmt: skip
    places = [page.text.index(words) for words in said]
    assert places == sorted(places)
    page = await browser.get(at("/user", id=user.id))
    assert "The user is disabled." in page.text


async def test_refused_sign_ins_are_shown_to_who_may_read_the_audit(world: World) -> None:
    administrator(world)
    somebody(world, "users:read", username="bob")
    user = world.user("ada")
    guessing = Browser(world.api)
    for n in range(12):
        await guessing.sign_in(await guessing.get("/sign-in"), "ada", f"guess {n}")
    await world.events("login")  # what is queued is written
    browser = await seated(world)
    address = at("/user-why", id=user.id, address="127.0.0.1")
    page = await browser.get(address)
    assert "wrong password" in page.text and "Refused in the last seven days" in page.text
    assert "Held up after failed sign-ins" in page.text and "Too many sign-ins" in page.text
    page = await (await seated(world, "bob")).get(address)
    assert page.status == 200 and "Refused in the last seven days" not in page.text


async def test_a_scope_is_traced_from_the_roles_to_the_client(world: World) -> None:
    administrator(world)
    role(world, "reader", "users:read", "orders:read")
    role(world, "keeper", "users:write", acr="aal2")
    user = world.user("ada", roles=["reader", "keeper"])
    world.client("shop", grants=("password",), scopes=("users:read", "users:write"))
    browser = await seated(world)
    asked: dict[str, str] = {"id": user.id, "client": "shop", "acr": "aal1"}
    rows = traces(await browser.get(at("/user-why", **asked)))
    assert "granted" in rows["users:read"] and "reader" in rows["users:read"]
    assert "by name" in rows["users:read"]
    assert "No role of theirs that counts" in rows["users:write"]
    assert "does not count: it takes aal2" in rows["users:write"]
    assert "The client may not ask for it" in rows["orders:read"]
    rows = traces(await browser.get(at("/user-why", **{**asked, "acr": "aal2"})))
    assert "granted" in rows["users:write"]
    rows = traces(await browser.get(at("/user-why", **asked, scope="users:read nothing")))
    assert rows.keys() == {"users:read", "nothing"} and "no such scope" in rows["nothing"]


def traces(page: Page) -> dict[str, str]:
    """The words of each row, by scope."""
    assert page.status == 200, page.text
    table = page.answer.text.partition('id="rights"')[2]
    rows = re.findall(r'<tr><th scope="row"><bdi>(.*?)</bdi></th>(.*?)</tr>', table, re.DOTALL)
    return {
        html.unescape(name): " ".join(re.sub(r"<[^>]*>", " ", words).split())
        for name, words in rows
    }


async def test_the_console_traces_as_the_api_does(world: World) -> None:
    administrator(world)
    role(world, "reader", "users:read")
    user = world.user("ada", roles=["reader"])
    world.client("shop", grants=("password",), scopes=("*",))
    boss, browser = await acting.admin(world), await seated(world)
    asked = {"client_id": "shop", "acr": "aal1"}
    told = await boss.done("GET", f"/users/{user.id}/why", params=asked)
    rows = traces(await browser.get(at("/user-why", id=user.id, client="shop", acr="aal1")))
    granted = {each["scope"] for each in told["rights"]["scopes"] if each["granted"]}
    assert {name for name, words in rows.items() if "granted" in words} == granted
    assert rows.keys() == {each["scope"] for each in told["rights"]["scopes"]}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"client": "nobody"}, "There is no such client"),
        ({"client": EVIL}, "There is no such client"),
        ({"client": "shop", "scope": 'a"b'}, "cope"),
        ({"client": "shop", "resource": "not an address"}, "must be an absolute"),
        ({"client": "shop", "resource": "https://elsewhere.example"}, "may not ask"),
    ],
)
async def test_what_cannot_be_asked_is_said_at_its_field(
    world: World, asked: dict[str, str], words: str
) -> None:
    administrator(world)
    user = world.user("ada")
    world.client("shop", grants=("password",))
    browser = await seated(world)
    page = await browser.get(at("/user-why", id=user.id, **asked))
    assert page.status == 422 and words in page.text and EVIL not in page.answer.text
    assert 'aria-invalid="true"' in page.answer.text
    assert (await browser.get(at("/user-why", id="nobody"))).status == 404
    assert (await browser.get(at("/user-why"))).status == 404


async def test_odd_addresses_and_levels_are_no_trouble(world: World) -> None:
    administrator(world)
    user = world.user("ada")
    browser = await seated(world)
    for asked in ({"address": EVIL}, {"address": "::ffff:1.2.3.4%x"}, {"acr": EVIL}):
        page = await browser.get(at("/user-why", id=user.id, **asked))
        assert page.status == 200 and "<img src=x" not in page.answer.text


# --- What a token would say ------------------------------------------------------------------


def claims_of(page: Page) -> dict[str, Any]:
    assert page.status == 200, page.text
    rows = re.findall(
        r'<th scope="row"><code><bdi>(.*?)</bdi></code></th><td><code><bdi>(.*?)</bdi>',
        page.answer.text,
    )
    return {html.unescape(name): json.loads(html.unescape(value)) for name, value in rows}


async def test_a_preview_says_what_the_token_then_says(world: World) -> None:
    administrator(world)
    role(world, "reader", "users:read")
    world.user("ada", roles=["reader"])
    shop = world.client("shop", grants=("password",), scopes=("*",))
    browser = await seated(world)
    asked = at("/client-preview", id="shop", user="ada", scope="users:read roles:read", acr="aal1")
    page = await browser.get(asked)
    claims = claims_of(page)
    assert "Asked for and not granted" in page.text and "roles:read" in page.text
    assert "user-why?" in page.answer.text
    answer = await world.token(
        shop, grant_type="password", username="ada", password=PASSWORD, scope="users:read"
    )
    minted = minted_in(answer.json()["access_token"])
    changing = {"jti", "iat", "exp", "nbf", "auth_time", "sid", "status"}
    assert {k: v for k, v in claims.items() if k not in changing} == {
        k: v for k, v in minted.items() if k not in changing
    }
    assert claims["jti"] == "preview" and "eyJ" not in page.answer.text
    (event,) = await world.events("token.previewed")
    assert event.client_id == "shop" and event.detail["scope"] == "users:read"


async def test_a_preview_for_the_client_itself_by_mail_and_by_id(world: World) -> None:
    administrator(world)
    user = world.user("ada", email="ada@example.com")
    code_client(world)
    world.change_client("shop", grants=[*CODE_GRANTS, "client_credentials"], scopes=["openid"])
    browser = await seated(world)
    page = await browser.get(at("/client-preview", id="shop"))
    assert page.status == 200 and "Access token" not in page.text  # nobody has asked yet
    claims = claims_of(await browser.get(at("/client-preview", id="shop", **{"for": "1"})))
    assert claims["sub"] == "shop"
    for named in ("ada@example.com", user.id):
        page = await browser.get(at("/client-preview", id="shop", user=named, scope="openid"))
        assert claims_of(page)["username"] == "ada" and "ID token" in page.text


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"user": "nobody"}, "There is no such user"),
        ({"user": EVIL}, "There is no such user"),
        ({"for": "1"}, "cannot act for itself"),
        ({"user": "ada", "scope": 'a"b'}, "cope"),
        ({"user": "ada", "resource": "https://elsewhere.example"}, "may not ask"),
        ({"user": "gone"}, "disabled"),
    ],
)
async def test_a_preview_that_cannot_be_is_explained(
    world: World, asked: dict[str, str], words: str
) -> None:
    administrator(world)
    world.user("ada")
    world.user("gone", status="disabled")
    code_client(world, public=True)
    browser = await seated(world)
    page = await browser.get(at("/client-preview", id="shop", **asked))
    assert page.status == 422 and words in page.text, page.text
    assert "<img src=x" not in page.answer.text
    assert (await browser.get(at("/client-preview", id="nobody"))).status == 404


async def test_a_preview_takes_what_the_api_takes(world: World) -> None:
    somebody(world, "clients:read", username="bob")
    somebody(world, "users:read", username="eve")
    world.user("ada")
    code_client(world)
    for name, missing in (("bob", "users:read"), ("eve", "clients:read")):
        browser = await seated(world, name)
        page = await browser.get(at("/client-preview", id="shop", user="ada"))
        assert page.status == 403 and missing in page.text
        assert "ada" not in page.text.replace("adas", "")
    page = await (await seated(world, "bob")).get(at("/client", id="shop"))
    assert "client-preview" not in page.answer.text
    assert await world.events("token.previewed") == []


async def test_texts_of_others_never_become_markup_here(world: World) -> None:
    administrator(world)
    user = world.user("ada", name=EVIL, roles=[])
    code_client(world)
    world.change_client("shop", name=EVIL)
    with world.change() as session:
        editing.create_scope(session, name="orders:read", description=EVIL)
        row = accounts.get(session, user.id, lock=True)
        row.given_name, row.last_login_at = EVIL, utcnow() - timedelta(days=200)
        session.add(row)
    browser = await seated(world)
    for address in (
        at("/user-why", id=user.id, client="shop", scope=EVIL.replace('"', ""), address=EVIL),
        at("/user-why", id=EVIL), at("/client-preview", id=EVIL),
        at("/user-why", id=user.id, client="shop", resource=EVIL),
        at("/client-preview", id="shop", user="ada", scope="openid profile", resource=EVIL),
        at("/client-preview", id="shop", user="ada", scope="openid profile"),
        at("/users", view="dormant"), at("/users", do="export", q=EVIL, role=EVIL),
    ):  # fmt: skip
        text = (await browser.get(address)).answer.text
        assert "<img src=x" not in text and "onerror=alert(1)>" not in text, address
