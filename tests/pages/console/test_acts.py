"""What administrators do at the console, by forms alone, and what is on record of it."""

import html
import json
import re
from datetime import timedelta

import pytest
from sqlmodel import select

from identity import clock
from identity.directory.clients import accounts as clients
from identity.directory.clients.settings import load
from identity.directory.users import accounts, listing
from identity.directory.users.table import User
from tests.browsing import code_client
from tests.pages.console.sitting import act, administrator, at, locked, post, role, seated, sheet_of
from tests.second_factors import given_app
from tests.world import PASSWORD, World

EVIL = "<img src=x onerror=alert(1)>\"'&lt;script&gt;"


async def test_a_user_is_created_gets_a_one_time_password_and_changes_it(world: World) -> None:
    root = administrator(world)
    role(world, "clerk")
    browser = await seated(world)
    page = await post(
        browser, at("/users", do="create"),
        {"act": "create", "username": "Grace", "email": "grace@example.com", "name": "Grace H",
         "roles": ["clerk"], "first": "one_time"},
    )  # fmt: skip
    assert page.status == 200 and "One-time password" in page.text
    with world.change() as session:
        grace = accounts.find_by_login(session, "grace@example.com")
        assert grace is not None and grace.must_change_password
        assert accounts.roles_of(session, grace.id) == ["clerk"]
    (event,) = [e for e in await world.events("user.created") if e.subject == grace.id]
    assert (event.actor_type, event.actor) == ("user", root.id)
    again = await post(
        browser, at("/users", do="create"),
        {"act": "create", "username": "grace", "first": "none", "name": EVIL},
    )  # fmt: skip
    assert again.status == 409 and "taken" in again.text
    assert EVIL not in again.answer.text and 'value="grace"' in again.answer.text


async def test_mistakes_are_marked_at_their_fields(world: World) -> None:
    administrator(world)
    browser = await seated(world)
    form = {"act": "create", "username": "two words", "email": "nonsense", "first": "none"}
    page = await post(browser, at("/users", do="create"), form)
    assert page.status == 422 and 'aria-invalid="true"' in page.answer.text
    assert 'id="username-problem"' in page.answer.text
    page = await post(browser, at("/users", do="create"), {"act": "create", "first": "none"})
    assert page.status == 422 and "This is needed" in page.text
    long = {"act": "create", "username": "x", "name": "n" * 201, "first": "none"}
    page = await post(browser, at("/users", do="create"), long)
    assert page.status == 422 and "At most 200" in page.text


async def test_two_who_change_one_user_see_both_versions(world: World) -> None:
    administrator(world)
    user = world.user("ada", name="Ada")
    browser, address = await seated(world), at("/user", id=user.id, do="edit")
    version = sheet_of(await browser.get(address))
    with world.change() as session:
        row = accounts.get(session, user.id, lock=True)
        accounts.update(session, row, {"name": "Countess"}, None)
    mine = {"act": "edit", "username": "ada", "user": user.id, "name": "Augusta", **version}
    page = await post(browser, address, mine)
    assert page.status == 412
    assert "Countess" in page.text and "Augusta" in page.text
    page = await post(browser, address, {**mine, **sheet_of(page)})
    assert page.status == 200 and "Saved" in page.text
    with world.change() as session:
        assert accounts.get(session, user.id).name == "Augusta"


async def test_all_that_is_known_of_a_user_is_changed_and_emptied(world: World) -> None:
    administrator(world)
    user = world.user("ada")
    browser, address = await seated(world), at("/user", id=user.id, do="edit")
    page = await act(
        browser, address, "edit", username="ada", email="ada@example.com", email_verified="yes",
        given_name="Ada", phone_number="+44 20 7946 0000", locale="en_gb",
        **{"address.locality": "London", "attributes": 'department = "Analysis"\nlevel = 3'},
    )  # fmt: skip
    assert "Saved" in page.text, page.text
    with world.change() as session:
        row = accounts.get(session, user.id)
        assert row.email_verified and row.address == {"locality": "London"}
        assert row.attributes == {"department": "Analysis", "level": 3}
        assert (row.locale, row.phone_number) == ("en-GB", "+442079460000")
    page = await act(browser, address, "edit", username="ada")
    with world.change() as session:
        row = accounts.get(session, user.id)
        assert (row.email, row.address, row.attributes, row.locale) == (None, None, None, None)
    page = await act(browser, address, "edit", username="ada", attributes="[" * 5000 + "=[")
    assert page.status == 422
    page = await act(browser, address, "edit", username="ada", locale="never ever")
    assert page.status == 422 and 'id="locale-problem"' in page.answer.text


