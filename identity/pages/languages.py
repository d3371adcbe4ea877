"""Which language somebody reads: what the request asks for (`ui_locales`), what they chose here (a
cookie), what their account says, what their browser says (Accept-Language); else English.

Known to whatever is said in the course of one request. Nothing heavy is imported here.
"""

from contextvars import ContextVar
from typing import Final
from urllib.parse import parse_qs

from identity.dataclass import dataclass
from identity.errors import IdentityError
from identity.http.messages import Request

COOKIE: Final = "identity-language"
LONGEST = 200
"""Characters of what a request may say about languages, and be heeded."""


@dataclass(frozen=True, slots=True)
class Language:
    tag: str
    """BCP 47."""
    name: str
    """In itself."""
    right_to_left: bool = False

    @property
    def direction(self) -> str:
        return "rtl" if self.right_to_left else "ltr"


ENGLISH: Final = Language("en", "English")
GERMAN: Final = Language("de", "Deutsch")
PSEUDO: Final = Language("ar-XB", "⟦Þšéûðö⟧", right_to_left=True)
"""Made from English, never in production: what is not translated, and what points the wrong way in
a language that is read from right to left, shows at once."""


@dataclass(frozen=True, slots=True)
class Speech:
    language: Language = ENGLISH
    zone: str | None = None
    """The time zone of whoever reads."""


speech: ContextVar[Speech] = ContextVar("speech", default=Speech())  # noqa: B039 - frozen


def locale() -> str:
    """How Babel calls the language of this request."""
    language = speech.get().language
    if language is PSEUDO:
        return "ar"
    # Day before month: whoever reads English anywhere knows what is meant.
    return "en_GB" if language.tag == "en" else language.tag


@dataclass(frozen=True)
class Languages:
    """Those that this service speaks."""

    known: tuple[Language, ...]

    @classmethod
    def of(cls, *, production: bool) -> "Languages":
        return cls((ENGLISH, GERMAN) if production else (ENGLISH, GERMAN, PSEUDO))

    def named(self, tag: str) -> Language | None:
        """The one of this tag, or of its first part: `de` for `de-AT`."""
        tag = tag.lower()
        for language in self.known:
            if language.tag.lower() == tag:
                return language
        first = tag.partition("-")[0]
        return next((each for each in self.known if each.tag == first), None)

    def first_of(self, tags: str | None) -> Language | None:
        """The first that is known of those that `ui_locales` names."""
        for tag in (tags or "")[:LONGEST].split():
            if (language := self.named(tag)) is not None:
                return language
        return None

    def asked_for(self, request: Request) -> Language | None:
        """By `ui_locales`, of the page or of the request that waits in its address."""
        try:
            query = request.query
        except IdentityError:  # the page says so
            return None
        asked = query.get("ui_locales")
        if asked is None and "ui_locales" in (to := query.get("to", "")):
            asked = parse_qs(to.partition("?")[2]).get("ui_locales", [""])[0]
        return self.first_of(asked)

    def accepted(self, header: bytes | None) -> Language | None:
        """RFC 9110 §12.5.4: the one with the highest weight; of equals the first."""
        best: tuple[float, Language] | None = None
        for part in (header or b"")[:LONGEST].decode("latin-1").split(","):
            tag, _, weight = part.partition(";")
            language = self.named(tag.strip())
            if language is None:
                continue
            at = _weight(weight)
            if at > 0 and (best is None or at > best[0]):
                best = at, language
        return best[1] if best else None


def _weight(parameter: str) -> float:
    name, equals, value = parameter.replace(" ", "").partition("=")
    if not equals or name.lower() != "q":
        return 1.0
    try:
        return min(float(value), 1.0)
    except ValueError:
        return 0.0
