"""What marked words are in other languages: gettext's catalogues, one file a part of the service,
read as they stand when somebody first wants their language."""

import asyncio
import re
from gettext import NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Final

from identity.pages.languages import ENGLISH, PSEUDO, Language, speech

FOLDER: Final = Path(__file__).parent / "locale"
_read: dict[str, NullTranslations] = {}


def current() -> NullTranslations:
    """Of the language of this request."""
    return of(speech.get().language)


def of(language: Language) -> NullTranslations:
    found = _read.get(language.tag)
    if found is None:
        found = _read[language.tag] = _catalogue(language)
    return found


async def ready(language: Language) -> None:
    """Read it, in a thread, unless that has been done."""
    if language.tag not in _read:
        await asyncio.sleep(0)  # a thread is waited for in a task (`wire.eager`)
        await asyncio.to_thread(of, language)


def _catalogue(language: Language) -> NullTranslations:
    if language is ENGLISH:
        return NullTranslations()
    if language is PSEUDO:
        return _Pseudo()
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po
    from babel.support import Translations

    whole = Translations()
    for path in sorted((FOLDER / language.tag).glob("*.po")):
        with path.open("rb") as file:
            catalogue = read_po(file, locale=language.tag)
        compiled = BytesIO()
        write_mo(compiled, catalogue)
        compiled.seek(0)
        whole.merge(Translations(compiled))
    return whole


_PLACE = re.compile(r"(%\([a-z_]+\)[sd]|%%)")
_ACCENTS = str.maketrans("aceinosuyACEINOSUY", "åçéîñöšûýÅÇÉÎÑÖŠÛÝ")


class _Pseudo(NullTranslations):
    """Longer than English, as most languages are, and between brackets, so that what is cut off
    shows as well."""

    def gettext(self, message: str) -> str:
        parts = _PLACE.split(message)
        parts[::2] = [part.translate(_ACCENTS) for part in parts[::2]]
        return f"\u200f⟦{''.join(parts)}{'·' * (len(message) // 4)}⟧"

    def ngettext(self, one: str, many: str, count: int) -> str:
        return self.gettext(one if count == 1 else many)
