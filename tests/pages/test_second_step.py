"""The second step of `/sign-in`, and `/account/factors`, by forms alone."""

import re
from datetime import timedelta
from urllib.parse import quote

import segno

from identity import clock
from identity.authentication import second_factor
from identity.directory.users import accounts
from identity.pages.account.factors import drawn
from tests.browsing import Browser, Flow, Page, code_client
from tests.second_factors import App, given_app, with_app
from tests.world import PASSWORD, World, claims_of

FACTORS = "/account/factors"


def shop(world: World, **settings: object) -> Flow:
    return Flow(world, code_client(world, first_party=True, **settings))


async def first_step(world: World, browser: Browser, username: str = "ada") -> Page:
    return await browser.sign_in(await browser.get("/sign-in"), username)


async def test_a_password_alone_signs_nobody_in_who_has_an_app(world: World) -> None:
    _, app = with_app(world)
    flow, browser = shop(world), Browser(world.api)
    page, verifier = await flow.start(browser)
    page = await browser.sign_in(page)
    assert page.title.startswith("Second step") and page.status == 200
    assert "identity" not in browser.cookies
    asked, _ = await flow.start(browser, prompt="none")
    assert asked.sent_to["error"] == "login_required"
    page = await browser.submit(page, "code", code=app.wrong())
    assert page.status == 422 and "The code is wrong" in page.text
    assert "identity" not in browser.cookies
    page = await browser.submit(page, "code", code=app.code())
    tokens = (await flow.redeem(page.sent_to["code"], verifier)).json()
    for token in (tokens["id_token"], tokens["access_token"]):
        claims = claims_of(token)
        assert (claims["acr"], claims["amr"]) == ("aal2", ["pwd", "otp", "mfa"])


async def test_another_way_is_a_recovery_code(world: World) -> None:
    _, app = with_app(world)
    browser = Browser(world.api)
    page = await first_step(world, browser)
    assert page.form.fields["kind"] == "totp"  # the strongest first
    page = await browser.submit(page, "another")
    assert page.form.fields["kind"] == "recovery_code" and "Recovery code" in page.text
    page = await browser.submit(page, "another")
    assert page.form.fields["kind"] == "totp"
    page = await browser.submit(await browser.submit(page, "another"), "code",
                                code=app.recovery_codes[3])  # fmt: skip
    assert "You are signed in" in page.text
    again = Browser(world.api)
    page = await again.submit(await first_step(world, again), "code", code=app.recovery_codes[3])
    assert page.status == 422


async def test_the_seal_of_the_first_step_is_of_no_use_to_others(world: World) -> None:
    """Not in another browser, for another name, later, or once the password is another."""
    _, app = with_app(world)
    with_app(world, "eve")
    with clock.frozen() as hand:
        browser, other = Browser(world.api), Browser(world.api)
        page = await first_step(world, browser)
        form = page.form.fields | {"act": "code", "code": app.code()}
        await first_step(world, other)
        for stolen in (
            await other.post("/sign-in", form),
            await browser.post("/sign-in", form | {"username": "eve"}),
            await browser.post("/sign-in", form | {"username": "ADA@example.com"}),
            await browser.post("/sign-in", form | {"proof": "1.a"}),
            await browser.post("/sign-in", form | {"proof": f"0{form['proof']}"}),
        ):
            assert stolen.status == 422 and stolen.title.startswith("Sign in"), stolen.text
        hand.tick(timedelta(minutes=10, seconds=1))
        late = await browser.post("/sign-in", form | {"code": app.code()})
        assert late.status == 422 and "took too long" in late.text
        page = await first_step(world, browser)
        change = {"username": "ada", "current_password": PASSWORD, "new_password": "walnut grove 5"}
        assert (await world.api.post("/password", json=change)).status_code == 204
        page = await browser.submit(page, "code", code=app.code())
        assert page.status == 422 and page.title.startswith("Sign in")
        assert "identity" not in browser.cookies and "identity" not in other.cookies


async def test_factors_that_are_reset_between_the_steps_are_owed_no_longer(world: World) -> None:
    user, app = with_app(world)
    browser = Browser(world.api)
    page = await first_step(world, browser)
    with world.change() as session:
        row = accounts.get(session, user.id, lock=True)
        second_factor.reset(session, row, None, None)
    page = await browser.submit(page, "code", code=app.code())
    assert page.status == 422 and page.title.startswith("Sign in")
    page = await browser.sign_in(page)
    assert "You are signed in" in page.text


