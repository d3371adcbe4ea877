"""What settings mean and what is found amiss, in the language of whoever reads the console."""

import ast
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from identity.clock import utcnow
from identity.keys.table import SigningKey
from identity.pages.console.findings import shown
from identity.pages.languages import GERMAN, Speech, speech
from identity.service import warnings
from identity.service.findings import Finding, Sentence
from identity.settings import described
from scripts import words
from tests.pages.console.sitting import administrator, at, seated
from tests.world import World


@pytest.fixture
def german() -> Iterator[None]:
    before = speech.set(Speech(GERMAN))
    yield
    speech.reset(before)


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name) and node.func.id == name]  # fmt: skip


def test_all_that_is_found_amiss_is_a_sentence_that_has_its_german() -> None:
    tree = ast.parse(Path(warnings.__file__).read_text())
    made = calls(tree, "Sentence")
    assert all(isinstance(call.args[0], ast.Constant) for call in made), "others are not found"
    (maker,) = (node for node in ast.walk(tree)
                if isinstance(node, ast.FunctionDef) and node.name == "_found")  # fmt: skip
    assert [ast.dump(call) for call in calls(tree, "Finding")] == [
        ast.dump(call) for call in calls(maker, "Finding")
    ], "all are made where types ask for sentences"
    german = {message.id: message.string for catalogue in words.catalogues("de").values()
              for message in catalogue}  # fmt: skip
    templates = {call.args[0].value for call in made if isinstance(call.args[0], ast.Constant)}
    assert templates == words.findings().keys() and len(templates) > 30
    assert [template for template in templates if not german.get(str(template))] == []


def test_what_each_setting_means_is_to_be_translated() -> None:
    wanted = words.marked()
    for name, group, field in described():
        assert field.description in wanted and group in wanted, name
    german = words.catalogues("de")["settings"]
    assert all(message.string for message in german if message.id)


AGE = Sentence("%(count)s days", count=3.5)


@pytest.mark.parametrize(
    ("sentence", "english", "in_german"),
    [
        (Sentence("%(count)s could not be sent", count=12_000), "12000 could not be sent",
         "12000 konnten nicht verschickt werden"),
        (Sentence("%(algorithm)s %(key)s..., in use for %(age)s", algorithm="ES256", key="ab",
                  age=AGE),
         "ES256 ab..., in use for 3.5 days", "ES256 ab..., in Gebrauch seit 3,5 Tagen"),
        # A client may be called as any sentence is.
        (Sentence("%(client)s could not be told of %(count)s that ended", client="clients",
                  count=3),
         "clients could not be told of 3 that ended",
         "clients konnte von 3 Abmeldungen nicht verständigt werden"),
        (Sentence("%(client)s could not be told of %(count)s that ended",
                  client="100 % (count)s", count=3),
         "100 % (count)s could not be told of 3 that ended",
         "100 % (count)s konnte von 3 Abmeldungen nicht verständigt werden"),
        ("identity demo --remove", "identity demo --remove", "identity demo --remove"),
        ("", "", ""),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("german")
def test_a_sentence_is_said_with_what_stands_in_it(
    sentence: str, english: str, in_german: str
) -> None:
    assert sentence == english
    found = shown(Finding("note", Sentence("mails"), sentence, sentence))
    assert (found.what, found.words, found.mend) == ("mails", in_german, in_german)


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_the_console_says_them_in_german(world: World) -> None:
    administrator(world)
    browser = await seated(world)
    german = {"accept-language": "de"}
    with world.change() as session:
        session.exec(update(SigningKey).values(activated_at=utcnow() - timedelta(hours=50.4)))
    page = await browser.get(at("/settings"), headers=german)
    text = re.sub(r"<[^>]+>", "", page.answer.text)
    assert "die unterste Stufe, die protokolliert wird" in text and "least level" not in text
    assert "Rolle admin" in text and "wer das Passwort eines Administrators erfährt" in text
    assert "in Gebrauch seit 2,1 Tagen" in text
    found = await browser.get(at("/settings?q=protokolliert"), headers=german)
    assert "IDENTITY_LOG_LEVEL" in found.text and "IDENTITY_ISSUER" not in found.text
    overview = await browser.get("/console", headers=german)
    assert "wer das Passwort eines Administrators erfährt" in overview.text
    english = await browser.get(at("/settings"))
    assert "least level logged" in english.text and "in use for 2.1 days" in english.text
