"""Login sessions as the API shows them."""

from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel
from sqlmodel import Session

from identity.api.bodies import Text
from identity.api.paging import Page, Window
from identity.tokens.sessions import listing
from identity.tokens.sessions.table import LoginSession

AtClient = Annotated[Text | None, Query(max_length=64, description="Only those at this client.")]
Words = Annotated[
    Text | None,
    Query(max_length=200, description="Part of a client's id, an address or a device's name."),
]


class SessionOut(BaseModel):
    """A login at a client. Never a token."""

    id: str
    client_id: str
    scope: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str | None
    user_agent: str | None


def page(
    session: Session, window: Window, user_id: str, client_id: str | None, words: str | None
) -> Page[SessionOut]:
    """The user's sessions that have neither ended nor expired, newest first; at one client alone
    where it is named, and with `words` where there are any."""
    query = listing.logins_of(user_id, client_id, words)
    rows, following = window.take(session, query, LoginSession.id, newest_first=True)
    items = [SessionOut.model_validate(row, from_attributes=True) for row in rows]
    return Page(items=items, next=following)
