"""Signing in with passkeys, and keeping them, by the pages' forms and a software authenticator."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from identity import clock
from identity.authentication.passkeys import keeping
from identity.authentication.passkeys.table import Passkey
from identity.directory.access import editing
from identity.directory.users import accounts
from tests.authenticators import UP, Authenticator, encoded, given_passkey, with_passkey
from tests.browsing import Browser, Flow, Page, code_client
from tests.second_factors import App, at_once, given_app, log_in
from tests.world import PASSWORD, World, claims_of, granted

FACTORS, PASSKEYS = "/account/factors", "/account/passkeys"


@pytest.fixture
def settings(make_settings: Callable[..., Any]) -> Any:
    """Under a name, not an address: there passkeys are possible."""
    return make_settings(issuer="http://localhost:8000")


def shop(world: World, **settings: object) -> Flow:
    return Flow(world, code_client(world, first_party=True, **settings))


def signed_in(page: Page) -> bool:
    return "You are signed in" in page.text


async def by_passkey(world: World, key: Authenticator, **lies: Any) -> Page:
    browser = Browser(world.api)
    page = await browser.get("/sign-in")
    return await browser.answer(page, key.sign(page.asked, **lies))


async def adding(world: World, browser: Browser, username: str = "ada") -> Page:
    """The page that adds one, for whoever has just signed in by password."""
    return await browser.sign_in(await browser.get(PASSKEYS), username)


def forged(credential: dict[str, Any], **response: str) -> dict[str, Any]:
    return credential | {"response": credential["response"] | response}


# --- Signing in -----------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [-7, -8, -257])
async def test_a_passkey_signs_its_owner_in_without_a_name(world: World, algorithm: int) -> None:
    user = world.user()
    key = await given_passkey(world, user, Authenticator(algorithm=algorithm))
    world.user("eve")
    flow, browser = shop(world), Browser(world.api)
    page, verifier = await flow.start(browser, acr_values="phr")
    assert page.asked["userVerification"] == "required" and page.asked["allowCredentials"] == []
    page = await browser.answer(page, key.sign(page.asked))
    tokens = (await flow.redeem(page.sent_to["code"], verifier)).json()
    for token in (tokens["id_token"], tokens["access_token"]):
        claims = claims_of(token)
        assert (claims["sub"], claims["acr"]) == (user.id, "phr")
        assert claims["amr"] == ["swk", "user", "mfa"]
    [event] = await world.events("login")
    assert (event.subject, event.detail["acr"]) == (user.id, "phr")


async def test_a_key_that_stays_in_its_device_is_said_to(world: World) -> None:
    key = await given_passkey(world, world.user(), Authenticator(synced=False))
    flow, browser = shop(world), Browser(world.api)
    page, verifier = await flow.start(browser)
    page = await browser.answer(page, key.sign(page.asked))
    tokens = (await flow.redeem(page.sent_to["code"], verifier)).json()
    assert claims_of(tokens["id_token"])["amr"] == ["hwk", "user", "mfa"]


LIES: dict[str, dict[str, Any]] = {
    "another origin": {"origin": "http://localhost.evil.example"},
    "a subdomain": {"origin": "http://a.localhost:8000"},
    "another port": {"origin": "http://localhost:8001"},
    "another RP ID": {"rp_id": "evil.example"},
    "within another page": {"crossOrigin": True},
    "within a page of": {"topOrigin": "http://evil.example"},
    "not a boolean": {"crossOrigin": "false"},
    "the user not verified": {"flags": UP},
    "nobody there": {"flags": 0x04},
    "another ceremony": {"type": "webauthn.create"},
    "no challenge of ours": {"challenge": encoded(b"x" * 54)},
    "no challenge": {"challenge": ""},
}


@pytest.mark.parametrize("lie", LIES)
async def test_what_is_not_right_signs_nobody_in(world: World, lie: str) -> None:
    _, key = await with_passkey(world)
    page = await by_passkey(world, key, **LIES[lie])
    assert page.status == 422 and "The passkey was not accepted" in page.text
    assert not await world.events("passkey.doubted")
    [event] = await world.events("login")
    assert event.outcome == "refused" and "evil" not in str(event.detail)
    assert signed_in(await by_passkey(world, key))


async def test_a_challenge_is_good_once_in_one_browser_for_an_hour(world: World) -> None:
    _, key = await with_passkey(world)
    with clock.frozen() as hand:
        browser, thief = Browser(world.api), Browser(world.api)
        page, other = await browser.get("/sign-in"), await thief.get("/sign-in")
        credential = key.sign(page.asked)
        stolen = await thief.answer(other, credential)
        assert stolen.status == 422 and "not accepted" in stolen.text
        assert signed_in(await browser.answer(page, credential))
        again = await browser.answer(page, credential)
        assert again.status == 422 and "took too long" in again.text
        page = await thief.get("/sign-in")
        hand.tick(timedelta(hours=1, seconds=1))
        late = await thief.answer(page, key.sign(page.asked))
        assert late.status == 422 and "took too long" in late.text


async def test_of_two_who_show_the_same_answer_at_once_one_gets_in(world: World) -> None:
    _, key = await with_passkey(world)
    browser = Browser(world.api)
    page = await browser.get("/sign-in")
    credential = key.sign(page.asked)
    pages = await at_once(*(browser.answer(page, credential) for _ in range(4)))
    assert sorted(page.status for page in pages) == [200, 422, 422, 422]


async def test_a_signature_by_another_key_or_for_another_user_is_refused(world: World) -> None:
    ada, key = await with_passkey(world)
    _, hers = await with_passkey(world, "eve")
    browser = Browser(world.api)
    page = await browser.get("/sign-in")
    forgery = hers.sign(page.asked) | {
        "id": encoded(key.credential_id), "rawId": encoded(key.credential_id),
    }  # fmt: skip
    for credential in (
        forgery,
        forged(forgery, userHandle=encoded(ada.id.encode())),
        forged(hers.sign(page.asked), userHandle=encoded(ada.id.encode())),
        forged(key.sign(page.asked), userHandle=""),
        forged(key.sign(page.asked), signature=encoded(b"")),
        forged(key.sign(page.asked), authenticatorData=encoded(b"\xff" * 37)),
    ):
        assert (await browser.answer(page, credential)).status == 422
    assert signed_in(await browser.answer(page, key.sign(page.asked)))


async def test_whatever_is_sent_the_answer_is_a_page(world: World) -> None:
    _, key = await with_passkey(world)
    browser = Browser(world.api)
    page = await browser.get("/sign-in")
    right = key.sign(page.asked)
    for text in (
        "", "null", "[]", "{}", "7", "{", '{"response":null}', '{"id":7,"response":{}}', "[" * 9000,
        json.dumps(right | {"id": "!"}), json.dumps(right | {"response": []}), '"' + "x" * 20_000,
        json.dumps(forged(right, clientDataJSON=encoded(b"\xff"))),
        json.dumps(forged(right, clientDataJSON=encoded(b'{"challenge":1}'))),
        json.dumps(forged(right, userHandle=encoded(b"\xff\0"))),
        json.dumps(forged(right, authenticatorData="")), json.dumps(right | {"rawId": "AAAA"}),
        json.dumps(right | {"type": "password"}),
    ):  # fmt: skip
        answer = await browser.post("/sign-in", {"credential": text})
        assert answer.status == 422, text


async def test_a_passkey_of_nobody_is_named_so_that_the_device_forgets_it(world: World) -> None:
    user, key = await with_passkey(world)
    with world.change() as session:
        keeping.remove_all(session, user.id)
    page = await by_passkey(world, key)
    assert page.status == 422 and "not known here any more" in page.text
    (form,) = (form for form in page.forms if "passkey" in form.data)
    assert form.data["unknown"] == encoded(key.credential_id)


async def test_a_disabled_user_is_not_let_in(world: World) -> None:
    user, key = await with_passkey(world)
    world.set_status(user, "disabled")
    page = await by_passkey(world, key)
    assert page.status == 422 and "not accepted" in page.text


async def test_somebody_elses_session_ends_when_a_passkey_signs_in(world: World) -> None:
    _, key = await with_passkey(world)
    world.user("eve")
    browser = Browser(world.api)
    with clock.frozen() as hand:
        await browser.sign_in(await browser.get("/sign-in"), "eve")
        before = browser.cookies["identity"]
        hand.tick(301)
        page = await browser.get(FACTORS)
        page = await browser.answer(page, key.sign(page.asked))
    assert "Identity ada Sign out" in page.text
    assert browser.cookies["identity"] != before
    assert len(await world.events("browser_session.ended")) == 1


# --- A counter that falls -----------------------------------------------------------------------


async def test_a_counter_that_falls_asks_for_another_factor_until_its_owner_says_so(
    world: World,
) -> None:
    user = world.user()
    key = await given_passkey(world, user, Authenticator(counts=True, synced=False))
    codes = key.recovery_codes
    assert signed_in(await by_passkey(world, key)) and signed_in(await by_passkey(world, key))
    key.count = 0  # a copy of before
    page = await by_passkey(world, key)
    assert page.status == 422 and "may have a copy" in page.text
    [event] = await world.events("passkey.doubted")
    assert (event.subject, event.detail["sign_count"]) == (user.id, 1)
    key.count = 100  # nor the one that counts on, until somebody has said whose it is
    assert "may have a copy" in (await by_passkey(world, key)).text
    assert len(await world.events("passkey.doubted")) == 1
    browser = Browser(world.api)
    page = await browser.sign_in(await browser.get(f"/sign-in?to={FACTORS}"))
    assert page.form.fields["kind"] == "recovery_code"  # the strongest that is left
    page = await browser.submit(page, "code", code=codes[0])
    assert "Its counter went backwards" in page.text
    page = await press(browser, page, "trust")
    assert "Its counter" not in page.text
    assert signed_in(await by_passkey(world, key))
    assert [e.subject for e in await world.events("passkey.trusted")] == [user.id]


async def test_of_two_with_one_count_one_is_doubted(world: World) -> None:
    key = await given_passkey(world, world.user(), Authenticator(counts=True))
    browsers = [Browser(world.api) for _ in range(2)]
    answers = []
    for browser in browsers:
        page, key.count = await browser.get("/sign-in"), 7
        answers.append((browser, page, key.sign(page.asked)))
    pages = await at_once(*(browser.answer(page, said) for browser, page, said in answers))
    assert sorted(page.status for page in pages) == [200, 422]
    assert len(await world.events("passkey.doubted")) == 1


# --- Beside the password ------------------------------------------------------------------------


async def test_beside_a_password_the_passkey_is_asked_for_first(world: World) -> None:
    user, key = await with_passkey(world)
    app = given_app_beside(world, user)
    flow, browser = shop(world), Browser(world.api)
    page, verifier = await flow.start(browser)
    page = await browser.sign_in(page)
    assert page.title.startswith("Second step") and "identity" not in browser.cookies
    assert page.form.fields["kind"] == "passkey"
    assert [each["id"] for each in page.asked["allowCredentials"]] == [encoded(key.credential_id)]
    page = await browser.submit(page, "another")
    assert page.form.fields["kind"] == "totp"
    page = await browser.submit(page, "another")
    assert page.form.fields["kind"] == "recovery_code"
    page = await browser.submit(page, "another")
    page = await browser.answer(page, key.sign(page.asked))
    tokens = (await flow.redeem(page.sent_to["code"], verifier)).json()
    claims = claims_of(tokens["id_token"])
    assert (claims["acr"], claims["amr"]) == ("phr", ["pwd", "swk", "user", "mfa"])
    other = Browser(world.api)
    page = await other.sign_in(await other.get("/sign-in"))
    page = await other.submit(page, "another")
    assert signed_in(await other.submit(page, "code", code=app.code()))


async def test_another_users_passkey_is_no_second_factor(world: World) -> None:
    _, key = await with_passkey(world)
    _, hers = await with_passkey(world, "eve")
    browser = Browser(world.api)
    page = await browser.sign_in(await browser.get("/sign-in"))
    page = await browser.answer(page, hers.sign(page.asked))
    assert page.status == 422 and page.title.startswith("Second step")
    assert "identity" not in browser.cookies
    assert signed_in(await browser.answer(page, key.sign(page.asked)))


async def test_the_second_step_takes_the_password_first(world: World) -> None:
    _, key = await with_passkey(world)
    browser = Browser(world.api)
    page = await browser.sign_in(await browser.get("/sign-in"))
    other = Browser(world.api)
    mine = await other.get("/sign-in")
    form = page.form.fields | {"credential": json.dumps(key.sign(mine.asked))}
    page = await other.post("/sign-in", form)  # another browser's proof of a password
    assert page.status == 422 and "identity" not in other.cookies


async def test_stepping_up_takes_a_passkey_where_nothing_less_will_do(world: World) -> None:
    user, key = await with_passkey(world)
    app = given_app_beside(world, user)
    flow, browser = shop(world), Browser(world.api)
    page = await browser.submit(await browser.sign_in(await browser.get("/sign-in")), "another")
    assert signed_in(await browser.submit(page, "code", code=app.code()))
    page, _ = await flow.start(browser, acr_values="aal2")
    assert "code" in page.sent_to
    page, _ = await flow.start(browser, acr_values="phr", prompt="none")
    assert page.sent_to["error"] == "login_required"
    page, verifier = await flow.start(browser, acr_values="phr")
    before = browser.cookies["identity"]
    page = await browser.answer(page, key.sign(page.asked))
    tokens = (await flow.redeem(page.sent_to["code"], verifier)).json()
    assert claims_of(tokens["id_token"])["acr"] == "phr"
    assert browser.cookies["identity"] != before


async def test_who_has_no_passkey_cannot_be_asked_for_one(world: World) -> None:
    app = given_app(world, world.user())
    flow, browser = shop(world), Browser(world.api)
    page = await browser.sign_in(await browser.get("/sign-in"))
    assert page.form.fields["kind"] == "totp"
    assert signed_in(await browser.submit(page, "code", code=app.code()))
    essential = json.dumps({"id_token": {"acr": {"essential": True, "value": "phr"}}})
    for asked in ({"acr_values": "phr"}, {"claims": essential}):
        page, _ = await flow.start(browser, **asked)
        assert page.sent_to["error"] == "unmet_authentication_requirements"
    page, _ = await flow.start(browser, acr_values="phr aal2")
    assert "code" in page.sent_to
    document = (await world.api.get("/.well-known/openid-configuration")).json()
    assert document["acr_values_supported"] == ["aal1", "aal2", "phr"]


async def test_a_role_that_wants_a_passkey_is_not_held_without_but_one_can_be_added(
    world: World,
) -> None:
    world.scopes("pay", role="treasurer")
    world.scopes("read", role="clerk")
    world.user(roles=["treasurer", "clerk"])
    with world.change() as session:
        for role, acr in (("treasurer", "phr"), ("clerk", "aal2")):
            editing.update_role(session, editing.get_role(session, role), {"acr": acr}, None)
    flow, browser, key = shop(world), Browser(world.api), Authenticator()
    assert claims_of((await flow.tokens(browser))["access_token"])["roles"] == []
    with clock.frozen() as hand:
        hand.tick(301)
        page = await adding(world, browser)
        page = await browser.answer(page, key.make(page.asked), name="x")
        tokens = await flow.tokens(browser)
        claims = claims_of(tokens["access_token"])
        assert claims["roles"] == ["clerk", "treasurer"] and claims["acr"] == "phr"
    code = page.answer.text.split("<li><code>")[1].split("<")[0]
    answer = await log_in(world, code)
    assert claims_of(granted(answer)["access_token"])["roles"] == ["clerk"]


# --- Keeping them -------------------------------------------------------------------------------


async def press(browser: Browser, page: Page, value: str, nth: int = 0, **fields: str) -> Page:
    """The button of this value in the nth form that has one."""
    forms = [form for form in page.forms if value in [each[1] for each in form.buttons]]
    pressed = {name: v for name, v, _ in forms[nth].buttons if v == value}
    return await browser.post(forms[nth].action, forms[nth].fields | fields | pressed)


def given_app_beside(world: World, user: Any) -> Any:
    """An app for whoever has recovery codes already."""
    factors = world.services.second_factor
    with world.change() as session:
        row = accounts.get(session, user.id, lock=True)
        app = App.scanned(factors.begin_totp(session, row).uri)
        assert factors.confirm_totp(session, row, app.code(-1)) is None
    return app


async def test_the_first_passkey_comes_with_recovery_codes_and_raises_the_session(
    world: World,
) -> None:
    world.user()
    browser, key = Browser(world.api), Authenticator()
    page = await adding(world, browser)
    assert page.asked["rp"]["id"] == "localhost" and page.asked["attestation"] == "none"
    assert page.asked["authenticatorSelection"]["residentKey"] == "required"
    before = browser.cookies["identity"]
    page = await browser.answer(page, key.make(page.asked), name="My  telephone")
    assert page.status == 200 and len(page.answer.text.split("<li><code>")) == 11
    assert browser.cookies["identity"] != before
    page = await browser.get(FACTORS)
    assert "My telephone" in page.text and "10 codes are left" in page.text
    page = await browser.get(PASSKEYS)
    assert [each["id"] for each in page.asked["excludeCredentials"]] == [encoded(key.credential_id)]
    second = Authenticator(synced=False)
    page = await browser.answer(page, second.make(page.asked), name="Security key")
    assert "Security key" in page.text and "On one device alone" in page.text
    page = await press(browser, page, "name", 1)
    page = await browser.submit(page, "named", name="The blue key")
    assert "The blue key" in page.text and "Security key" not in page.text
    page = await press(browser, page, "remove")
    assert "Your device may still offer it" in page.text
    page = await browser.submit(page, "removed")
    assert "My telephone" not in page.text
    assert (await by_passkey(world, key)).status == 422
    page = await press(browser, page, "remove")
    assert "your last second factor" in page.text
    page = await browser.submit(page, "removed")
    assert "Your password alone lets you in" in page.text and "codes are left" not in page.text
    kinds = [event.detail["kind"] for event in await world.events("factor.removed")]
    assert kinds == ["passkey", "passkey"]


async def test_an_app_that_is_set_up_takes_nothing_from_a_session_by_passkey(world: World) -> None:
    _, key = await with_passkey(world)
    flow, browser = shop(world), Browser(world.api)
    page = await browser.get(f"/sign-in?to={FACTORS}")
    page = await browser.answer(page, key.sign(page.asked))
    page = await press(browser, page, "begin")
    secret = page.answer.text.split('<code id="key">')[1].split("<")[0].replace(" ", "")
    page = await browser.submit(page, "confirm", code=App(secret).code())
    assert "Authenticator app" in page.text
    claims = claims_of((await flow.tokens(browser, acr_values="phr"))["id_token"])
    assert (claims["acr"], claims["amr"]) == ("phr", ["swk", "user", "mfa"])


async def test_an_app_that_is_removed_leaves_the_passkey_and_the_codes(world: World) -> None:
    user, key = await with_passkey(world)
    given_app_beside(world, user)
    browser = Browser(world.api)
    page = await browser.get(f"/sign-in?to={FACTORS}")
    page = await browser.answer(page, key.sign(page.asked))
    page = await press(browser, page, "remove", -1)
    assert "Your passkeys are asked for from now on" in page.text
    page = await browser.submit(page, "removed")
    assert "10 codes are left" in page.text
    page = await Browser(world.api).sign_in(await Browser(world.api).get("/sign-in"))
    assert page.title.startswith("Second step")


async def test_a_password_alone_adds_or_removes_none_where_there_is_one(world: World) -> None:
    world.user()
    with clock.frozen() as hand:
        early = Browser(world.api)
        page = await adding(world, early)
        other = Browser(world.api)
        first = await adding(world, other)
        await other.answer(first, Authenticator().make(first.asked), name="First")
        page = await early.answer(page, Authenticator().make(page.asked), name="Second")
        assert page.title.startswith("Sign in")
        page = await early.post(PASSKEYS, {"act": "removed", "passkey": "x"})
        assert page.title.startswith("Sign in")
        hand.tick(301)
        assert (await other.get(PASSKEYS)).title.startswith("Sign in")


MAKING: dict[str, dict[str, Any]] = {
    "another origin": {"origin": "http://evil.example"},
    "another RP ID": {"rp_id": "evil.example"},
    "within another page": {"crossOrigin": True},
    "the user not verified": {"flags": UP},
    "another ceremony": {"type": "webauthn.get"},
    "no challenge of ours": {"challenge": encoded(b"x" * 54)},
}


@pytest.mark.parametrize("lie", MAKING)
async def test_what_is_not_right_is_not_added(world: World, lie: str) -> None:
    world.user()
    browser = Browser(world.api)
    page = await adding(world, browser)
    page = await browser.answer(page, Authenticator().make(page.asked, **MAKING[lie]), name="x")
    assert page.status == 422 and "could not be added" in page.text
    assert stored(world) == []


async def test_a_challenge_makes_one_passkey_for_whom_it_was_made(world: World) -> None:
    ada = world.user()
    world.user("eve")
    browser, hers = Browser(world.api), Browser(world.api)
    page, theirs = await adding(world, browser), await adding(world, hers, "eve")
    made = Authenticator().make(theirs.asked)
    stolen = await browser.answer(theirs, made, name="x", user=ada.id)
    assert stolen.status == 422
    made = Authenticator().make(page.asked)
    assert (await browser.answer(page, made, name="x")).status == 200
    again = await browser.answer(page, Authenticator().make(page.asked), name="y")
    assert again.status == 422 and "took too long" in again.text
    assert len(stored(world)) == 1


async def test_one_key_is_one_users_whoever_comes_first(world: World) -> None:
    id_ = b"the same id" * 3
    browsers = []
    for username in ("ada", "eve"):
        world.user(username)
        browser = Browser(world.api)
        browsers.append((browser, await adding(world, browser, username)))
    pages = await at_once(*(
        browser.answer(page, Authenticator(credential_id=id_).make(page.asked), name="x")
        for browser, page in browsers
    ))  # fmt: skip
    assert sorted(page.status for page in pages) == [200, 422]
    assert [row.credential_id for row in stored(world)] == [encoded(id_)]
    refused = next(page for page in pages if page.status == 422)
    assert "added already" in refused.text


async def test_there_are_twenty_at_the_most_also_of_two_at_once(world: World) -> None:
    user, key = await with_passkey(world)
    for _ in range(keeping.MOST - 2):
        await given_passkey(world, user)
    pages = []
    for _ in range(2):
        browser = Browser(world.api)
        page = await browser.get(f"/sign-in?to={PASSKEYS}")
        pages.append((browser, await browser.answer(page, key.sign(page.asked))))
    done = await at_once(*(
        browser.answer(page, Authenticator().make(page.asked), name="x") for browser, page in pages
    ))  # fmt: skip
    assert sorted(page.status for page in done) == [200, 422]
    assert len(stored(world)) == keeping.MOST
    page = await pages[0][0].get(PASSKEYS)
    assert page.status == 422 and "twenty" in page.text and not page.forms


async def test_ids_and_names_are_bounded_and_shown_as_text(world: World) -> None:
    world.user()
    browser = Browser(world.api)
    page = await adding(world, browser)
    for name in ("", " ", "x" * 101, "a\x1bb", "a\u202eb"):
        answer = await browser.answer(page, Authenticator().make(page.asked), name=name)
        assert answer.status == 422 and "1 to 100 characters" in answer.text, name
    long = Authenticator(credential_id=b"x" * 1024)
    assert (await browser.answer(page, long.make(page.asked), name="x")).status == 422
    page = await browser.get(PASSKEYS)
    longest = Authenticator(credential_id=b"x" * 1023)
    await browser.answer(page, longest.make(page.asked), name="<b>'\"&</b>")
    page = await browser.get(FACTORS)
    assert "<b>'" not in page.answer.text and "<b>'\"&</b>" in page.text
    assert signed_in(await by_passkey(world, longest))


async def test_anothers_passkey_is_not_there(world: World) -> None:
    user, key = await with_passkey(world)
    _, hers = await with_passkey(world, "eve")
    browser = Browser(world.api)
    page = await browser.get(f"/sign-in?to={FACTORS}")
    page = await browser.answer(page, key.sign(page.asked))
    for act in ("name", "named", "remove", "removed", "trust"):
        said = {"user": user.id, "act": act, "passkey": hers.passkey_id, "name": "mine"}
        page = await browser.post(PASSKEYS, said)
        assert page.status == 200 and "Second factors" in page.title
    assert {row.name for row in stored(world)} == {"Key"} and len(stored(world)) == 2


async def test_a_form_for_one_person_does_nothing_to_another_who_signed_in_meanwhile(
    world: World,
) -> None:
    world.user("ada")
    world.user("eve")
    browser = Browser(world.api)
    page = await adding(world, browser, "ada")
    await browser.post("/sign-in", {"username": "eve", "password": PASSWORD})
    answer = await browser.answer(page, Authenticator().make(page.asked), name="Ada's")
    assert answer.status == 409 and "Somebody else has signed in" in answer.text
    assert stored(world) == []


def stored(world: World) -> list[Passkey]:
    with world.change() as session:
        return [row for user in ("ada", "eve")
                if (found := accounts.find_by_login(session, user))
                for row in keeping.of_user(session, found.id)]  # fmt: skip


# --- Where, and where not -------------------------------------------------------------------


async def test_pages_with_scripts_run_those_alone(world: World) -> None:
    first, second = [await world.api.get("/sign-in") for _ in range(2)]
    policy = first.headers["content-security-policy"]
    nonce = policy.split("'nonce-")[1].split("'")[0]
    assert f'nonce="{nonce}"' in first.text and nonce not in second.text
    assert "require-trusted-types-for 'script'" in policy and "default-src 'none'" in policy
    loaded = [part.split('"')[0] for part in first.text.split('<script src="')[1:]]
    scripts = [await world.api.get(each) for each in loaded]
    assert len(scripts) == first.text.count("<script") == first.text.count(f'nonce="{nonce}"') == 2
    for answer in scripts:
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    style = await world.api.get(first.text.split('rel="stylesheet" href="')[1].split('"')[0])
    icon = await world.api.get(first.text.split('rel="icon" href="')[1].split('"')[0])
    weight = sum(len(each.content) for each in (first, *scripts, style, icon))
    assert weight <= 60_000
    browser = Browser(world.api)
    page = await browser.sign_in(await browser.get("/sign-in"), "nobody")
    policy = page.answer.headers["content-security-policy"]
    assert "script-src 'nonce-" in policy
    error = await world.api.get("/authorize?client_id=nobody")
    assert "script-src" not in error.headers["content-security-policy"]


async def test_password_managers_find_where_passkeys_are_kept(world: World) -> None:
    answer = await world.api.get("/.well-known/passkey-endpoints")
    issuer = world.services.settings.issuer
    assert answer.json() == {
        "enroll": f"{issuer}/account/passkeys", "manage": f"{issuer}/account/factors",
    }  # fmt: skip
    assert (await world.api.get("/.well-known/webauthn")).status_code == 404


class TestRelated:
    @pytest.fixture
    def settings(self, make_settings: Callable[..., Any]) -> Any:
        app = "android:apk-key-hash:" + "x" * 43
        return make_settings(
            issuer="https://id.new.example",
            rp_id="old.example",
            related_origins=f"https://id.new.example https://shop.example {app}",
        )

    async def test_related_origins_and_apps_use_the_same_passkeys(self, world: World) -> None:
        answer = await world.api.get("/.well-known/webauthn")
        ours = ["https://id.new.example", "https://shop.example"]
        assert answer.json() == {"origins": ours}
        user = world.user()
        passkeys = world.services.passkeys
        for origin in (*ours, "android:apk-key-hash:" + "x" * 43, "https://old.example"):
            key = Authenticator(origin=origin)
            if origin == "https://old.example":  # was ours, and is not listed
                key.origin = ours[0]
                await given_passkey(world, user, key)
                key.origin = origin
                with pytest.raises(Exception, match="not accepted"):
                    await passkeys.show(json.dumps(key.sign(passkeys.ask("b"))), "b")
            else:
                await given_passkey(world, user, key)
                shown = await passkeys.show(json.dumps(key.sign(passkeys.ask("b"))), "b")
                assert shown.user_id == user.id and key.rp_id == "old.example"


class TestAtAnAddress:
    @pytest.fixture
    def settings(self, make_settings: Callable[..., Any]) -> Any:
        return make_settings()

    async def test_passkeys_are_hidden_and_the_page_says_what_to_set(self, world: World) -> None:
        user = world.user()
        sign_in = await world.api.get("/sign-in")
        assert "passkey" not in sign_in.text and "set-cookie" not in sign_in.headers
        assert (await world.api.get("/.well-known/passkey-endpoints")).status_code == 404
        browser = Browser(world.api)
        for path in (FACTORS, PASSKEYS):
            page = await browser.get(path)
            page = await browser.sign_in(page) if page.title.startswith("Sign in") else page
            assert "IDENTITY_ISSUER=http://localhost:8000" in page.text
            assert "Add a passkey" not in page.text or path == PASSKEYS
        said = {"user": user.id, "act": "add", "name": "x", "credential": "{}"}
        page = await browser.post(PASSKEYS, said)
        assert page.status == 422
        page = await browser.post("/sign-in", {"credential": "{}"})
        assert page.status == 422
        document = (await world.api.get("/.well-known/openid-configuration")).json()
        assert document["acr_values_supported"] == ["aal1", "aal2"]
        assert user.id
