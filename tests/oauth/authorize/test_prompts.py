"""Whether somebody is asked: `prompt`, `max_age`, hints, and what a session is worth."""

import json
from datetime import timedelta

from sqlmodel import select

from identity import clock
from identity.tokens.sessions import lifecycle
from identity.tokens.sessions.table import BrowserSession
from tests.browsing import Browser, Flow, code_client
from tests.conformance.lines import line
from tests.oauth.authorize.test_requests import told
from tests.world import PASSWORD, World, claims_of


def shop(world: World, **settings: object) -> Flow:
    world.user("ada")
    return Flow(world, code_client(world, first_party=True, **settings))


@line(
    "Code flow",
    "`prompt=none`: an error without a session; with one the same `sub`, `auth_time`",
)
async def test_nobody_is_asked_with_prompt_none(world: World) -> None:
    flow, browser = shop(world), Browser(world.api)
    told((await flow.start(browser, prompt="none"))[0], "login_required")
    first = claims_of((await flow.tokens(browser))["id_token"])
    again = claims_of((await flow.tokens(browser, prompt="none"))["id_token"])
    same = ("sub", "auth_time", "sid", "acr", "amr")
    assert [again[name] for name in same] == [first[name] for name in same]
    told((await flow.start(browser, prompt="none", max_age="0"))[0], "login_required")
    flow = Flow(world, code_client(world, "another"))
    told((await flow.start(browser, prompt="none"))[0], "consent_required")


@line("Code flow", "`prompt=login` really asks, and `auth_time` moves")
async def test_prompt_login_really_asks_and_goes_on_after_it(world: World) -> None:
    flow, browser = shop(world), Browser(world.api)
    with clock.frozen() as hand:
        first = await flow.tokens(browser)
        cookie = browser.cookies["identity"]
        hand.tick(30)
        page, verifier = await flow.start(browser, prompt="login")
        assert page.title.startswith("Sign in")
        # Looking at the page again is not signing in.
        assert (await browser.get(str(page.answer.url))).title.startswith("Sign in")
        page = await browser.sign_in(page)
        answer = (await flow.redeem(page.sent_to["code"], verifier)).json()
        before, after = claims_of(first["id_token"]), claims_of(answer["id_token"])
        assert after["auth_time"] == before["auth_time"] + 30
        assert after["sid"] == before["sid"]
        assert browser.cookies["identity"] != cookie  # a new id at every rise in privilege


@line("Code flow", "A `max_age` that has passed asks, one that has not does not")
async def test_max_age_asks_who_has_signed_in_longer_ago(world: World) -> None:
    flow, browser = shop(world), Browser(world.api)
    with clock.frozen() as hand:
        await flow.tokens(browser)
        hand.tick(60)
        page, _ = await flow.start(browser, max_age="61")
        assert page.sent_to["code"]
        page, _ = await flow.start(browser, max_age="59")
        assert page.title.startswith("Sign in")
        # Typing may take longer than max_age.
        hand.tick(600)
        assert (await browser.sign_in(page)).sent_to["code"]


async def test_a_client_may_have_a_max_age_of_its_own(world: World) -> None:
    flow, browser = shop(world, default_max_age=10), Browser(world.api)
    with clock.frozen() as hand:
        await flow.tokens(browser)
        hand.tick(11)
        assert (await flow.start(browser))[0].title.startswith("Sign in")
        assert (await flow.start(browser, max_age="60"))[0].sent_to["code"]


async def test_select_account_shows_who_is_there_and_lets_another_in(world: World) -> None:
    flow, browser = shop(world), Browser(world.api)
    world.user("eve")
    ada = claims_of((await flow.tokens(browser))["id_token"])["sub"]
    page, verifier = await flow.start(browser, prompt="select_account")
    assert page.title.startswith("Choose an account") and "ada" in page.text
    page = await browser.submit(page, "choose")
    answer = await flow.redeem(page.sent_to["code"], verifier)
    assert claims_of(answer.json()["id_token"])["sub"] == ada
    page, verifier = await flow.start(browser, prompt="select_account")
    page = await browser.submit(page, "another")
    page = await browser.sign_in(page, "eve")
    if page.title.startswith("Choose"):
        page = await browser.submit(page, "choose")
    answer = await flow.redeem(page.sent_to["code"], verifier)
    assert claims_of(answer.json()["id_token"])["sub"] != ada


async def test_who_was_shown_is_who_is_chosen(world: World) -> None:
    """In one tab Ada is shown, in another Eve signs in."""
    flow, browser = shop(world), Browser(world.api)
    world.user("eve")
    await browser.sign_in(await browser.get("/sign-in"))
    page, _ = await flow.start(browser, prompt="select_account")
    await browser.post("/sign-in", {"username": "eve", "password": PASSWORD})
    page = await browser.submit(page, "choose")
    assert page.title.startswith("Choose an account") and "eve" in page.text
    assert (await browser.submit(page, "choose")).sent_to["code"]


@line("Code flow", "`id_token_hint` with `prompt=none`")
async def test_a_hint_of_somebody_else_asks_and_does_not_let_another_through(world: World) -> None:
    flow, browser, other = shop(world), Browser(world.api), Browser(world.api)
    world.user("eve")
    ada = (await flow.tokens(browser))["id_token"]
    page, _ = await flow.start(other, prompt="none", id_token_hint=ada)
    told(page, "login_required")
    page, _ = await flow.start(other, id_token_hint=ada)
    told(await other.sign_in(page, "eve"), "login_required")
    told((await flow.start(other, prompt="none", id_token_hint=ada))[0], "login_required")
    assert (await flow.start(browser, prompt="none", id_token_hint=ada))[0].sent_to["code"]
    with clock.frozen(clock.utcnow() + timedelta(hours=3)):  # a hint may have expired
        assert (await flow.start(browser, prompt="none", id_token_hint=ada))[0].sent_to["code"]


