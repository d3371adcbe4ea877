"""Mails that the service has sent: into its folder, or to a server that speaks SMTP on loopback."""

import asyncio
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiosmtpd.controller import Controller
from sqlmodel import Session

from identity.authentication.mail import outbox
from identity.service.mail_delivery import MailDelivery
from identity.store import Database
from tests.databases import wait_until
from tests.world import World


@dataclass
class Mail:
    message: EmailMessage

    @property
    def to(self) -> str:
        return str(self.message["to"])

    @property
    def subject(self) -> str:
        return str(self.message["subject"])

    @property
    def text(self) -> str:
        part = self.message.get_body(("plain",))
        assert part is not None
        text: str = part.get_content()
        return text

    @property
    def html(self) -> str:
        part = self.message.get_body(("html",))
        assert part is not None
        html: str = part.get_content()
        return html

    @property
    def link(self) -> str:
        """The only one with a token."""
        (link,) = re.findall(r"http\S+token=\S+", self.text)
        return str(link)

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.link).query)["token"][0]

    @property
    def path(self) -> str:
        """The link within the service."""
        parts = urlsplit(self.link)
        return f"{parts.path}?{parts.query}"


def read(octets: bytes) -> Mail:
    message = message_from_bytes(octets, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return Mail(message)


def kept(folder: Path) -> list[Mail]:
    """In the order in which they were written."""
    return [read(path.read_bytes()) for path in sorted(folder.glob("*.eml"))]


async def sent(world: World) -> list[Mail]:
    """All that there are, once nothing waits any more."""
    delivery, folder = MailDelivery(world.services), world.services.settings.mail.mail_folder
    async with asyncio.timeout(30):
        while await world.services.db.read(lambda session: outbox.waiting(session)[0]):
            await delivery.deliver()
            await asyncio.sleep(0.01)
    await delivery.stop(10)
    assert folder is not None
    return kept(folder)


async def last(world: World, *, to: str) -> Mail:
    """The newest to this address."""
    return [mail for mail in await sent(world) if mail.to == to][-1]


def waiting(db: Database) -> int:
    def look(session: Session) -> int:
        return outbox.waiting(session)[0]

    with db.snapshot() as session:
        return look(session)


@dataclass
class Postbox:
    """A server that takes mails. `answer`: what it says to each recipient, None: it takes it."""

    port: int = 0
    took: list[Mail] = field(default_factory=list)
    answer: Callable[[str], str | None] = lambda _: None
    holding: threading.Event = field(default_factory=threading.Event)

    async def handle_RCPT(self, _s: Any, _e: Any, envelope: Any, address: str, _o: Any) -> str:  # noqa: N802
        refusal = self.answer(address)
        if refusal is None:
            envelope.rcpt_tos.append(address)
        return refusal or "250 OK"

    async def handle_DATA(self, _s: Any, _e: Any, envelope: Any) -> str:  # noqa: N802
        self.took.append(read(envelope.content))
        await asyncio.to_thread(self.holding.wait, 60)
        return "250 OK"

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def wait_for(self, count: int, seconds: float = 30) -> list[Mail]:
        wait_until(
            lambda: len(self.took) >= count, seconds, lambda: f"{len(self.took)}, not {count}"
        )
        return list(self.took)


@contextmanager
def taking(
    box: Postbox | None = None, tls: ssl.SSLContext | None = None, **options: Any
) -> Iterator[Postbox]:
    box = box or Postbox()
    box.holding.set()
    controller = Controller(
        box, hostname="127.0.0.1", port=box.port, tls_context=tls,
        require_starttls=tls is not None, **options,
    )  # fmt: skip
    if not box.port:  # the controller wants to know it before
        from tests.databases import free_port

        box.port = controller.port = free_port()
    controller.start()
    try:
        yield box
    finally:
        box.holding.set()
        controller.stop()
