"""Passkeys in a real browser, whose authenticator is Chromium's own (CDP's domain WebAuthn)."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.databases import free_port
from tests.keyboard import enter
from tests.pages.test_in_chromium import CHROMIUM, PHONE, UNNAMED, chromium
from tests.serving import ADMIN_PASSWORD, Server

__all__ = ["chromium"]
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium: no page was looked at"
)
Start = Callable[..., Server]


class Tab:
    """A tab with an authenticator of its own, in which a console error is a failure."""

    def __init__(self, chromium: Any, url: str, **options: Any) -> None:
        self.context = chromium.new_context(**options)
        self.context.set_default_timeout(60_000)
        self.url, self.page, self.problems = url, self.context.new_page(), list[str]()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self._devtools = self.context.new_cdp_session(self.page)
        self._devtools.send("WebAuthn.enable", {"enableUI": False})
        self.authenticator = self.plug_in()

    def plug_in(self, *, verifies: bool = True) -> str:
        options = {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
            "hasUserVerification": True, "isUserVerified": verifies,
            "automaticPresenceSimulation": True,
        }  # fmt: skip
        made = self._devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        return str(made["authenticatorId"])

    def tell(self, method: str, **said: Any) -> Any:
        return self._devtools.send(
            f"WebAuthn.{method}", {"authenticatorId": self.authenticator, **said}
        )

    def keys(self) -> list[dict[str, Any]]:
        """What the authenticator holds."""
        found: list[dict[str, Any]] = self.tell("getCredentials")["credentials"]
        return found

    def put(self, key: dict[str, Any], **changed: Any) -> None:
        """The key, changed, in place of what it was."""
        self.tell("removeCredential", credentialId=key["credentialId"])
        self.tell("addCredential", credential=key | changed)

    def asleep(self) -> None:
        """Nobody touches it, so that what a page asks by itself stays open."""
        self.tell("setAutomaticPresenceSimulation", enabled=False)

    def awake(self) -> None:
        self.tell("setAutomaticPresenceSimulation", enabled=True)

    def _heard(self, message: Any) -> None:
        if message.type == "error" and "status of 4" not in message.text:
            self.problems.append(message.text)

    def go(self, path: str) -> None:
        self.page.goto(f"{self.url}{path}")

    def by_password(self, username: str = "admin") -> None:
        self.page.fill("#username", username)
        self.page.fill("#password", ADMIN_PASSWORD)
        self.page.click("button.primary")

    def add(self, name: str) -> None:
        """On the page that adds one."""
        enter(self.page, "#name", name)

    def set_up(self) -> list[str]:
        """A passkey for the administrator; the recovery codes that come with it."""
        self.asleep()  # it has nothing yet, and the page asks
        self.go("/account/passkeys")
        self.by_password()
        self.awake()
        self.add("Laptop")
        self.page.wait_for_selector("h1:has-text('Recovery codes')")
        return [str(code) for code in self.page.locator(".codes li").all_inner_texts()]

    def sign_out(self) -> None:
        self.go("/sign-out")
        self.page.click("button.primary")
        self.page.wait_for_selector("h1:has-text('You are signed out')")

    def wait(self, words: str) -> None:
        self.page.wait_for_selector(f"text={words}")

    def close(self) -> None:
        self.context.close()
        assert self.problems == []


@pytest.fixture
def url(server: Start) -> str:
    """The service under the name that every machine has for itself."""
    port = free_port()
    server(port=port, ISSUER=f"http://localhost:{port}")
    return f"http://localhost:{port}"


@pytest.fixture
def tab(chromium: Any, url: str) -> Iterator[Tab]:
    tab = Tab(chromium, url)
    yield tab
    tab.close()


def test_a_passkey_is_added_and_signs_in_by_button_by_autofill_and_as_second_factor(
    tab: Tab,
) -> None:
    codes = tab.set_up()
    assert len(codes) == 10 and len(tab.keys()) == 1
    tab.sign_out()

    tab.asleep()  # by the button
    tab.go("/sign-in")
    tab.page.wait_for_selector("button:has-text('Sign in with a passkey')")
    tab.awake()
    tab.page.click("button:has-text('Sign in with a passkey')")
    tab.wait("You are signed in")
    tab.sign_out()

    tab.go("/sign-in")  # among what the browser fills in: this one fills in by itself
    tab.wait("You are signed in")
    tab.sign_out()

    tab.asleep()  # beside the password
    tab.go("/sign-in")
    tab.by_password()
    tab.page.wait_for_selector("h1:has-text('Second step')")
    tab.awake()
    tab.page.click("button:has-text('Use a passkey')")
    tab.wait("You are signed in")
    assert tab.keys()[0]["signCount"] >= 4


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_stepping_up_takes_it_and_another_way_is_open(tab: Tab) -> None:
    codes = tab.set_up()
    tab.sign_out()
    tab.asleep()
    tab.go("/account/factors")
    tab.by_password()
    tab.page.wait_for_selector("h1:has-text('Second step')")
    tab.page.click("button:has-text('recovery code')")
    tab.page.wait_for_selector("label:has-text('Recovery code')")
    enter(tab.page, "#code", codes[0])
    tab.wait("9 codes are left")
    tab.go("/sign-in?again=1&to=/device")
    tab.page.wait_for_selector("h1:has-text('Confirm that it is you')")
    tab.awake()
    tab.page.click("button:has-text('Sign in with a passkey')")
    tab.page.wait_for_selector("h1:has-text('Connect a device')")


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_it_is_added_once_renamed_and_removed_and_the_device_hears_of_it(tab: Tab) -> None:
    tab.set_up()
    tab.go("/account/passkeys")
    tab.add("Again")  # the authenticator knows that it has one
    tab.wait("This device has a passkey of yours already")
    tab.go("/account/factors")
    tab.page.click("button:has-text('Rename')")
    tab.page.fill("#name", "Old laptop")
    tab.page.click("button.primary")
    tab.wait("Old laptop")
    tab.page.click("button:has-text('Remove')")
    tab.page.click("button.primary")
    tab.wait("Your password alone lets you in")
    can = "'signalAllAcceptedCredentials' in PublicKeyCredential"
    if tab.page.evaluate(can):
        tab.page.wait_for_load_state()
        assert gone(tab)


def gone(tab: Tab) -> bool:
    """Whether the authenticator forgets, within a moment, what it was told is good no longer."""
    for _ in range(100):
        if not tab.keys():
            return True
        tab.page.wait_for_timeout(50)
    return False


def test_what_a_counter_that_fell_and_a_user_who_is_not_verified_come_to(tab: Tab) -> None:
    tab.set_up()
    tab.go("/account/factors")
    tab.sign_out()
    [key] = tab.keys()
    tab.asleep()
    tab.put(key, signCount=0)
    tab.go("/sign-in")
    tab.awake()
    tab.page.click("button:has-text('Sign in with a passkey')")
    tab.wait("Somebody may have a copy of this passkey")
    tab.page.wait_for_selector("form[data-passkey]:not([data-autofill])")
    tab.asleep()
    tab.go("/sign-in")
    tab.tell("setUserVerified", isUserVerified=False)
    tab.awake()
    tab.page.click("button:has-text('Sign in with a passkey')")
    tab.wait("No passkey was used")


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_another_origin_of_the_same_host_gets_nowhere(
    chromium: Any, url: str, tab: Tab, server: Start
) -> None:
    """It may use the key, for browsers know hosts and no ports; the origin gives it away."""
    tab.set_up()
    tab.sign_out()
    tab.asleep()
    tab.go("/sign-in")
    options = tab.page.locator("form[data-passkey]").get_attribute("data-options")
    evil = free_port()
    server(port=evil, ISSUER=f"http://localhost:{evil}")
    tab.page.goto(f"http://localhost:{evil}/healthz")
    tab.awake()
    credential = tab.page.evaluate(
        """async (options) => JSON.stringify(await navigator.credentials.get({
            publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(options)),
        }))""",
        options,
    )
    tab.asleep()
    tab.go("/sign-in")
    tab.page.evaluate(
        """(credential) => {
            const form = document.querySelector("form[data-passkey]");
            form.elements.credential.value = credential;
            form.submit();
        }""",
        credential,
    )
    tab.wait("The passkey was not accepted")


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_without_scripts_everything_but_passkeys_works(chromium: Any, url: str, tab: Tab) -> None:
    codes = tab.set_up()
    plain = chromium.new_context(java_script_enabled=False)
    page = plain.new_page()
    page.goto(f"{url}/sign-in?{urlencode({'to': '/account/factors'})}")
    assert page.locator("button:visible").all_inner_texts() == ["Sign in"]
    page.fill("#username", "admin")
    page.fill("#password", ADMIN_PASSWORD)
    page.click("button.primary")
    page.wait_for_selector("text=Passkeys need a browser that has them")
    page.click("button:has-text('recovery code')")
    page.fill("#code", codes[3])
    page.click("button.primary")
    page.wait_for_selector("text=Laptop")
    page.click("button:has-text('Rename')")
    page.fill("#name", "Without a script")
    page.click("button.primary")
    page.wait_for_selector("text=Without a script")
    plain.close()


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_fit_a_small_phone(chromium: Any, url: str, scheme: str) -> None:
    tab = Tab(chromium, url, viewport=PHONE, color_scheme=scheme)

    def look(name: str) -> None:
        width = tab.page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], (name, width)
        assert tab.page.evaluate(UNNAMED) == 0, name

    tab.asleep()
    tab.go("/account/passkeys")
    look("sign in")
    tab.by_password()
    tab.page.wait_for_selector("#name")
    look("add")
    tab.awake()
    tab.add("W" * 100)
    tab.page.wait_for_selector("h1:has-text('Recovery codes')")
    tab.go("/account/factors")
    look("factors")
    tab.page.click("button:has-text('Rename')")
    look("rename")
    tab.go("/account/factors")
    tab.page.click("button:has-text('Remove')")
    look("remove")
    tab.sign_out()
    tab.asleep()
    tab.go("/sign-in")
    tab.by_password()
    tab.page.wait_for_selector("h1:has-text('Second step')")
    look("second step")
    tab.close()
