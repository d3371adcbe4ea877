"""What settings mean and what is found amiss, in the language of whoever reads the console."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from identity.pages.console import findings
from identity.pages.console.findings import PLACE, SAID, shown
from identity.pages.languages import GERMAN, Speech, speech
from identity.service import warnings
from identity.service.findings import Finding
from identity.settings import described
from scripts import words
from tests.pages.console.sitting import administrator, at, seated
from tests.world import World

UNSAID = {"ok", "note", "problem", "itself", "active", "next"}
"""Levels, and what the database is asked by."""


@pytest.fixture
def german() -> Iterator[None]:
    before = speech.set(Speech(GERMAN))
    yield
    speech.reset(before)


def sentences() -> Iterator[str]:
    """What `service.warnings` says, `{}` where a value stands."""
    tree = ast.parse(Path(warnings.__file__).read_text())
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        inside = {id(part) for node in ast.walk(function) if isinstance(node, ast.JoinedStr)
                  for part in ast.walk(node) if part is not node}  # fmt: skip
        for node in ast.walk(function):
            if id(node) in inside or (isinstance(node, ast.Constant) and node.value in UNSAID):
                continue
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if node.value != ast.get_docstring(function, clean=False):
                    yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "{}"
                    for part in node.values
                )


def test_all_that_is_found_amiss_is_marked() -> None:
    marked = {PLACE.sub("{}", sentence) for sentence in SAID}
    # Commands are the same in every language.
    said = {each for each in sentences() if not each.startswith("identity ")}
    assert len(said) > 30 and said - marked == set()
    assert marked - said == set()


def test_what_each_setting_means_is_to_be_translated() -> None:
    wanted = words.marked()
    for name, group, field in described():
        assert field.description in wanted and group in wanted, name
    german = words.catalogues("de")["settings"]
    assert all(message.string for message in german if message.id)


@pytest.mark.parametrize(
    ("english", "in_german"),
    [
        ("12 could not be sent", "12 konnten nicht verschickt werden"),
        ("ES256 abcdef012345..., in use for 3.5 days, though 2.0 days is due",
         "ES256 abcdef012345..., in Gebrauch seit 3.5 Tagen, obwohl es nach 2.0 Tagen fällig ist"),
        ("clients could not be told of 3 that ended",
         "clients konnte von 3 Abmeldungen nicht verständigt werden"),
        ("users", "Benutzer"),
        # Of somebody's choosing: no sentence of ours, and none is made of it.
        ("users could not be told of 3 that ended",
         "users konnte von 3 Abmeldungen nicht verständigt werden"),
        ("100 % (count)s", "100 % (count)s"),
        ("", ""),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("german")
def test_a_sentence_is_known_with_what_stands_in_it(english: str, in_german: str) -> None:
    assert findings.words(english) == in_german
    found = shown(Finding("note", "mails", english, "the running service does that; start it"))
    assert found.what == "mails" and found.mend == "das macht der laufende Dienst; starten Sie ihn"


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_the_console_says_them_in_german(world: World) -> None:
    administrator(world)
    browser = await seated(world)
    german = {"accept-language": "de"}
    page = await browser.get(at("/settings"), headers=german)
    text = re.sub(r"<[^>]+>", "", page.answer.text)
    assert "die unterste Stufe, die protokolliert wird" in text and "least level" not in text
    assert "Rolle admin" in text and "wer das Passwort eines Administrators erfährt" in text
    found = await browser.get(at("/settings?q=protokolliert"), headers=german)
    assert "IDENTITY_LOG_LEVEL" in found.text and "IDENTITY_ISSUER" not in found.text
    overview = await browser.get("/console", headers=german)
    assert "wer das Passwort eines Administrators erfährt" in overview.text
    english = await browser.get(at("/settings"))
    assert "least level logged" in english.text