async def test_disabled_enabled_signed_out_and_deleted(world: World) -> None:
    administrator(world)
    user = world.user("ada")
    client = code_client(world)
    world.change_client("shop", grants=["password", "refresh_token"])
    token = (
        await world.token(client, grant_type="password", username="ada", password=PASSWORD)
    ).json()["access_token"]
    browser = await seated(world)
    here = at("/user", id=user.id)
    page = await browser.get(here)
    assert "The Shop" in page.text and "127.0.0.1" in page.text
    assert "Signed out everywhere" in (await post(browser, here, {"act": "sign_out"})).text
    assert not await world.active(token)
    assert (
        "Disabled." in (await act(browser, at("/user", id=user.id, do="disable"), "disable")).text
    )
    assert "Enabled." in (await post(browser, here, {"act": "enable"})).text
    gone = at("/user", id=user.id, do="delete")
    assert (await act(browser, gone, "delete", confirm="Ada?")).status == 422
    assert "It is gone" in (await act(browser, gone, "delete", confirm="ada")).text
    assert (await browser.get(here)).status == 404


async def test_one_session_and_one_browser_are_ended(world: World) -> None:
    administrator(world)
    user = world.user("ada")
    other = await seated_at_sign_in(world)
    browser = await seated(world)
    page = await browser.get(at("/user", id=user.id))
    (form,) = [f for f in page.forms if f.buttons and f.buttons[0][1] == "end_browser"]
    page = await post(browser, at("/user", id=user.id), {"act": "end_browser", **form.fields})
    assert "The session has ended" in page.text
    assert "Sign in" in (await other.get("/sign-in")).title
    page = await post(browser, at("/user", id=user.id), {"act": "end_browser", **form.fields})
    assert page.status == 404


async def seated_at_sign_in(world: World):  # type: ignore[no-untyped-def]
    from tests.browsing import Browser

    browser = Browser(world.api)
    await browser.sign_in(await browser.get("/sign-in"), "ada")
    return browser


async def test_what_matters_most_takes_a_fresh_proof_before_it_is_asked(world: World) -> None:
    administrator(world)
    user = world.user("ada")
    given_app(world, user)
    with clock.frozen() as hand:
        browser = await seated(world)
        hand.tick(timedelta(minutes=6))
        for path, query in (
            ("/user", {"id": user.id, "do": "password"}), ("/user", {"id": user.id, "do": "roles"}),
            ("/user", {"id": user.id, "do": "factors"}), ("/user", {"id": user.id, "do": "delete"}),
            ("/keys", {"do": "rotate"}), ("/roles", {"do": "create"}),
        ):  # fmt: skip
            address = at(path, **query)
            page = await browser.get(address)
            assert "Confirm that it is you" in page.text, address
            page = await post(browser, address, {"act": query["do"], "reason": "x"})
            assert "Confirm that it is you" in page.text, address
        page = await browser.get(at("/user", id=user.id, do="factors"))
        page = await browser.sign_in(page, "root")
        assert "second factors" in page.title, page.title  # and back to what was asked for
        page = await act(
            browser, at("/user", id=user.id, do="factors"), "factors", reason="lost the phone"
        )
        assert "reset" in page.text
    (event,) = await world.events("factors.reset")
    assert event.detail["reason"] == "lost the phone"


async def test_many_are_disabled_each_on_its_own_after_a_look(world: World) -> None:
    root = administrator(world)
    users = [world.user(name) for name in ("a1", "a2", "a3")]
    ids = [user.id for user in users]
    browser = await seated(world)
    asked = {"act": "bulk", "bulk": "disable", "user": [*ids, root.id]}
    page = await post(browser, at("/users"), asked)
    assert "This is about 4 users" in page.text
    assert await world.events("user.disabled") == []
    with world.change() as session:  # the only administrator there is
        first = accounts.find_by_login(session, "admin")
        assert first is not None
        accounts.set_status(session, first, "disabled", None)
    page = await post(browser, at("/users"), {**asked, "act": "carry_out"})
    assert page.text.count("done") == 3 and "last administrator" in page.text
    done = {e.subject for e in await world.events("user.disabled") if e.actor == root.id}
    assert done == set(ids)
    nothing = await post(browser, at("/users"), {"act": "bulk", "bulk": "disable"})
    assert nothing.status == 422


