"""What hangs on a user's browser: where they are signed in, and what applications may do in their
name; theirs to see and to end, and administrators'."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Security
from pydantic import BaseModel
from sqlmodel import Session, col, select

from identity.api.actor import Acting, ChangingMe, Me, acting
from identity.api.bodies import JsonRoute, PathId
from identity.api.paging import Page, Paged, Window, listed
from identity.api.problems import administrative
from identity.authentication import browser
from identity.directory.clients.table import Client
from identity.directory.consents import Consent
from identity.directory.users import accounts
from identity.errors import NotFound
from identity.service.administration import users as administration
from identity.tokens.sessions import listing
from identity.tokens.sessions.table import BrowserSession
from identity.tokens.withdrawing import withdraw

router = APIRouter(route_class=JsonRoute)
Reader = Annotated[Acting, Security(acting, scopes=["users:read"])]
Writer = Annotated[Acting, Security(acting, scopes=["users:write"])]
MINE, THEIRS = "Self-service", "Users"
BY_USER = "ended by the user"


class ConsentOut(BaseModel):
    """What a user has agreed that an application may do."""

    client_id: str
    client_name: str
    scopes: list[str]
    granted_at: datetime
    updated_at: datetime


class AtClientOut(BaseModel):
    """An application that was signed in to with a browser session."""

    client_id: str
    session_id: str
    """The `sid` of its tokens."""


class BrowserSessionOut(BaseModel):
    """Somebody signed in here with a browser. Never its cookie."""

    id: str
    acr: str
    amr: list[str]
    created_at: datetime
    authenticated_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str | None
    user_agent: str | None
    clients: list[AtClientOut]


class MyBrowserSession(BrowserSessionOut):
    current: bool
    """Whether the token that asks hangs on it."""


@router.get(
    "/users/me/consents", operation_id="list_my_consents", tags=[MINE],
    summary="List what applications may do in my name", responses=administrative(),
)  # fmt: skip
async def list_my_consents(me: Me, window: Paged) -> Page[ConsentOut]:
    return await listed(me.services.db, lambda s: _consents(s, window, me.user.id))


@router.delete(
    "/users/me/consents/{client_id}", status_code=204, operation_id="withdraw_my_consent",
    tags=[MINE], summary="Take back what an application may do in my name",
    responses=administrative(404),
)  # fmt: skip
async def withdraw_my_consent(me: ChangingMe, client_id: PathId) -> None:
    """Its sessions of mine end, offline ones too."""

    def unit(session: Session) -> None:
        if not withdraw(session, me.user.id, client_id, "consent withdrawn"):
            raise NotFound("you have agreed to nothing there")

    await me.services.db.write(unit)


@router.get(
    "/users/me/browser-sessions", operation_id="list_my_browser_sessions", tags=[MINE],
    summary="List where I am signed in with a browser, newest first", responses=administrative(),
)  # fmt: skip
async def list_my_browser_sessions(me: Me, window: Paged) -> Page[MyBrowserSession]:
    found = await listed(me.services.db, lambda s: _browsers(s, window, me.user.id))
    sid = me.live.claims.session
    items = [
        MyBrowserSession(
            **item.model_dump(), current=any(each.session_id == sid for each in item.clients)
        )
        for item in found.items
    ]
    return Page(items=items, next=found.next)


@router.delete(
    "/users/me/browser-sessions/{session_id}", status_code=204, tags=[MINE],
    operation_id="end_my_browser_session", summary="Sign out one of my browsers",
    responses=administrative(404),
)  # fmt: skip
async def end_my_browser_session(me: ChangingMe, session_id: PathId) -> None:
    """With it end its sessions at applications, but for offline ones."""
    await me.services.db.write(lambda s: browser.end_of(s, me.user.id, session_id, BY_USER))


@router.get(
    "/users/{user_id}/consents", operation_id="list_user_consents", tags=[THEIRS],
    summary="List what applications may do in a user's name", responses=administrative(404),
)  # fmt: skip
async def list_consents(actor: Reader, user_id: PathId, window: Paged) -> Page[ConsentOut]:
    def unit(session: Session) -> Page[ConsentOut]:
        accounts.get(session, user_id)
        return _consents(session, window, user_id)

    return await listed(actor.services.db, unit)


@router.delete(
    "/users/{user_id}/consents/{client_id}", status_code=204, tags=[THEIRS],
    operation_id="withdraw_user_consent",
    summary="Take back what an application may do in a user's name",
    responses=administrative(404),
)  # fmt: skip
async def withdraw_consent(actor: Writer, user_id: PathId, client_id: PathId) -> None:
    await actor.services.db.write(
        lambda s: administration.withdraw_consent(s, user_id, client_id, actor.held)
    )


@router.get(
    "/users/{user_id}/browser-sessions", operation_id="list_user_browser_sessions", tags=[THEIRS],
    summary="List where a user is signed in with a browser, newest first",
    responses=administrative(404),
)  # fmt: skip
async def list_browser_sessions(
    actor: Reader, user_id: PathId, window: Paged
) -> Page[BrowserSessionOut]:
    def unit(session: Session) -> Page[BrowserSessionOut]:
        accounts.get(session, user_id)
        return _browsers(session, window, user_id)

    return await listed(actor.services.db, unit)


@router.delete(
    "/users/{user_id}/browser-sessions/{session_id}", status_code=204, tags=[THEIRS],
    operation_id="end_user_browser_session", summary="Sign out one of a user's browsers",
    responses=administrative(404),
)  # fmt: skip
async def end_browser_session(actor: Writer, user_id: PathId, session_id: PathId) -> None:
    await actor.services.db.write(
        lambda s: administration.end_browser_session(s, user_id, session_id, actor.held)
    )


def _consents(session: Session, window: Window, user_id: str) -> Page[ConsentOut]:
    query = select(Consent).where(Consent.user_id == user_id)
    rows, following = window.take(session, query, Consent.client_id)
    ids = [row.client_id for row in rows]
    named = session.exec(select(Client.id, Client.name).where(col(Client.id).in_(ids))).all()
    names = dict(named)
    items = [ConsentOut(**row.model_dump(), client_name=names[row.client_id]) for row in rows]
    return Page(items=items, next=following)


def _browsers(session: Session, window: Window, user_id: str) -> Page[BrowserSessionOut]:
    """Those that have neither ended nor expired."""
    query = listing.browsers_of(user_id)
    rows, following = window.take(session, query, BrowserSession.id, newest_first=True)
    below = listing.below(session, [row.id for row in rows])
    items = []
    for row in rows:
        logins = below.get(row.id, [])
        clients = [AtClientOut(client_id=each.client_id, session_id=each.id) for each in logins]
        items.append(BrowserSessionOut(**row.model_dump(), clients=clients))
    return Page(items=items, next=following)
