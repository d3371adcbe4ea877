"""Pushed requests (RFC 9126): the push is all there is, for its client, once, soon."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from sqlmodel import select

from identity import clock
from identity.authentication import marks
from identity.tokens import pushed as stored
from tests.browsing import CALLBACK, Browser, Flow, Page, code_client
from tests.oauth.authorize.test_requests import CHALLENGE, WRONG, told
from tests.oauth.authorize.test_return_addresses import assert_stays
from tests.pushing import age, come, push, pushed, rows
from tests.world import Caller, World, claims_of, granted, refused


def shop(world: World, **settings: Any) -> Flow:
    world.user()
    return Flow(world, code_client(world, **settings))


async def signed_in(world: World) -> Browser:
    browser = Browser(world.api)
    await browser.sign_in(await browser.get("/sign-in"))
    return browser


async def finished(browser: Browser, page: Page) -> Page:
    if page.title.startswith("Sign in"):
        page = await browser.sign_in(page)
    return await browser.submit(page, "agree") if page.title.startswith("Allow") else page


async def test_a_push_answers_201_with_a_name_and_60_seconds(world: World) -> None:
    flow = shop(world)
    answer, verifier = await push(flow)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    said = answer.json()
    assert set(said) == {"request_uri", "expires_in"} and said["expires_in"] == 60
    assert said["request_uri"].startswith("urn:ietf:params:oauth:request_uri:")
    assert len(said["request_uri"]) - len(stored.URN) >= 43
    browser = Browser(world.api)
    page = await finished(browser, await come(browser, flow, said["request_uri"]))
    tokens = granted(await flow.redeem(page.sent_to["code"], verifier))
    assert claims_of(tokens["id_token"])["aud"] == "shop"


async def test_only_a_digest_is_stored_and_no_secret_and_what_is_answered_is_emptied(
    world: World,
) -> None:
    flow = shop(world)
    request_uri, _ = await pushed(flow, scope="openid")
    (row,) = rows(world)
    assert request_uri.removeprefix(stored.URN) not in str(row)
    assert flow.client.secret is not None and flow.client.secret not in str(row)
    assert "client_secret" not in str(row) and ["scope", "openid"] in row["parameters"]
    browser = Browser(world.api)
    await finished(browser, await come(browser, flow, request_uri))
    (row,) = rows(world)
    assert row["parameters"] == [] and row["used_at"] is not None


async def test_other_verbs_are_405(world: World) -> None:
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answer = await world.api.request(method, "/par")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST"), method


async def test_who_pushes_authenticates_as_at_the_token_endpoint(world: World) -> None:
    flow = shop(world)
    parameters, _ = flow.parameters()
    api = world.api
    assert (await api.post("/par", data=parameters, headers=flow.client.basic)).status_code == 201
    del parameters["client_id"]
    assert (await api.post("/par", data=parameters, headers=flow.client.basic)).status_code == 201
    for wrong in (Caller("shop", "wrong"), Caller("nobody", "x"), Caller("shop", None)):
        refused(await api.post("/par", data=parameters | wrong.post), 401, "invalid_client")
    answer = await api.post("/par", data=parameters | flow.client.post, headers=flow.client.basic)
    refused(answer, 400, "invalid_request")
    contradicting = parameters | {"client_id": "other"}
    answer = await api.post("/par", data=contradicting, headers=flow.client.basic)
    refused(answer, 400, "invalid_request")
    world.change_client("shop", status="disabled")
    refused((await push(flow))[0], 401, "invalid_client")


async def test_a_public_client_pushes_by_its_name_alone(world: World) -> None:
    flow = shop(world, public=True)
    request_uri, verifier = await pushed(flow)
    browser = Browser(world.api)
    page = await finished(browser, await come(browser, flow, request_uri))
    assert (await flow.redeem(page.sent_to["code"], verifier)).status_code == 200


async def test_what_is_wrong_is_said_at_the_push(world: World) -> None:
    flow = shop(world)
    for error, changed in WRONG:
        # Whether somebody has a second factor is not known before they are.
        if not {"request", "request_uri", "acr_values"} & set(changed):
            refused((await push(flow, **changed))[0], 400, error)
    for changed in (
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": None, "response_type": None},
        {"code_challenge_method": "plain"},
    ):
        refused((await push(flow, **changed))[0], 400, "invalid_request")
    assert rows(world) == []
    assert await world.events("authorization.push_refused")
    world.change_client("shop", grants=["password"])
    refused((await push(flow))[0], 400, "unauthorized_client")


async def test_a_request_uri_inside_a_push_is_refused(world: World) -> None:
    flow = shop(world)
    first, _ = await pushed(flow)
    for inside in (first, "https://shop.example/request"):
        refused((await push(flow, request_uri=inside))[0], 400, "invalid_request")


async def test_a_parameter_that_comes_twice_is_refused_but_for_resource(world: World) -> None:
    flow = shop(world, audiences=("https://a.example", "https://b.example"))
    parameters, _ = flow.parameters(resource="https://a.example")
    form = [*(parameters | flow.client.post).items()]
    headers = {"content-type": "application/x-www-form-urlencoded"}
    twice = urlencode([*form, ("resource", "https://b.example")])
    assert (await world.api.post("/par", content=twice, headers=headers)).status_code == 201
    for name in ("scope", "client_id", "client_secret"):
        again = urlencode([*form, (name, dict(form)[name])])
        answer = await world.api.post("/par", content=again, headers=headers)
        refused(answer, 400, "invalid_request")


async def test_a_push_is_bounded_in_size_and_number(world: World) -> None:
    flow = shop(world)
    refused((await push(flow, state="x" * 25_000))[0], 400, "invalid_request")
    assert (await push(flow, state="x" * 70_000))[0].status_code == 413
    assert (await push(flow, state="x" * 16_000))[0].status_code == 201  # more than an address has
    template = rows(world)[0]
    with world.change() as session:
        for n in range(stored.MOST - 1):
            session.add(stored.PushedRequest(**template | {"digest": f"d{n}", "parameters": []}))
    answer, _ = await push(flow)
    assert answer.status_code == 429 and answer.headers["retry-after"] == "60"
    other = Flow(world, code_client(world, "other"))
    assert (await push(other))[0].status_code == 201
    age(world, 61)
    assert (await push(flow))[0].status_code == 201


async def test_whoever_names_a_public_client_fills_up_their_own_share_alone(world: World) -> None:
    flow = shop(world, public=True)
    for _ in range(stored.EACH):
        assert (await push(flow))[0].status_code == 201
    assert (await push(flow))[0].status_code == 429
    with world.change() as session:
        for row in session.exec(select(stored.PushedRequest)).all():
            row.network = "192.0.2.1"
            session.add(row)
    assert (await push(flow))[0].status_code == 201


async def test_it_is_bound_to_its_client(world: World) -> None:
    flow, browser = shop(world), await signed_in(world)
    other = Flow(world, code_client(world, "other", first_party=True))
    request_uri, _ = await pushed(flow)
    assert_stays(await come(browser, other, request_uri))
    assert_stays(await browser.get("/authorize", params={"request_uri": request_uri}))
    assert "Allow access" in (await come(browser, flow, request_uri)).title


async def test_what_was_never_pushed_gets_a_page(world: World) -> None:
    flow, browser = shop(world), await signed_in(world)
    request_uri, _ = await pushed(flow)
    for name in (
        stored.URN, f"{stored.URN}pr_x", request_uri[:-1], f"{request_uri}x", request_uri.upper(),
        f"{stored.URN}{rows(world)[0]['digest']}",
    ):  # fmt: skip
        page = await come(browser, flow, name, redirect_uri=CALLBACK)
        assert page.status in (303, 400) and "code=" not in str(page.answer.headers), name
        if name.startswith(stored.URN):
            assert_stays(page)
    twice = [("client_id", "shop"), ("request_uri", request_uri), ("request_uri", request_uri)]
    assert_stays(await browser.get("/authorize", params=twice))


async def test_browser_parameters_neither_complete_nor_change_a_push(world: World) -> None:
    """Keycloak 49269."""
    both = [CALLBACK, "https://shop.example/other"]
    flow, browser = shop(world, redirect_uris=both, first_party=True), await signed_in(world)
    request_uri, verifier = await pushed(flow, scope="openid", state=None, nonce=None)
    beside = {
        "redirect_uri": both[1], "state": "mine", "nonce": "mine", "scope": "openid email",
        "response_mode": "fragment", "prompt": "login", "max_age": "0", "code_challenge": CHALLENGE,
        "response_type": "token", "resource": "https://elsewhere.example/", "claims": "{",
    }  # fmt: skip
    page = await come(browser, flow, request_uri, **beside)
    assert page.answer.headers["location"].startswith(f"{CALLBACK}?")
    assert set(page.sent_to) == {"code", "iss"}
    tokens = granted(await flow.redeem(page.sent_to["code"], verifier))
    assert tokens["scope"] == "openid" and "nonce" not in claims_of(tokens["id_token"])
    refused((await push(flow, code_challenge=None))[0], 400, "invalid_request")


async def test_a_second_page_load_before_completion_works(world: World) -> None:
    """Keycloak 36716: consumed at the first one."""
    flow, browser = shop(world), Browser(world.api)
    request_uri, verifier = await pushed(flow)
    for _ in range(3):
        page = await come(browser, flow, request_uri)
        assert page.title.startswith("Sign in")
    elsewhere = await come(Browser(world.api), flow, request_uri)
    assert elsewhere.title.startswith("Sign in")
    consent = await browser.sign_in(page)
    assert (await browser.get(str(consent.answer.url))).title == consent.title
    page = await browser.submit(consent, "agree")
    assert (await flow.redeem(page.sent_to["code"], verifier)).status_code == 200


async def test_it_cannot_be_used_after_completion(world: World) -> None:
    flow, browser = shop(world), Browser(world.api)
    request_uri, _ = await pushed(flow, prompt="consent")
    consent = await browser.sign_in(await come(browser, flow, request_uri))
    assert (await browser.submit(consent, "agree")).sent_to["code"]
    for page in (
        await come(browser, flow, request_uri),
        await browser.get(str(consent.answer.url)),
        await browser.submit(consent, "agree"),
        await browser.submit(consent, "decline"),
    ):
        assert page.status == 409 and "answered already" in page.text
        assert "location" not in page.answer.headers


async def test_who_declines_has_answered_it(world: World) -> None:
    flow, browser = shop(world), Browser(world.api)
    request_uri, _ = await pushed(flow, state="st")
    consent = await browser.sign_in(await come(browser, flow, request_uri))
    page = await browser.submit(consent, "decline")
    assert told(page, "access_denied")["state"] == "st"
    assert (await browser.submit(consent, "agree")).status == 409


async def test_an_error_without_a_person_writes_nothing(world: World) -> None:
    flow, browser = shop(world), Browser(world.api)
    request_uri, _ = await pushed(flow, prompt="none")
    for _ in range(2):
        told(await come(browser, flow, request_uri), "login_required")
    assert rows(world)[0]["used_at"] is None


async def test_after_a_minute_nobody_may_come_with_it(world: World) -> None:
    flow, browser = shop(world), await signed_in(world)
    request_uri, _ = await pushed(flow)
    age(world, 59)
    assert "Allow access" in (await come(browser, flow, request_uri)).title
    age(world, 2)
    assert_stays(await come(browser, flow, request_uri))


async def test_who_came_in_time_may_take_the_hour_of_the_mark(world: World) -> None:
    flow, browser = shop(world), Browser(world.api)
    request_uri, verifier = await pushed(flow, prompt="login", max_age="1")
    with clock.frozen() as hand:
        page = await come(browser, flow, request_uri)
        age(world, 3000)
        hand.tick(3000)
        consent = await browser.sign_in(page)
        assert consent.title.startswith("Allow access")
        tokens = await browser.submit(consent, "agree")
        assert (await flow.redeem(tokens.sent_to["code"], verifier)).status_code == 200


async def test_a_mark_is_no_other_browsers_and_no_other_requests(world: World) -> None:
    flow, browser, other = shop(world), Browser(world.api), await signed_in(world)
    first, _ = await pushed(flow)
    second, _ = await pushed(flow)
    page = await come(browser, flow, first)
    back = page.answer.url.params["to"]
    age(world, 61)
    assert_stays(await other.get(back))
    swapped = back.replace(first[-43:], second[-43:])
    assert swapped != back
    assert_stays(await browser.get(swapped))
    assert (await browser.sign_in(page)).title.startswith("Allow access")


async def test_after_the_marks_hour_it_is_over_and_soon_gone(world: World) -> None:
    assert timedelta(seconds=marks.LIFE) == stored.KEPT
    flow, browser = shop(world), Browser(world.api)
    request_uri, _ = await pushed(flow)
    with clock.frozen() as hand:
        page = await come(browser, flow, request_uri)
        hand.tick(marks.LIFE + 1)
        age(world, marks.LIFE + 1)
        assert_stays(await browser.sign_in(page))
        assert len(rows(world)) == 1
        age(world, 120)
        with world.change() as session:
            assert stored.prune(session) == 1
        assert rows(world) == []
        assert_stays(await come(browser, flow, request_uri))


async def test_direct_parameters_are_refused_for_a_client_that_has_to_push(world: World) -> None:
    flow = shop(world, require_pushed_authorization_requests=True, first_party=True)
    browser = await signed_in(world)
    for changed in ({}, {"prompt": "none"}, {"response_mode": "query.jwt"}):
        page, _ = await flow.start(browser, **changed)
        assert page.answer.headers["location"].startswith(f"{CALLBACK}?")
        if not changed:
            assert told(page, "invalid_request")["state"]
    request_uri, verifier = await pushed(flow)
    page = await come(browser, flow, request_uri)
    assert (await flow.redeem(page.sent_to["code"], verifier)).status_code == 200


async def test_a_client_that_has_to_push_may_still_use_its_other_grants(world: World) -> None:
    """node-oidc-provider 9.6.1."""
    flow = shop(world, require_pushed_authorization_requests=True)
    grants = ["authorization_code", "refresh_token", "password", "client_credentials"]
    world.change_client("shop", grants=grants, scopes=["*", "openid"])
    tokens = await world.log_in(client=flow.client)
    assert (await world.refresh(tokens["refresh_token"], flow.client)).status_code == 200
    await world.act(flow.client, scope="openid")


async def test_a_client_that_changes_meanwhile_is_judged_as_it_is_then(world: World) -> None:
    """CVE-2026-7571: what was pushed is trusted no more than what a browser brings."""
    flow, browser = shop(world), await signed_in(world)
    settings = {"redirect_uris": ["https://shop.example/new"]}
    request_uri, _ = await pushed(flow)
    world.change_client("shop", settings=settings)
    assert_stays(await come(browser, flow, request_uri))
    world.change_client("shop", settings={"redirect_uris": [CALLBACK]}, grants=["password"])
    told(await come(browser, flow, request_uri), "unauthorized_client")
    world.delete_client("shop")
    assert_stays(await come(browser, flow, request_uri))


async def test_a_push_brought_by_a_post_from_elsewhere_becomes_a_get(world: World) -> None:
    flow = shop(world)
    request_uri, _ = await pushed(flow)
    form = {"client_id": "shop", "request_uri": request_uri}
    said = {"sec-fetch-site": "cross-site"}
    answer = await world.api.post("/authorize", data=form, headers=said)
    assert answer.status_code == 303 and urlsplit(answer.headers["location"]).path == "/authorize"


async def test_the_metadata_names_the_endpoint(world: World) -> None:
    document = (await world.api.get("/.well-known/openid-configuration")).json()
    assert document["pushed_authorization_request_endpoint"] == f"{document['issuer']}/par"
    assert document["require_pushed_authorization_requests"] is False