async def test_a_role_is_given_to_many(world: World) -> None:
    administrator(world)
    role(world, "clerk")
    ids = [world.user(name).id for name in ("a1", "a2")]
    browser = await seated(world)
    form = {"act": "carry_out", "bulk": "give", "role": "clerk", "user": ids}
    page = await post(browser, at("/users"), form)
    assert page.text.count("done") == 2
    with world.change() as session:
        assert all(accounts.roles_of(session, each) == ["clerk"] for each in ids)
    page = await post(browser, at("/users"), {**form, "bulk": "take"})
    with world.change() as session:
        assert all(accounts.roles_of(session, each) == [] for each in ids)


async def test_people_are_found_by_how_they_begin_and_filtered(world: World) -> None:
    administrator(world)
    with world.change() as session:
        for n in range(120):
            accounts.create(session, username=f"user{n:03}", name=f"Name {n:03}")
        accounts.create(session, username="zoe", name="Zoë Ångström", email="zoe@example.com")
        dormant = accounts.find_by_login(session, "user007")
        assert dormant is not None
        dormant.last_login_at = clock.utcnow() - timedelta(days=100)
        accounts.set_status(session, accounts.find_by_login(session, "user003"), "disabled", None)  # type: ignore[arg-type]
    browser = await seated(world)
    page = await browser.get(at("/users", q="zo"))
    assert "Zoë" in page.text and "user0" not in page.text
    for q in ("Zoë", "zoë å", "zoe@ex", "Ångström"):
        assert "zoe" in (await browser.get(at("/users", q=q))).text, q
    assert "user007" in (await browser.get(at("/users", view="dormant"))).text
    page = await browser.get(at("/users", status="disabled"))
    assert "user003" in page.text and "user004" not in page.text
    seen, address, pages = set[str](), at("/users", view="never"), 0
    while address and pages < 9:
        page = await browser.get(address)
        seen |= {word for word in page.text.split() if word.startswith("user0")}
        link = re.search(r'rel="next" href="([^"]+)"', page.answer.text)
        address, pages = html.unescape(link[1]) if link else "", pages + 1
    assert len(seen) == 99 and pages == 4  # of forty
    assert (await browser.get(at("/users", after="nonsense!"))).status == 422
    page = await browser.get(at("/search", q="zoe"))
    assert page.title.startswith("zoe")  # straight there


async def test_where_there_are_many_nobody_waits_for_a_search_within_all_names_unasked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    administrator(world)
    with world.change() as session:
        for n in range(30):
            accounts.create(session, username=f"user{n:03}")
    browser = await seated(world)
    within = "Look within names too"
    page = await browser.get(at("/users", q="ser02"))
    assert "user029" in page.text and within not in page.text
    monkeypatch.setattr(listing, "STRETCH", 20)
    page = await browser.get(at("/users", q="ser02", status="active"))
    assert "user029" not in page.text
    link = re.search(f'href="([^"]+)">{within}', page.answer.text)
    assert link is not None
    page = await browser.get(html.unescape(link[1]))
    assert "user029" in page.text and "user030" not in page.text and within not in page.text
    # What is exported is what is listed.
    link = re.search(r'href="([^"]*do=export[^"]*)"', page.answer.text)
    assert link is not None
    file = await post(browser, html.unescape(link[1]), {"act": "export", "format": "csv"})
    assert "user029" in file.answer.text and "user001" not in file.answer.text


async def test_a_client_is_registered_by_its_kind(world: World) -> None:
    administrator(world)
    browser = await seated(world)
    page = await browser.get(at("/client-new"))
    for kind in ("web", "spa", "native", "service", "resource", "device", "mcp"):
        assert f"kind={kind}" in page.answer.text
        redirect = "com.example.app:/cb" if kind == "native" else "https://x.example/cb"
        form = {"act": "create", "name": f"The {kind}", "id": kind, "redirect_uris": redirect}
        if kind != "resource":
            form["scopes"] = "users:read" if kind == "service" else "openid"
        made = await post(browser, at("/client-new", do="create", kind=kind), form)
        assert made.status == 200, made.text
        with world.change() as session:
            client = clients.get(session, kind)
            secrets = clients.secrets_of(session, kind)
        assert (client.type == "public") is not bool(secrets), kind
        assert ("shown this once" in made.text) is bool(secrets), kind
    bad = await post(
        browser, at("/client-new", do="create", kind="web"),
        {"act": "create", "name": "x", "redirect_uris": "http://evil.example/*"},
    )  # fmt: skip
    assert bad.status == 422 and 'id="redirect_uris-problem"' in bad.answer.text