async def test_a_subject_asked_for_by_claims_is_a_hint(world: World) -> None:
    flow, browser = shop(world), Browser(world.api)
    sub = claims_of((await flow.tokens(browser))["id_token"])["sub"]
    others = "somebody-else"
    for wanted, error in (
        ({"id_token": {"sub": {"value": sub}}}, None),
        ({"id_token": {"sub": {"values": [others, sub]}}}, None),
        ({"id_token": {"sub": {"essential": True}}}, None),
        ({"id_token": {"sub": {"value": others}}}, "login_required"),
        ({"id_token": {"sub": {"value": ""}}}, "login_required"),
        ({"id_token": {"sub": {"values": [others]}}}, "login_required"),
        ({"id_token": {"sub": {"value": sub}}, "userinfo": {"sub": {"value": others}}},
         "login_required"),
        ({"id_token": {"sub": {"value": 1}}}, "invalid_request"),
        ({"userinfo": {"sub": {"values": sub}}}, "invalid_request"),
    ):  # fmt: skip
        claims = json.dumps(wanted)
        page, _ = await flow.start(browser, prompt="none", claims=claims)
        if error is None:
            assert page.sent_to["code"]
        else:
            told(page, error)


async def test_a_hint_is_an_id_token_of_ours_for_this_client_and_nothing_else(
    world: World,
) -> None:
    flow, browser = shop(world), Browser(world.api)
    other = Flow(world, code_client(world, "other", first_party=True))
    tokens, foreign = await flow.tokens(browser), await other.tokens(browser)
    mine = tokens["id_token"]
    head, body, signature = mine.split(".")
    for hint in (
        tokens["access_token"],
        foreign["id_token"],
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.",
        f"{mine} ",
        mine.upper(),
    ):
        page, _ = await flow.start(browser, prompt="none", id_token_hint=hint)
        told(page, "invalid_request")


@line("Code flow", "An asked `acr` that is met is returned")
async def test_an_acr_that_is_met_is_returned(world: World) -> None:
    flow, browser = shop(world), Browser(world.api)
    tokens = await flow.tokens(browser, acr_values="gold aal1 aal2")
    assert claims_of(tokens["id_token"])["acr"] == "aal1"
    assert claims_of(tokens["access_token"])["acr"] == "aal1"
    essential = json.dumps({"id_token": {"acr": {"essential": True, "values": ["aal1", "phr"]}}})
    assert (await flow.start(browser, claims=essential))[0].sent_to["code"]
    essential = json.dumps({"id_token": {"acr": {"essential": True, "value": "phr"}}})
    told((await flow.start(browser, claims=essential))[0], "unmet_authentication_requirements")
    # Not essential: asked for, and not had.
    wish = json.dumps({"id_token": {"acr": {"value": "phr"}}})
    assert (await flow.start(browser, claims=wish))[0].sent_to["code"]


async def test_a_session_ends_when_it_lies_unused_and_at_last(world: World) -> None:
    flow, browser = shop(world), Browser(world.api)
    with clock.frozen() as hand:
        await flow.tokens(browser)
        for _ in range(3):
            hand.tick(timedelta(hours=11))
            assert (await flow.start(browser, prompt="none"))[0].sent_to.get("code")
        hand.tick(timedelta(hours=12, seconds=1))
        told((await flow.start(browser, prompt="none"))[0], "login_required")
    with clock.frozen() as hand:
        await flow.tokens(browser)
        for days in range(61):
            page, _ = await flow.start(browser, prompt="none")
            assert ("code" in page.sent_to) == (days < 60), days
            hand.tick(timedelta(hours=12) - timedelta(seconds=1 if days < 59 else -120))


async def test_what_ends_all_of_a_users_sessions_signs_their_browsers_out(world: World) -> None:
    flow, browser = shop(world), Browser(world.api)
    user = world.user("eve")
    page = await browser.sign_in(await browser.get("/sign-in"), "eve")
    with world.change() as session:
        lifecycle.end_all(session, "by an administrator", user_id=user.id)
    told((await flow.start(browser, prompt="none"))[0], "login_required")
    page, _ = await flow.start(browser)
    assert (await browser.sign_in(page, "eve")).sent_to["code"]
    world.set_status(user, "disabled")
    told((await flow.start(browser, prompt="none"))[0], "login_required")
    with world.change() as session:
        left = session.exec(select(BrowserSession).where(BrowserSession.user_id == user.id)).all()
    assert all(each.ended_at is not None for each in left)


async def test_the_cookie_is_opaque_and_only_its_digest_is_kept(world: World) -> None:
    shop(world)
    browser = Browser(world.api)
    answer = await browser._api.get("/sign-in")
    answer = await browser._api.post(
        "/sign-in", data={"username": "ada", "password": "tangerine harbour 71"},
        headers={"origin": browser.origin},
    )  # fmt: skip
    (line,) = answer.headers.get_list("set-cookie")
    name, _, rest = line.partition("=")
    value, _, attributes = rest.partition("; ")
    assert name == "identity" and len(value) >= 43
    assert set(attributes.split("; ")) == {
        "HttpOnly", "SameSite=Lax", "Path=/", f"Max-Age={30 * 86400}",
    }  # fmt: skip
    with world.change() as session:
        (row,) = session.exec(select(BrowserSession)).all()
    assert value not in str(row.model_dump())
