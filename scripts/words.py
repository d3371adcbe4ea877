"""Which words of the pages nobody has translated: `.venv/bin/python -m scripts.words`.

Exit code 1 and one line each for what is missing, left over, twice in the catalogues, or does not
fit its original. `--write SLICE` adds what is missing to that slice's catalogue, empty.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from identity.directory.clients.settings import ClientSettings
from identity.settings import described

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "identity" / "pages"
SERVICE = ROOT / "identity" / "service"
LANGUAGES = ("de",)
Key = str | tuple[str, ...]
_PLACE = re.compile(r"%(?:\([a-z_]+\))?[sd]")
_METHODS = [("**.py", "python"), ("**.html", "jinja2.ext:babel_extract")]
_OPTIONS = {"**.html": {"extensions": "jinja2.ext.i18n", "silent": "false"}}


def marked() -> dict[Key, str]:
    """What is marked in the pages, or shown by them, and where."""
    found = extract_from_dir(
        PAGES, _METHODS, _OPTIONS, keywords={"_": None, "gettext": None, "ngettext": (1, 2)}
    )
    said: dict[Key, str] = {message: f"{file}:{line}" for file, line, message, _, _ in found}
    return said | dict(_settings()) | findings()


def _settings() -> Iterator[tuple[Key, str]]:
    """What settings mean, the service's and clients', and what groups of them are called: the
    console shows it."""
    for name, group, field in described():
        yield group, "settings"
        yield field.description or "", f"settings: {name}"
    for name, of_client in ClientSettings.model_fields.items():
        yield of_client.description or "", f"settings of clients: {name}"


def findings() -> dict[Key, str]:
    """The sentences of what is found amiss: the console shows it."""
    found = extract_from_dir(SERVICE, [("**.py", "python")], keywords={"Sentence": None})
    return {message: f"{file}:{line}" for file, line, message, _, _ in found}


def catalogues(language: str) -> dict[str, Catalog]:
    found = {}
    for path in sorted((PAGES / "locale" / language).glob("*.po")):
        with path.open("rb") as file:
            found[path.stem] = read_po(file, locale=language, abort_invalid=True)
    return found


def faults(language: str) -> Iterator[str]:
    wanted, seen = marked(), dict[Key, str]()
    for name, catalogue in catalogues(language).items():
        for message in catalogue:
            if not message.id:
                continue
            if message.id in seen:
                yield f"{language}/{name}: also in {seen[message.id]}: {message.id!r}"
            seen[message.id] = name
            if message.id not in wanted:
                yield f"{language}/{name}: nobody says this: {message.id!r}"
            yield from (f"{language}/{name}: {each}" for each in _unfit(message.id, message.string))
            if message.fuzzy:
                yield f"{language}/{name}: is only a guess: {message.id!r}"
    for words in sorted(wanted.keys() - seen.keys(), key=str):
        yield f"{language}: missing, {wanted[words]}: {words!r}"


def _unfit(said: Key, translated: Key) -> Iterator[str]:
    originals = [said] if isinstance(said, str) else [*said]
    strings = [translated] if isinstance(translated, str) else [*translated]
    places = {place for each in originals for place in _PLACE.findall(each)}
    for each in strings:
        if not each:
            yield f"missing: {said!r}"
        elif not set(_PLACE.findall(each)) <= places or (
            len(strings) == 1 and set(_PLACE.findall(each)) != places
        ):
            yield f"names other values: {each!r}"
        elif set(each) & set('<>"&') - set("".join(originals)):
            yield f"would be read as HTML: {each!r}"


def write(slice_: str) -> None:
    """Add what is missing to the slice's catalogues."""
    for language in LANGUAGES:
        known = catalogues(language)
        catalogue = known.get(slice_) or Catalog(locale=language, charset="utf-8")
        translated = {message.id for each in known.values() for message in each}
        for words in marked():
            if words not in translated:
                catalogue.add(words)
        path = PAGES / "locale" / language / f"{slice_}.po"
        with path.open("wb") as file:
            write_po(file, catalogue, width=100, no_location=True, omit_header=False)


def main(*words: str) -> int:
    if words[:1] == ("--write",):
        write(words[1])
        return 0
    found = [each for language in LANGUAGES for each in faults(language)]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