def test_the_picture_is_the_code_of_the_uri() -> None:
    uri = f"otpauth://totp/id.example:ada?secret={'A2' * 16}&issuer=id.example"
    side, path = drawn(uri)
    squares = [[0] * side for _ in range(side)]
    for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", path):
        for at in range(int(x), int(x) + int(width)):
            squares[int(y)][at] = 1
    border = 4  # what scanners need around it
    inner = [row[border:-border] for row in squares[border:-border]]
    assert inner == [list(row) for row in segno.make(uri, error="m", micro=False).matrix]
    assert sum(map(sum, squares)) == sum(map(sum, inner))


async def test_guesses_over_many_sign_ins_are_counted_together(world: World) -> None:
    _, app = with_app(world)
    with clock.frozen():
        for _ in range(5):
            page = await first_step(world, Browser(world.api))
            browser = Browser(world.api)
            page = await first_step(world, browser)
            for _ in range(2):
                page = await browser.submit(page, "code", code=app.wrong())
                assert page.status == 422
        page = await browser.submit(page, "code", code=app.code())
        assert page.status == 429 and page.answer.headers["retry-after"] == "300"
        page = await browser.submit(await browser.submit(page, "another"), "code",
                                    code=app.recovery_codes[0])  # fmt: skip
        assert "You are signed in" in page.text


async def test_a_level_is_met_by_a_step_up_where_there_is_a_factor(world: World) -> None:
    world.user()
    flow, browser = shop(world), Browser(world.api)
    await flow.tokens(browser)
    for asked in ({"acr_values": "aal2"}, {"acr_values": "phr aal2"}, essential("aal2")):
        page, _ = await flow.start(browser, **asked)
        assert page.sent_to["error"] == "unmet_authentication_requirements"
    app = App.scanned(await set_up(world, browser))
    assert app.secret
    # The session that the app was set up in has risen; another browser's has not.
    page, _ = await flow.start(browser, acr_values="aal2")
    assert page.sent_to["code"]
    page, _ = await flow.start(browser, **essential("phr"))
    assert page.sent_to["error"] == "unmet_authentication_requirements"


async def test_a_session_from_before_the_factor_steps_up_and_gets_another_name(
    world: World,
) -> None:
    user = world.user()
    flow, browser = shop(world), Browser(world.api)
    with clock.frozen() as hand:
        before = claims_of((await flow.tokens(browser))["id_token"])
        cookie = browser.cookies["identity"]
        app = given_app(world, user)
        assert (await flow.start(browser))[0].sent_to["code"]  # which nobody asked to be better
        asked, _ = await flow.start(browser, acr_values="aal2", prompt="none")
        assert asked.sent_to["error"] == "login_required"
        hand.tick(60)
        page, verifier = await flow.start(browser, acr_values="aal2")
        assert page.title.startswith("Sign in")
        page = await browser.submit(await browser.sign_in(page), "code", code=app.code())
        tokens = (await flow.redeem(page.sent_to["code"], verifier)).json()
        after = claims_of(tokens["id_token"])
        assert (before["acr"], after["acr"]) == ("aal1", "aal2")
        assert after["sid"] == before["sid"] and after["auth_time"] == before["auth_time"] + 60
        assert browser.cookies["identity"] != cookie
        stolen = Browser(world.api)
        stolen.cookies.set("identity", cookie)
        asked, _ = await flow.start(stolen, prompt="none")
        assert asked.sent_to["error"] == "login_required"


async def test_prompt_login_and_max_age_ask_for_both(world: World) -> None:
    _, app = with_app(world)
    flow, browser = shop(world), Browser(world.api)
    with clock.frozen() as hand:
        page, _ = await flow.start(browser)
        page = await browser.submit(await browser.sign_in(page), "code", code=app.code())
        for asked in ({"prompt": "login"}, {"max_age": "10"}):
            hand.tick(60)
            page, _ = await flow.start(browser, **asked)
            page = await browser.sign_in(page)
            assert page.title.startswith("Second step")
            assert (await browser.submit(page, "code", code=app.code())).sent_to["code"]


async def test_a_one_time_password_that_was_changed_still_owes_a_code(world: World) -> None:
    _, app = with_app(world, must_change_password=True)
    browser = Browser(world.api)
    page = await first_step(world, browser)
    assert page.title.startswith("Choose a new password")
    page = await browser.submit(page, password=PASSWORD, new_password="walnut grove 55")
    assert page.title.startswith("Second step") and "identity" not in browser.cookies
    assert "You are signed in" in (await browser.submit(page, "code", code=app.code())).text


# --- /account/factors -----------------------------------------------------------------------


