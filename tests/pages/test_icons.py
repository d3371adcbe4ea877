"""Icons are Lucide's as they come, each is wanted, and none is the only sign of anything."""

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from identity.pages import drawing
from identity.pages.console.screens import SCREENS
from tests.browsing import Browser, code_client
from tests.pages.console.sitting import administrator, seated
from tests.world import World

PAGES = Path(drawing.__file__).parent
VENDORED = json.loads((drawing.FOLDER / "vendored.json").read_text())
FILES = {path.name for path in drawing.FOLDER.iterdir()}


def sha256(name: str) -> str:
    return hashlib.sha256((drawing.FOLDER / name).read_bytes()).hexdigest()


def test_icons_are_those_of_the_release_that_is_named() -> None:
    assert {name: sha256(name) for name in VENDORED["sha256"]} == VENDORED["sha256"]
    assert {*VENDORED["sha256"], "vendored.json", VENDORED["license_file"]} == FILES
    assert re.fullmatch(r"\d+\.\d+\.\d+", VENDORED["version"])
    assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", VENDORED["integrity"])
    for name in VENDORED["sha256"]:
        text = (drawing.FOLDER / name).read_text()
        assert f"lucide-static v{VENDORED['version']}" in text
        assert not re.search(r"<(script|style|image|use|a|foreignObject)\b|\bon\w+=|href", text)


def test_their_licence_comes_along() -> None:
    assert sha256(VENDORED["license_file"]) == VENDORED["license_sha256"]
    assert VENDORED["license"] == "ISC AND MIT"
    words = (drawing.FOLDER / VENDORED["license_file"]).read_text()
    assert "ISC License" in words and "The MIT License" in words


def test_each_is_wanted_somewhere() -> None:
    said = "".join(path.read_text() for path in (PAGES / "templates").rglob("*.html"))
    for name in (each.removesuffix(".svg") for each in VENDORED["sha256"]):
        assert f'"{name}"' in said or name in {*drawing.OF_SCREENS.values(), "circle"}, name


@pytest.mark.parametrize("name", sorted(VENDORED["sha256"]))
def test_each_can_be_drawn(name: str) -> None:
    drawn = drawing.icon(name.removesuffix(".svg"))
    assert drawn.count("<svg") == 1 and 'aria-hidden="true"' in drawn
    assert "\n" not in drawn and len(drawn) < 900


class _Beside(HTMLParser):
    """What words stand in the element that holds an icon."""

    VOID = frozenset({"meta", "link", "input", "img", "br", "path", "circle", "rect", "line"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, list[str], list[bool]]] = []
        self.bare: list[str] = []
        self.seen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag == "svg" and said.get("class") == "icon":
            assert said.get("aria-hidden") == "true" and said.get("focusable") == "false"
            self.seen += 1
            self.open[-1][2].append(True)
        if tag not in self.VOID:
            self.open.append((tag, [], []))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None: ...

    def handle_data(self, data: str) -> None:
        if data.strip():
            for _, words, _ in self.open:
                words.append(data.strip())

    def handle_endtag(self, tag: str) -> None:
        while self.open:
            name, words, icons = self.open.pop()
            if icons and not words:
                self.bare.append(name)
            if name == tag:
                return


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_none_is_the_only_sign(world: World) -> None:
    administrator(world)
    code_client(world)
    browser = await seated(world)
    seen = 0
    for path in ("/account", "/account/factors", "/language", *(each.path for each in SCREENS)):
        page = await browser.get(path)
        if not page.answer.headers["content-type"].startswith("text/html"):
            continue
        found = _Beside()
        found.feed(page.answer.text)
        assert found.bare == [], path
        seen += found.seen
    assert seen > 100
    signing_in = _Beside()
    signing_in.feed((await Browser(world.api).get("/sign-in")).answer.text)
    assert signing_in.seen and signing_in.bare == []
