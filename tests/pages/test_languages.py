"""In whose language a page speaks, and that every word of it is translated."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from identity.clock import utcnow
from identity.directory.access.granting import BUILT_IN
from identity.directory.access.table import RoleScope, Scope
from identity.directory.users import accounts
from identity.directory.users.table import UserRole
from identity.pages import from_below, rendering
from identity.pages.languages import ENGLISH, GERMAN, PSEUDO, Languages, Speech, speech
from identity.pages.moments import ago, date, time
from identity.pages.words import _, said
from identity.store import changes
from scripts import words
from tests.browsing import Browser, Flow, Page, code_client
from tests.pages.console.sitting import administrator, at, seated
from tests.world import PASSWORD, World

ALL = Languages.of(production=False)
only = pytest.mark.parametrize("dialect", ["sqlite"])


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_every_word_is_translated_and_fits_its_original(language: str) -> None:
    assert list(words.faults(language)) == [], "python -m scripts.words"


def test_a_word_that_nobody_translated_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail."""
    known = words.marked()
    monkeypatch.setattr(words, "marked", lambda: {**known, "Anew": "x.py:1"})
    assert [each for each in words.faults("de") if "'Anew'" in each and "missing" in each]
    gone = next(iter(known))
    monkeypatch.setattr(words, "marked", lambda: {k: v for k, v in known.items() if k != gone})
    assert [each for each in words.faults("de") if "nobody says this" in each]


def test_no_words_of_a_template_are_unmarked() -> None:
    """What stands between tags and is no expression would stay English."""
    bare = {}
    for path in sorted((Path(rendering.__file__).parent / "templates").rglob("*.html")):
        text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", path.read_text(), flags=re.DOTALL)
        text = text.replace(' class="inside"', "")  # of a tag that stands elsewhere
        text = re.sub(r"<[^>]*>", "\n", text).replace("Identity", "")
        if found := re.findall(r"[A-Za-z]{2,}", text):
            bare[path.name] = found
    assert bare == {}


def test_no_template_marks_what_it_is_given() -> None:
    """What is marked in a template is markup, as far as Jinja goes: it does not escape it. Words
    that are marked in Python are translated where they are shown."""
    folder, given = Path(rendering.__file__).parent / "templates", {}
    for path in sorted(folder.rglob("*.html")):
        if found := re.findall(
            r"\b(?:_|gettext|ngettext)\(\s*(?![\s\"'])[^)]*\)?", path.read_text()
        ):
            given[path.name] = found
    assert given == {}


def test_what_lower_floors_say_is_marked() -> None:
    assert set(BUILT_IN.values()) <= set(from_below.SAID)
    text = "The password must have at least 15 characters."
    before = speech.set(Speech(GERMAN))
    try:
        assert said(from_below.words(text)) == "Das Passwort muss mindestens 15 Zeichen haben."
    finally:
        speech.reset(before)


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (b"de", GERMAN), (b"DE-at,en;q=0.9", GERMAN), (b"en,de;q=0.9", ENGLISH),
        (b"en;q=0.5,de;q=0.9", GERMAN), (b"fr,de;q=0.3", GERMAN), (b"fr", None), (b"", None),
        (b"de;q=0", None), (b"de;q=x", None), (b"de;q=nan,en", ENGLISH), (b"*", None),
        (b"deu", None), (b"\xff,de", GERMAN), (b"x" * 5000 + b",de", None), (b";;,=", None),
    ],
)  # fmt: skip
def test_what_a_browser_accepts(header: bytes, language: object) -> None:
    assert ALL.accepted(header) == language


