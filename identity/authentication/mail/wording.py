"""What mails say. A mail is a folder of `templates/` with a file for each language: the subject,
then paragraphs, one of which may be `→ ` and what to do, which becomes the link. Both forms of a
mail are made of that, so neither says what the other does not.

No picture, no address but the issuer's. Nothing that a user has chosen gets into a header, and what
gets into the text is one line, escaped in HTML. Of the brand there are the name, where it has one
of its own, and the accent of what is pressed.
"""

import unicodedata
from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, parseaddr
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from identity.authentication.mail.kinds import KINDS, LANGUAGES
from identity.authentication.mail.preparing import Ready
from identity.clock import utcnow
from identity.settings import Settings

FOLDER: Final = Path(__file__).parent / "templates"
LONGEST: Final = 200
"""Characters of a value."""
ACT: Final = "→ "


class Paragraph(NamedTuple):
    text: str
    is_link: bool


class Words(NamedTuple):
    subject: str
    paragraphs: list[Paragraph]


def language(locale: str | None) -> str:
    """The one of ours for whom this is the language tag (RFC 5646)."""
    spoken = (locale or "").partition("-")[0].lower()
    return spoken if spoken in LANGUAGES else LANGUAGES[0]


@cache
def _environment() -> Environment:
    """Escapes in HTML: text has nothing to escape."""
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def words(kind: str, spoken: str, values: Mapping[str, Any]) -> Words:
    told = {name: _line(v) if isinstance(v, str) else v for name, v in values.items()}
    text = _environment().get_template(f"{kind}/{spoken}.txt").render(told)
    subject, *rest = [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]
    found = [Paragraph(part.removeprefix(ACT), part.startswith(ACT)) for part in rest]
    return Words(subject, found)


def _line(value: str) -> str:
    """Without what would end a line or turn its direction."""
    plain = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs") else c
                    for c in value)  # fmt: skip
    return " ".join(plain.split())[:LONGEST]


class Wording:
    def __init__(self, settings: Settings) -> None:
        self._issuer = settings.issuer.rstrip("/")
        self._host = urlsplit(settings.issuer).netloc
        domain = _domain(settings.issuer)
        named = "localhost" if domain.startswith("[") else domain  # not every Python reads others
        self._given = settings.mail.mail_from is not None
        self.sender = settings.mail.mail_from or f"Identity <identity@{named}>"

    def message(self, ready: Ready) -> EmailMessage:
        """`ValueError` for an address that is none."""
        if "@" not in ready.to:
            raise ValueError("no address")
        spoken = language(ready.locale)
        said = words(ready.kind, spoken, self._told(ready.values))
        link = self.link(ready.kind, ready.values.get("link"))
        shown = [each for each in said.paragraphs if link or not each.is_link]
        text = "\n\n".join(f"{p.text}:\n{link}" if p.is_link else p.text for p in shown)
        brand = ready.brand
        called = brand.name if brand.own_name else ""
        html = _environment().get_template("layout.html").render(
            language=spoken, subject=said.subject, paragraphs=shown, link=link,
            issuer=self._issuer, host=self._host, called=called, button=brand.button,
        )  # fmt: skip
        name, sender = parseaddr(self.sender)
        if called and (not name or not self._given):
            name = called
        ascii_only = (ready.to + sender).isascii()
        message = EmailMessage(policy=SMTP if ascii_only else SMTPUTF8)
        message["From"] = Address(name, addr_spec=sender)
        message["To"] = _address(ready.to)
        message["Subject"] = said.subject
        message["Date"] = format_datetime(utcnow())
        # The same each time: whoever gets a mail twice may take it for one.
        message["Message-ID"] = f"<{ready.mail_id}@{_domain(self._issuer)}>"
        message["Auto-Submitted"] = "auto-generated"
        ends = "\n".join(filter(None, ("-- ", called, self._issuer)))
        message.set_content(f"{text}\n\n{ends}\n", cte="quoted-printable")
        message.add_alternative(html, subtype="html", cte="quoted-printable")
        message["Content-Language"] = spoken  # the content takes its headers along
        return message

    def link(self, kind: str, token: str | None) -> str | None:
        """The page of `kind`, for this link. Under the issuer, whatever a request called us."""
        purpose = KINDS[kind].link
        if purpose is None or token is None:
            return None
        return f"{self._issuer}{purpose.page}?{urlencode({'token': token})}"

    def _told(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"host": self._host, "account": values.get("username"), **values}


def _address(text: str) -> Address:
    """`ValueError` for what is none. What is not ASCII, its parser knows nothing of."""
    if text.isascii():
        return Address(addr_spec=text)
    local, _, domain = text.rpartition("@")
    return Address(username=local, domain=domain)


def _domain(issuer: str) -> str:
    host = urlsplit(issuer).hostname or "localhost"
    return f"[IPv6:{host}]" if ":" in host else f"[{host}]" if host[-1].isdigit() else host
