"""`/dev/mail`: the mails that development has put into its folder. For whoever sits at this machine
and nobody else, and never in production: what is here lets people in."""

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from identity.errors import MethodNotAllowed, NotFound
from identity.http.messages import Request, Response
from identity.pages.registry import House
from identity.pages.rendering import Rendering

SHOWN = 100
FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via")
_NAME = re.compile(r"[0-9a-f-]{36}")
_LINK = re.compile(r"https?://[!-~]+")
_SEALED = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'",
)
"""Of a mail's HTML: it may look as it does, and nothing else."""


class DevMail:
    def __init__(self, house: House, rendering: Rendering) -> None:
        settings = house.services.settings
        here = not settings.production and settings.mail.smtp_url is None
        self._folder = settings.mail.mail_folder if here else None
        self._host = urlsplit(settings.issuer).netloc.encode()
        self._rendering = rendering

    async def get(self, request: Request) -> Response:
        folder = self._folder
        if folder is None or not self._is_here(request):
            raise NotFound
        name = request.query.get("mail")
        if name is None:
            newest = sorted(folder.glob("*.eml"), reverse=True)[:SHOWN]
            found = [(path.stem, _read(path)) for path in newest]
            return self._rendering.page("mail/dev_list.html", mails=found, folder=str(folder))
        path = folder / f"{name}.eml"
        if not _NAME.fullmatch(name) or not path.is_file():
            raise NotFound
        mail = _read(path)
        if request.query.get("part") == "html":
            return _html(mail)
        text = _text(mail)
        return self._rendering.page(
            "mail/dev_one.html", name=name, mail=mail, text=text,
            links=dict.fromkeys(_LINK.findall(text)),
        )  # fmt: skip

    async def post(self, request: Request) -> Response:
        raise MethodNotAllowed(["GET"])

    def _is_here(self, request: Request) -> bool:
        """From this machine, by our own name, and through nobody."""
        try:
            local = ip_address(request.address or "").is_loopback
        except ValueError:
            local = False
        through = any(request.header(name) is not None for name in FORWARDED)
        return local and not through and request.header(b"host") == self._host


def _read(path: Path) -> EmailMessage:
    return message_from_bytes(path.read_bytes(), policy=policy.default)


def _text(mail: EmailMessage) -> str:
    part = mail.get_body(("plain",))
    return part.get_content() if part is not None else ""


def _html(mail: EmailMessage) -> Response:
    part = mail.get_body(("html",))
    body = part.get_content() if part is not None else ""
    return Response(200, [(b"content-type", b"text/html; charset=utf-8"), _SEALED], body.encode())


async def page(house: House) -> DevMail:
    return DevMail(house, await house.rendering())
