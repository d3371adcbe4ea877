"""What pages do besides, where scripts run: a typed password can be looked at, recovery codes are
kept as a file and printed."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.keyboard import enter
from tests.second_factors import App
from tests.serving import ADMIN_PASSWORD, Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.parametrize("dialect", ["sqlite"]),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: no page was looked at"),
]
SHOWS = "input[type=checkbox][data-shows]"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    missing = "playwright is not installed: no page was looked at"
    api = pytest.importorskip("playwright.sync_api", reason=missing)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Tab:
    def __init__(self, chromium: Any, service: Server, **options: Any) -> None:
        self.context = chromium.new_context(accept_downloads=True, **options)
        self.context.set_default_timeout(60_000)
        self.page, self.url = self.context.new_page(), service.url
        self.problems: list[str] = []
        self.page.on("console", lambda said: self._heard(said.type, said.text))

    def _heard(self, kind: str, text: str) -> None:
        if kind == "error" and "status of 4" not in text:
            self.problems.append(text)

    def close(self) -> None:
        self.context.close()
        assert self.problems == []


def test_a_password_is_shown_to_who_asks_and_hidden_again_when_it_is_sent(
    chromium: Any, server: Callable[..., Server]
) -> None:
    tab = Tab(chromium, server())
    page = tab.page
    page.goto(f"{tab.url}/sign-in")
    page.wait_for_selector("#username:focus")
    page.keyboard.type("admin")
    page.keyboard.press("Tab")
    page.keyboard.type("wrong, and long enough")
    kind = "document.getElementById('password').type"
    assert page.evaluate(kind) == "password"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('[data-shows]')")
    page.keyboard.press("Space")
    assert page.evaluate(kind) == "text"
    page.keyboard.press("Space")
    assert page.evaluate(kind) == "password"
    page.check(SHOWS)
    page.evaluate(
        "document.querySelector('form').addEventListener('submit', (sent) => {"
        f" sent.preventDefault(); window.sentAs = {kind}; }})"
    )
    page.click("form button.primary")
    assert page.evaluate("window.sentAs") == "password"
    tab.close()
    tab = Tab(chromium, server(), java_script_enabled=False)
    tab.page.goto(f"{tab.url}/sign-in")
    assert not tab.page.locator(SHOWS).is_visible()
    tab.close()


@pytest.mark.parametrize("scripts", [True, False])
def test_recovery_codes_are_kept_as_a_file_and_printed(
    chromium: Any, server: Callable[..., Server], scripts: bool, tmp_path: Path
) -> None:
    tab = Tab(chromium, server(), java_script_enabled=scripts)
    page = tab.page
    page.goto(f"{tab.url}/account/factors")
    enter(page, "#username", "admin", ADMIN_PASSWORD)
    page.click("button:has-text('Set up')")
    enter(page, "#code", App(page.inner_text("#key").replace(" ", "")).code())
    page.wait_for_selector("h1:has-text('Recovery codes')")
    codes = page.locator(".codes li").all_inner_texts()
    with page.expect_download() as told:
        page.click("a[download]")
    assert told.value.suggested_filename == "recovery-codes.txt"
    told.value.save_as(tmp_path / "kept")
    lines = (tmp_path / "kept").read_text().splitlines()
    assert lines[0] == "Identity: admin" and lines[2:] == codes and len(codes) == 10
    printing = page.locator("[data-prints]")
    assert printing.is_visible() == scripts
    if scripts:
        page.evaluate("window.print = () => { window.printed = true; }")
        printing.click()
        assert page.evaluate("window.printed")
    page.emulate_media(media="print")
    assert page.locator(".codes li").first.is_visible()
    assert not page.locator(".side").is_visible() and not page.locator(".top").is_visible()
    tab.close()