async def test_a_client_is_changed_in_all_its_settings(world: World) -> None:
    administrator(world)
    code_client(world)
    browser, address = await seated(world), at("/client", id="shop", do="settings")
    page = await browser.get(address)
    form = read_sheet(page.answer.text)
    page = await post(browser, address, {**form, "act": "settings"})
    assert "Saved" in page.text
    with world.change() as session:
        before = clients.get(session, "shop")
        assert before.version == 1  # nothing was touched, nothing is written
    form |= {
        "client_uri": "https://shop.example", "pkce": "optional",
        "claims": '{"profile": {"department": "department"}}', "first_party": "yes",
        "contacts": "ops@example.com\ndev@example.com", "default_max_age": "3600",
    }  # fmt: skip
    page = await post(browser, address, {**form, "act": "settings"})
    assert "Saved" in page.text, page.text
    with world.change() as session:
        settings = load(clients.get(session, "shop").settings)
    assert settings.first_party and settings.pkce == "optional"
    assert settings.claims == {"profile": {"department": "department"}}
    assert settings.contacts == ("ops@example.com", "dev@example.com")
    form = read_sheet((await browser.get(address)).answer.text)
    page = await post(browser, address, {**form, "act": "settings", "claims": "{"})
    assert page.status == 422 and 'id="claims-problem"' in page.answer.text
    del form["first_party"]
    page = await post(browser, address, {**form, "act": "settings", "claims": ""})
    with world.change() as session:
        settings = load(clients.get(session, "shop").settings)
    assert not settings.first_party and settings.claims == {}


def read_sheet(text: str) -> dict[str, str]:
    """All that the form would send untouched."""
    from html.parser import HTMLParser

    class Reading(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.found: dict[str, str] = {}
            self._area: str | None = None
            self._select = ""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            said = {name: value or "" for name, value in attrs}
            name = said.get("name", "")
            if tag == "input" and name and (said.get("type") != "checkbox" or "checked" in said):
                self.found[name] = said.get("value", "")
            elif tag == "textarea":
                self._area = name
                self.found[name] = ""
            elif tag == "select":
                self._select = name
            elif tag == "option" and "selected" in said:
                self.found[self._select] = said["value"]

        def handle_data(self, data: str) -> None:
            if self._area is not None:
                self.found[self._area] += data.lstrip("\n")

        def handle_endtag(self, tag: str) -> None:
            self._area = None

    reading = Reading()
    reading.feed(text)
    reading.found.pop("q", None)
    return reading.found


async def test_secrets_overlap_and_go(world: World) -> None:
    administrator(world)
    code_client(world)
    browser = await seated(world)
    address = at("/client", id="shop", do="secret")
    page = await act(browser, address, "secret", days="90")
    assert "shown this once" in page.text
    secret = next(word for word in page.text.split() if word.startswith("cs_"))
    assert secret not in (await browser.get(at("/client", id="shop"))).text
    page = await act(browser, address, "secret", days="")
    assert (page.status == 409 and "two" in page.text.lower()) or "2 secrets" in page.text
    with world.change() as session:
        first = clients.secrets_of(session, "shop")[0]
    page = await act(browser, at("/client", id="shop", do="drop", secret=first.id), "drop")
    assert "The secret is gone" in page.text


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("https://shop.example/callback", "It fits"),
        ("https://shop.example/callback/", "slash at the end"),
        ("https://shop.example/Callback", "capital"),
        ("http://shop.example/callback", "The scheme"),
        ("https://www.shop.example/callback", "The host"),
        ("https://shop.example/callback?x=1", "The query"),
        ("https://shop.example/*", "could not even be registered"),
        ("\u202ehttps://shop.example/callback", "could not even be registered"),
    ],
)
async def test_a_redirect_that_does_not_fit_is_explained(
    world: World, asked: str, words: str
) -> None:
    administrator(world)
    code_client(world)
    browser = await seated(world)
    page = await browser.get(at("/client", id="shop", redirect=asked))
    assert words in page.text, page.text


