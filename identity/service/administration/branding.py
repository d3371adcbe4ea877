"""Acts on what the pages look like."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlmodel import Session

from identity.directory.access.authority import Held
from identity.directory.branding import editing
from identity.directory.branding.logos import Drawn, drawn
from identity.directory.branding.table import Branding
from identity.directory.clients import accounts
from identity.directory.clients.table import Client
from identity.http.preconditions import check_unchanged

_DRAWS = ThreadPoolExecutor(max_workers=1, thread_name_prefix="logos")
"""One at a time, whatever their number: a picture takes some megabytes while it is drawn."""


async def picture(data: bytes) -> Drawn:
    """What is kept of a file. Raises `ValidationFailed`."""
    await asyncio.sleep(0)  # a thread is waited for in a task (`wire.eager`)
    return await asyncio.get_running_loop().run_in_executor(_DRAWS, drawn, data)


def change(session: Session, patch: Mapping[str, Any], if_match: str | None) -> Branding:
    row = editing.hold(session)
    check_unchanged(if_match, row.version)
    editing.update(session, row, patch)
    return row


def set_logo(session: Session, made: Drawn, if_match: str | None) -> Branding:
    row = editing.hold(session)
    check_unchanged(if_match, row.version)
    editing.set_logo(session, row, made)
    return row


def remove_logo(session: Session, if_match: str | None) -> None:
    row = editing.hold(session)
    check_unchanged(if_match, row.version)
    editing.remove_logo(session, row)


def set_logo_of(
    session: Session, client_id: str, made: Drawn, held: Held, if_match: str | None
) -> Client:
    client = accounts.get(session, client_id, lock=True)
    check_unchanged(if_match, client.version)
    editing.set_logo_of(session, client, made, held)
    return client


def remove_logo_of(session: Session, client_id: str, held: Held, if_match: str | None) -> None:
    client = accounts.get(session, client_id, lock=True)
    check_unchanged(if_match, client.version)
    editing.remove_logo_of(session, client, held)