@only
async def test_the_request_comes_before_the_cookie_the_account_and_the_browser(
    world: World,
) -> None:
    world.user(known={"locale": "de-AT"})
    flow = Flow(world, code_client(world))
    browser = Browser(world.api)
    english, german = {"accept-language": "en"}, {"accept-language": "de-CH, en;q=0.5"}

    async def spoken(path: str = "/sign-out", **headers: str) -> str:
        page = await browser.get(path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        found = re.search(r'<html lang="([\w-]+)" dir="(\w+)">', page.answer.text)
        assert found, page.answer.text
        return found[1]

    assert await spoken() == "en"
    assert await spoken(**german) == "de"
    await browser.sign_in(await browser.get("/sign-in"))
    assert await spoken() == await spoken(**english) == "de"  # the account's
    await choose(browser, "en")
    assert await spoken(**german) == "en"  # chosen here
    assert await spoken("/sign-out?ui_locales=fr+de", **english) == "de"  # asked for
    assert await spoken("/sign-out?ui_locales=fr") == "en"
    parameters, _verifier = flow.parameters(ui_locales="de", prompt="login")
    page = await browser.get(f"/authorize?{urlencode(parameters)}")
    assert '<html lang="de"' in page.answer.text and "Anmelden" in page.text
    wrong = await browser.get("/authorize?client_id=nobody&ui_locales=de")
    assert wrong.status == 400 and "Dieser Link funktioniert nicht" in wrong.text


async def choose(browser: Browser, tag: str, came_from: str = "/sign-out") -> Page:
    said = {"referer": f"{browser.origin}{came_from}"}
    page = await browser.get("/language", headers=said)
    return await browser.submit(page, tag)


@only
async def test_a_choice_leads_back_and_never_away(world: World) -> None:
    browser = Browser(world.api)
    here = f"/sign-in?to={quote('/device?user_code=ABCD')}"
    page = await choose(browser, "de", here)
    assert str(page.answer.url).endswith(here) and "Anmelden" in page.text
    base = browser.origin
    for back in ("//evil.example", "https://evil.example/", "/\\evil.example", "javascript:x", ""):
        answer = await browser._api.post(
            "/language", data={"language": "en", "back": back}, headers={"origin": base}
        )
        assert answer.headers["location"] == "/account"
    for referer in ("https://evil.example/x", "x", f"{base}.evil.example/", "http://[", ""):
        page = await browser.get("/language", headers={"referer": referer})
        assert page.form.fields["back"] == "", referer
    answer = await browser._api.post("/language", data={"language": "xx"}, headers={"origin": base})
    assert "set-cookie" not in answer.headers


@only
async def test_a_whole_sign_in_in_german(world: World) -> None:
    world.user()
    browser = Browser(world.api)
    await choose(browser, "de")
    page = await browser.get("/sign-in")
    page = await browser.sign_in(page, password="wrong, but long enough")
    assert page.status == 422
    assert "Der Benutzername oder das Passwort ist falsch." in page.text
    assert '<html lang="de" dir="ltr">' in page.answer.text


@only
async def test_a_language_from_right_to_left_is_there_for_trying(world: World) -> None:
    browser = Browser(world.api)
    page = await browser.get("/sign-in?ui_locales=ar-XB")
    assert '<html lang="ar-XB" dir="rtl">' in page.answer.text
    assert "Sign in" not in page.text and "⟦Šîgñ îñ" in page.text
    assert PSEUDO not in Languages.of(production=True).known
    assert Languages.of(production=True).first_of("ar-XB") is None


def test_marked_words_with_values_are_said_in_the_language_of_the_moment() -> None:
    text = _("Language: %(name)s")
    before = speech.set(Speech(GERMAN))
    try:
        assert text % {"name": "<b>"} == "Sprache: <b>"
        assert said("") == ""
    finally:
        speech.reset(before)
    assert text % {"name": "x"} == "Language: x"


def test_moments_are_told_in_the_readers_language_and_zone() -> None:
    at = datetime(2026, 3, 5, 23, 30, tzinfo=UTC)
    told = {}
    for language, zone in ((ENGLISH, None), (GERMAN, "Europe/Berlin"), (ENGLISH, "../etc/passwd")):
        before = speech.set(Speech(language, zone))
        told[zone] = (date(at), time(at), ago(utcnow() - timedelta(minutes=3)))
        speech.reset(before)
    assert told[None] == ("5 March 2026", "23:30 UTC", "3 minutes ago")
    assert told["Europe/Berlin"][0] == "6. März 2026" and told["Europe/Berlin"][1] == "00:30"
    assert told["Europe/Berlin"][2] == "vor 3 Minuten"
    assert told["../etc/passwd"] == told[None]


@only
async def test_what_an_administrator_wrote_is_shown_as_text(world: World) -> None:
    """A scope's description is looked up among the words, and stays what it is."""
    world.user()
    evil = '<script>alert(1)</script> %(x)s "'
    with world.change() as session:
        session.add(Scope(name="evil", description=evil))
    world.scopes("other", role="r")
    flow = Flow(world, code_client(world))
    browser = Browser(world.api)
    with world.change() as session:
        session.add(RoleScope(role="r", scope="evil"))
        user = accounts.find_by_login(session, "ada")
        assert user is not None
        session.add(UserRole(user_id=user.id, role="r"))
        changes.record(session, "scope.changed", "*")
        changes.record(session, "user.changed", user.id)
    page, _verifier = await flow.start(browser, scope="openid evil")
    page = await browser.sign_in(page, password=PASSWORD)
    assert page.title.startswith("Allow access"), page.text
    assert "<script" not in page.answer.text
    assert evil in page.text


@only
async def test_the_console_is_german_to_its_hints_and_refusals(world: World) -> None:
    """What is said below a field, and what other floors say is not there."""
    administrator(world)
    browser = await seated(world)
    browser._api.headers["accept-language"] = "de"
    page = await browser.get(at("/client-new", do="create", kind="web"))
    assert "Wird ausgedacht, wenn Sie es leer lassen." in page.text
    assert page.title.startswith("Neuer Client: Webanwendung")
    page = await browser.get(at("/issuer", id="nobody"))
    assert "Nicht gefunden" in page.text and "Diesen Aussteller gibt es nicht." in page.text
    page = await browser.get(at("/scope", name="users:read"))
    assert "Benutzer und deren Sitzungen sehen" in page.text
    for path in ("/roles", "/users?do=create", "/role?name=admin"):
        assert "Hat jeden mitgelieferten Scope" in (await browser.get(at(path))).text, path
    page = await browser.get(at("/client", id="first-party"))
    assert "öffentlich" in page.text
    page = await browser.get(at("/client", id="first-party", do="settings"))
    assert "Seine Startseite." in page.text and "nicht unter jwks_uri stehen. JSON." in page.text


@only
async def test_what_is_wrong_with_a_request_is_said_in_the_language_of_who_sees_it(
    world: World,
) -> None:
    flow, browser = Flow(world, code_client(world)), Browser(world.api)
    browser._api.headers["accept-language"] = "de"
    page, _verifier = await flow.start(browser, client_id="nobody")
    assert page.status == 400 and "Diese Anwendung ist hier nicht bekannt." in page.text
    page, _verifier = await flow.start(browser, redirect_uri="https://elsewhere.example/")
    assert "ist für diese Anwendung nicht eingetragen" in page.text
    page = await browser.get("/logout?id_token_hint=x")
    assert "kein ID-Token dieses Dienstes" in page.text
