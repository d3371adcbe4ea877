"""Where mails go: to an SMTP server, or in development into a folder.

TLS is what `IDENTITY_SMTP_URL` says, and verified; nothing is ever sent more openly than that.
"""

import asyncio
import re
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from identity.authentication.mail.preparing import Ready
from identity.authentication.mail.wording import Wording
from identity.records.redacting import redacted_text
from identity.setting_types import SmtpServer, smtp_server
from identity.settings import Settings
from identity.store.leased import LEASE
from identity.store.new_files import new_file

if TYPE_CHECKING:
    import aiosmtplib

ANSWER: Final = 8.0
"""Seconds that a server may take for one answer."""
TOGETHER: Final = LEASE.total_seconds() - 2 * ANSWER
"""Seconds for all that are sent at once: nobody else may have taken them by the last answer."""


class Failure(NamedTuple):
    why: str
    hopeless: bool = False
    """The server will never take it."""


Outcome = Failure | None
"""None: sent."""


class Sender(Protocol):
    async def send(self, mails: Sequence[Ready]) -> list[Outcome]:
        """One outcome a mail. What is not reached in time is a failure like any other."""


def sender_of(settings: Settings) -> Sender:
    """Where `settings.sends_mail`."""
    wording = Wording(settings)
    if settings.mail.smtp_url is not None:
        server = smtp_server(settings.mail.smtp_url.get_secret_value())
        return ToServer(server, wording, settings.fetching.fetch_ca)
    assert settings.mail.mail_folder is not None
    return ToFolder(settings.mail.mail_folder, wording)


class ToServer:
    def __init__(self, server: SmtpServer, wording: Wording, authorities: Path | None) -> None:
        self._server = server
        self._wording = wording
        self._tls = None
        if server.tls != "off":
            self._tls = ssl.create_default_context()
            if authorities is not None:
                self._tls.load_verify_locations(cafile=authorities)

    async def send(self, mails: Sequence[Ready]) -> list[Outcome]:
        import aiosmtplib

        ends = monotonic() + TOGETHER
        connection = self._connection()
        try:
            await connection.connect()
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            connection.close()
            return [Failure(_words(error))] * len(mails)
        outcomes: list[Outcome] = []
        try:
            for ready in mails:
                if monotonic() > ends or not connection.is_connected:
                    outcomes.append(Failure("not reached in time"))
                else:
                    outcomes.append(await self._send(connection, ready))
            if connection.is_connected:
                await connection.quit()
        except (aiosmtplib.SMTPException, OSError):
            pass  # it has taken what it has taken
        finally:
            connection.close()
        return outcomes

    def _connection(self) -> "aiosmtplib.SMTP":
        import aiosmtplib

        server = self._server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username or None,
            password=server.password or None,
            use_tls=server.tls == "at once",
            start_tls=server.tls == "starttls",
            tls_context=self._tls,
            timeout=ANSWER,
        )

    async def _send(self, connection: "aiosmtplib.SMTP", ready: Ready) -> Outcome:
        import aiosmtplib

        try:
            message = self._wording.message(ready)
        except ValueError as error:  # an address that no header can hold
            return Failure(_words(error, ready), hopeless=True)
        try:
            await connection.send_message(message)
        except aiosmtplib.SMTPRecipientsRefused as refused:
            code = refused.recipients[0].code
            return Failure(_words(refused.recipients[0], ready), hopeless=code >= 500)
        except aiosmtplib.SMTPResponseException as refused:
            hopeless = isinstance(refused, aiosmtplib.SMTPDataError) and refused.code >= 500
            return Failure(_words(refused, ready), hopeless=hopeless)
        except (aiosmtplib.SMTPException, OSError) as error:
            connection.close()
            return Failure(_words(error, ready))
        return None


class ToFolder:
    """One file a mail, of its id: a mail that is sent twice is there once."""

    def __init__(self, folder: Path, wording: Wording) -> None:
        self._folder = folder
        self._wording = wording

    async def send(self, mails: Sequence[Ready]) -> list[Outcome]:
        return [await asyncio.to_thread(self._keep, ready) for ready in mails]

    def _keep(self, ready: Ready) -> Outcome:
        try:
            message: EmailMessage = self._wording.message(ready)
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with new_file(self._folder / f"{ready.mail_id}.eml", replace=True) as draft:
                draft.write(message.as_bytes())
        except ValueError as error:
            return Failure(_words(error, ready), hopeless=True)
        except OSError as error:
            return Failure(_words(error))
        return None


def _words(error: Exception, ready: Ready | None = None) -> str:
    """For administrators. Servers say again what they do not like: the address, or where the link
    leads. Both are to be read nowhere."""
    said = " ".join(str(error).split()) or type(error).__name__
    if ready is not None:
        for private, shown in ((ready.to, "[address]"), (ready.values.get("link"), "[link]")):
            if private:
                said = re.sub(re.escape(private), shown, said, flags=re.IGNORECASE)
    return redacted_text(said)
