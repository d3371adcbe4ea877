"""What an administrator is asked before something is done, and what they answered."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import field
from typing import Any, Literal, NamedTuple

from identity.dataclass import dataclass
from identity.errors import IdentityError, PreconditionFailed, ValidationFailed
from identity.http.forms import parse_pairs
from identity.http.messages import Request
from identity.http.uploads import Upload, is_upload
from identity.pages import from_below
from identity.pages.words import _, said

MOST = 2_000
"""Parameters of a form: a box may be ticked for each of some hundreds of scopes."""
LINE = 200
"""Characters of a line, as the API has it."""

Kind = Literal[
    "text", "textarea", "lines", "select", "checks", "check", "password", "email", "number", "date",
    "file",
]  # fmt: skip


class Form:
    """The answers, by name. What is empty is not there."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value.replace("\r\n", "\n"))
        self._files: dict[str, bytes] = {}

    @classmethod
    async def sent(cls, request: Request) -> "Form":
        """With its file, where it brings one. Raises `InvalidRequest`, `PayloadTooLarge`."""
        media = request.header(b"content-type")
        if not is_upload(media):
            return cls.of(await request.body())
        upload = Upload(media, _whole(request))
        data = b"".join([piece async for piece in upload.file()])
        form = cls((name, value) for name, value in upload.fields if value)
        form._files = {upload.name: data}
        return form

    @classmethod
    def of(cls, body: bytes) -> "Form":
        return cls(parse_pairs(body, MOST))

    def text(self, name: str) -> str:
        """The first of this name, without space around it; empty where there is none."""
        return self._values.get(name, [""])[0].strip()

    def secret(self, name: str) -> str | None:
        """As it was typed."""
        return self._values.get(name, [None])[0]

    def file(self, name: str) -> bytes:
        """Empty where none was chosen."""
        return self._files.get(name, b"")

    def some(self, name: str) -> str | None:
        return self.text(name) or None

    def ticked(self, name: str) -> bool:
        return name in self._values

    def all(self, name: str) -> list[str]:
        return list(dict.fromkeys(self._values.get(name, ())))

    def lines(self, name: str) -> list[str]:
        """One a line, or with spaces between."""
        return list(dict.fromkeys(self.text(name).split()))


async def _whole(request: Request) -> AsyncIterator[bytes]:
    """A body that is bounded."""
    yield await request.body()


class Option(NamedTuple):
    value: str
    label: str
    hint: str = ""


@dataclass()
class Field:
    name: str
    label: str
    kind: Kind = "text"
    value: Any = ""
    """Text; of `checks` a collection of values, of `check` a truth."""
    hint: str = ""
    options: Collection[Option] = ()
    required: bool = False
    longest: int = LINE
    autocomplete: str = "off"
    group: str = ""
    """A heading above it, where another begins."""
    problem: str = ""

    def answer(self, form: Form) -> Any:
        """What was sent, as `value` has it."""
        if self.kind == "checks":
            return form.all(self.name)
        if self.kind == "check":
            return form.ticked(self.name)
        if self.kind in ("password", "file"):
            return ""  # never shown again
        return form.text(self.name)

    def check(self, form: Form) -> str:
        """What is wrong with its form alone."""
        if self.kind == "file":
            return "" if form.file(self.name) or not self.required else _("This is needed.")
        answered = form.secret(self.name) or ""
        if self.kind not in ("checks", "check") and len(answered) > self.longest:
            return _("At most %(most)s characters.") % {"most": self.longest}
        if self.required and not answered.strip():
            return _("This is needed.")
        if self.kind == "select" and answered not in {each.value for each in self.options}:
            return _("Choose one of them.")
        return ""


class Differs(NamedTuple):
    """A field that somebody else has changed meanwhile."""

    label: str
    now: str
    mine: str


@dataclass()
class Sheet:
    """A form as it is shown."""

    title: str
    button: str
    fields: list[Field] = field(default_factory=list)
    lead: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)
    """What follows from it, before anybody presses the button."""
    danger: bool = False
    version: str = ""
    """The entity tag of what is changed."""
    back: str = ""
    """Where *Cancel* leads."""
    hidden: list[tuple[str, str]] = field(default_factory=list)
    problem: str = ""
    differs: list[Differs] = field(default_factory=list)

    def check(self, form: Form) -> None:
        """Raise `ValidationFailed` for what no act would take."""
        wrong = [(f"/{each.name}", words) for each in self.fields if (words := each.check(form))]
        if wrong:
            raise ValidationFailed(wrong)

    def refuse(self, error: IdentityError, form: Form) -> None:
        """Filled in as it was sent, with what is wrong."""
        if isinstance(error, PreconditionFailed):
            self.problem = _("Somebody else has changed it meanwhile. Compare, then save again.")
            self.differs = [
                Differs(each.label, shown(each.value), shown(each.answer(form)))
                for each in self.fields
                if each.kind != "password" and shown(each.value) != shown(each.answer(form))
            ]
        else:
            self.problem = sentence(error.detail)
            self.version = form.text("version")
        for each in self.fields:
            each.value = each.answer(form)
        if isinstance(error, ValidationFailed):
            self._place(error.errors)

    def _place(self, errors: Iterable[tuple[str, str]]) -> None:
        named = {each.name: each for each in self.fields}
        left: list[str] = []
        for where, words in errors:
            steps = where.removeprefix("/").split("/")
            found = named.get(".".join(steps)) or named.get(steps[0])
            if found is not None:
                found.problem = " ".join(filter(None, (found.problem, sentence(words))))
            else:
                left.append(words)
        known = any(each.problem for each in self.fields)
        if known:
            self.problem = " ".join(
                [said(_("Look at what is marked below.")), *map(sentence, left)]
            )


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, str):
        return value
    return " ".join(sorted(str(each) for each in value))


def sentence(words: str) -> str:
    """In the reader's language, where what other floors say is marked (`from_below`)."""
    text = said(from_below.words(words))
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The members of `after` that are not what they were: what nobody touched is not sent, so
    that two who change different things do not meet."""
    return {name: value for name, value in after.items() if before.get(name) != value}