def essential(level: str) -> dict[str, str]:
    return {"claims": f'{{"id_token":{{"acr":{{"essential":true,"value":"{level}"}}}}}}'}


async def set_up(world: World, browser: Browser) -> str:
    """Signed in already, lately; the secret as it was shown."""
    page = await browser.get(FACTORS)
    assert page.title.startswith("Second factors"), page.text
    page = await browser.submit(page, "begin")
    secret = key_of(page)
    page = await browser.submit(page, "confirm", code=App(secret).code())
    assert page.title.startswith("Recovery codes"), page.text
    return f"otpauth://totp/x?secret={secret}"


def key_of(page: Page) -> str:
    text = page.answer.text
    return text.partition('<code id="key">')[2].partition("<")[0].replace(" ", "")


async def test_an_app_is_set_up_replaced_and_removed_at_the_account_page(world: World) -> None:
    world.user()
    browser = Browser(world.api)
    page = await browser.get(FACTORS)
    assert page.title.startswith("Sign in")  # first, who are you
    page = await browser.sign_in(page)
    with clock.frozen() as hand:
        assert page.title.startswith("Second factors")
        cookie = browser.cookies["identity"]
        page = await browser.submit(page, "begin")
        app = App(key_of(page))
        assert "<svg" in page.answer.text and "style=" not in page.answer.text
        wrong = await browser.submit(page, "confirm", code=app.wrong())
        assert wrong.status == 422 and key_of(wrong) == app.secret
        page = await browser.submit(wrong, "confirm", code=app.code())
        codes = [word for word in page.text.split() if word.count("-") == 5]
        assert len(codes) == 10 and page.answer.headers["cache-control"] == "no-store"
        assert browser.cookies["identity"] != cookie
        page = await browser.get(FACTORS)
        assert "10 codes are left" in page.text and codes[0] not in page.text
        hand.tick(30)
        page = await act(browser, "codes")
        renewed = [word for word in page.text.split() if word.count("-") == 5]
        assert len(renewed) == 10 and not {*renewed} & {*codes}
        page = await act(browser, "begin")
        app = App(key_of(page))
        page = await browser.submit(page, "confirm", code=app.code())
        assert page.title.startswith("Second factors")
        page = await act(browser, "remove")
        assert page.title.startswith("Remove")
        page = await browser.submit(page, "removed")
        assert "Set up an authenticator app" in page.text
    await world.log_in()


async def act(browser: Browser, what: str) -> Page:
    """Press a button of the account page, which has more forms than one."""
    page = await browser.get(FACTORS)
    pressed = [form for form in page.forms for n, v, _ in form.buttons if (n, v) == ("act", what)]
    return await browser.post(FACTORS, pressed[0].fields | {"act": what})


async def test_the_account_page_takes_a_fresh_proof(world: World) -> None:
    _, app = with_app(world)
    browser = Browser(world.api)
    with clock.frozen() as hand:
        page = await browser.submit(await first_step(world, browser), "code", code=app.code())
        assert (await browser.get(FACTORS)).title.startswith("Second factors")
        hand.tick(301)
        page = await browser.get(FACTORS)
        assert "Confirm that it is you" in page.text and page.form.fields["username"] == "ada"
        for what in ("begin", "confirm", "codes", "removed"):
            assert "Confirm that it is you" in (await browser.post(FACTORS, {"act": what})).text
        page = await browser.submit(await browser.sign_in(page), "code", code=app.code())
        assert page.title.startswith("Second factors")  # and goes on where it was


async def test_a_session_by_password_alone_gets_no_account_page(world: World) -> None:
    user = world.user()
    browser = Browser(world.api)
    await first_step(world, browser)
    assert (await browser.get(FACTORS)).title.startswith("Second factors")
    given_app(world, user)
    for what in ("begin", "removed", "codes"):
        page = await browser.post(FACTORS, {"act": what})
        assert "Confirm that it is you" in page.text, page.text


async def test_another_sites_form_changes_nothing(world: World) -> None:
    world.user()
    browser = Browser(world.api)
    await first_step(world, browser)
    for headers in ({"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}):
        page = await browser.post(FACTORS, {"act": "begin"}, **headers)
        assert page.status == 403


async def test_nobody_is_led_elsewhere_after_signing_in(world: World) -> None:
    world.user()
    browser = Browser(world.api)
    for there in ("/account/factors?x=1", "//evil.example/account/factors", "/account/factors/..",
                  "/account/factorsx", "https://evil.example/account/factors"):  # fmt: skip
        assert (await browser.get(f"/sign-in?to={quote(there, safe='')}")).status == 400