async def test_roles_scopes_and_issuers_come_change_and_go(world: World) -> None:
    administrator(world)
    browser = await seated(world)
    name = "https://orders.example.com/read?all=1"
    form = {"act": "create", "name": name, "audience": "https://orders.example.com"}
    page = await post(browser, at("/scopes", do="create"), form)
    assert "It is there now" in page.text and name in page.text
    page = await post(
        browser, at("/roles", do="create"), {"act": "create", "name": "clerk", "scopes": [name]}
    )
    assert "It is there now" in page.text
    edit = at("/role", name="clerk", do="edit")
    page = await act(browser, edit, "edit", description="Clerks", scopes=[name], acr="yes")
    assert "Saved" in page.text and "second factor" in page.text
    assert "Saved" in (await act(browser, edit, "edit", description="Clerks")).text
    edit = at("/scope", name=name, do="edit")
    page = await act(browser, edit, "edit", description="All orders",
                     audience="https://orders.example.com")  # fmt: skip
    assert "All orders" in page.text
    page = await act(browser, at("/role", name="clerk", do="delete"), "delete", confirm="clerk")
    assert "It is gone" in page.text
    page = await act(browser, at("/scope", name=name, do="delete"), "delete", confirm=name)
    assert "It is gone" in page.text
    cluster = {"act": "create", "issuer": "https://cluster.example", "user_match": "none",
               "user_claim": "sub", "jwks": "[1"}  # fmt: skip
    page = await post(browser, at("/issuers", do="create"), cluster)
    assert page.status == 422 and 'id="jwks-problem"' in page.answer.text
    page = await post(browser, at("/issuers", do="create"), cluster | {"jwks": ""})
    assert "It is there now" in page.text
    issuer_id = str(page.answer.url).split("id=")[1].split("&")[0]
    page = await act(browser, at("/issuer", id=issuer_id, do="edit"), "edit", status="disabled",
                     name="Cluster", user_match="none", user_claim="sub")  # fmt: skip
    assert "disabled" in page.text and "Cluster" in page.text
    page = await act(browser, at("/issuer", id=issuer_id, do="delete"), "delete",
                     confirm="https://cluster.example")  # fmt: skip
    assert "It is gone" in page.text


async def test_a_key_is_rotated_and_revoked_once_its_impact_was_shown(world: World) -> None:
    administrator(world)
    browser = await seated(world)
    kid = world.services.ring.signer.kid
    page = await browser.get(at("/keys", do="revoke", kid=kid))
    assert "every access and ID token" in page.text and kid in page.text
    address = at("/keys", do="rotate")
    page = await act(browser, address, "rotate", algorithm="ES256")
    assert "The next key is on its way" in page.text
    wrong = await act(browser, at("/keys", do="revoke", kid=kid), "revoke", confirm="no")
    assert wrong.status == 422
    page = await act(browser, at("/keys", do="revoke", kid=kid), "revoke", confirm=kid[:8])
    assert "The key is revoked" in page.text
    (event,) = await world.events("key.revoked")
    assert event.subject == kid


async def test_the_audit_names_people_and_is_exported(world: World) -> None:
    root = administrator(world)
    user = world.user("ada", name="=cmd|' /C calc'!A0")
    role(world, "clerk")
    browser = await seated(world)
    await act(browser, at("/user", id=user.id, do="roles"), "roles", roles=["clerk"])
    await world.events("login")  # what is queued is written
    page = await browser.get(at("/audit", subject="ada", event="user.*"))
    assert "user.roles_changed" in page.text and "root" in page.text and "clerk" in page.text
    page = await browser.get(at("/audit", actor="root", outcome="refused"))
    assert "Nothing on record" in page.text
    today = clock.utcnow().date().isoformat()
    page = await browser.get(at("/audit", since=today, until=today))
    assert "login" in page.text
    for wrong in ("yesterday", "0001-01-01T00:00:00+14:00", "9999-12-31"):
        assert (await browser.get(at("/audit", until=wrong))).status == 422, wrong
    export = await browser.get(at("/audit-export", subject="ada"))
    lines = [json.loads(line) for line in export.answer.text.splitlines()]
    assert {line["subject"] for line in lines} == {user.id} and lines[0]["actor"] == root.id
    as_csv = await browser.get(at("/audit-export", format="csv"))
    assert as_csv.answer.headers["content-type"].startswith("text/csv")
    assert as_csv.answer.text.splitlines()[0].startswith("id,at,event")
    assert (await browser.get(at("/audit-export", since="never"))).status == 422
    told = [(e.actor, e.detail) for e in await world.events("audit.exported")]
    assert told == [
        (root.id, {"format": "ndjson", "filters": {"subject": "ada"}}),
        (root.id, {"format": "csv", "filters": {}}),
    ]


async def test_the_audit_is_followed_with_scripts_or_without_until_one_stops(world: World) -> None:
    """The address says so, as it says all else of a list: browsers ask for it again."""
    world.user("ada")
    administrator(world)
    browser = await seated(world)
    page = await browser.get(at("/audit", subject="ada"))
    assert "refresh" not in page.answer.headers and "autofocus" in page.answer.text
    follow = at("/audit", subject="ada", live="1")
    assert follow.replace("&", "&amp;") in page.answer.text
    page = await browser.get(follow)
    assert page.answer.headers["refresh"] == "10" and "every 10 seconds" in page.text
    assert "autofocus" not in page.answer.text, "the focus would jump with each look"
    assert page.forms[1].fields["live"] == "1", "a filter goes on following"
    assert f'href="{at("/audit", subject="ada")}"' in page.answer.text
    older = await browser.get(at("/audit", live="1", after="999999"))
    assert "refresh" not in older.answer.headers, "an older page has nothing new"
    await locked(world, "ada")
    assert "login" in (await browser.get(follow)).text


async def test_an_export_of_the_audit_takes_a_fresh_proof(world: World) -> None:
    administrator(world)
    browser = await seated(world)
    with clock.frozen() as hands:
        hands.tick(timedelta(minutes=6))
        page = await browser.get(at("/audit-export"))
        assert page.title.startswith("Sign in") and await world.events("audit.exported") == []


async def test_texts_of_others_never_become_markup(world: World) -> None:
    """Every text that somebody chooses, on every screen that shows it."""
    administrator(world)
    user = world.user("ada", name=EVIL)
    with world.change() as session:
        row = session.exec(select(User).where(User.id == user.id)).one()
        row.given_name, row.attributes = EVIL, {EVIL[:20]: EVIL}
        row.address = {"formatted": EVIL}
        session.add(row)
    code_client(world)
    world.change_client("shop", name=EVIL, settings={"client_uri": f"https://x/{EVIL}"})
    role(world, "clerk")
    browser = await seated(world)
    await act(browser, at("/role", name="clerk", do="edit"), "edit", description=EVIL)
    tried = {"grant_type": "password", "username": EVIL, "password": EVIL}
    await world.api.post("/token", data=tried, headers={"user-agent": EVIL})
    await world.events("login")
    for address in (
        at("/users"), at("/users", q=EVIL), at("/user", id=user.id),
        at("/user", id=user.id, do="edit"), at("/user", id=EVIL), at("/clients"),
        at("/client", id="shop"), at("/client", id="shop", do="edit"),
        at("/client", id="shop", redirect=EVIL), at("/roles"), at("/role", name="clerk"),
        at("/audit"), at("/audit", actor=EVIL, event=EVIL, subject=EVIL), at("/search", q=EVIL),
        at(""), at("/settings", q=EVIL), at("/users", done=EVIL), at("/users", do=EVIL),
    ):  # fmt: skip
        text = (await browser.get(address)).answer.text
        assert "<img src=x" not in text and "onerror=alert(1)>" not in text, address


async def test_a_form_of_another_site_is_refused(world: World) -> None:
    administrator(world)
    user = world.user("ada")
    browser = await seated(world)
    page = await browser.post(
        at("/user", id=user.id), {"act": "sign_out"}, sec_fetch_site="cross-site"
    )
    assert page.status == 403
    page = await browser.post(at("/user", id=user.id), {"act": "nothing"})
    assert page.status == 404


async def test_numbers_of_the_overview_come_alone(world: World) -> None:
    administrator(world)
    browser = await seated(world)
    await world.events("login")
    told = (await browser.get(at("", part="live"))).answer.json()
    assert told["logins"] >= 1 and len(told["bars"]) == 24
