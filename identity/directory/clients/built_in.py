"""The client that is there from the first start on (decision 73)."""

from typing import Any, Final

from sqlmodel import Session

from identity.directory import subjects
from identity.directory.access.granting import ALL
from identity.directory.clients import accounts
from identity.directory.clients.table import FIRST_PARTY, Client
from identity.directory.configured import Configured
from identity.records import audit
from identity.settings import Settings

OWN_PAGE: Final = "/docs/oauth2-redirect"
"""Where its codes go, below the issuer. It is no setting: it follows the issuer, and no other page
of this service takes codes."""
_GRANTS: Final = ("password", "refresh_token")
"""What it had at first, when people signed in at `/docs` with a password alone."""


def own_page(settings: Settings) -> str | None:
    """The address of that page; None where the client is switched off."""
    if not settings.sessions.default_client:
        return None
    return settings.issuer.rstrip("/") + OWN_PAGE


def first_party() -> Client:
    return Client(
        id=FIRST_PARTY,
        name="Built-in client",
        type="public",
        grants=[*_GRANTS, "authorization_code"],
        scopes=[ALL],
        settings={"first_party": True},
        builtin=True,
    )


def ensure_first_party(session: Session) -> None:
    """It is there, and is what this version makes it, unless somebody has made it what it is."""
    client = session.get(Client, FIRST_PARTY)
    if client is None:
        subjects.claim(session, FIRST_PARTY, "client")
        session.add(first_party())
        session.flush()
    elif _as_it_was(client) and session.get(Configured, ("client", FIRST_PARTY)) is None:
        session.refresh(client, with_for_update=True)
        if _as_it_was(client):
            _bring(session, client)


def _as_it_was(client: Client) -> bool:
    """As an earlier version made it. Whether people are asked for consent is set with the grant, so
    who takes the grant away again does not get it back. With redirect URIs somebody has plans."""
    settings = client.settings or {}
    return sorted(client.grants) == sorted(_GRANTS) and settings.keys().isdisjoint(
        ("first_party", "redirect_uris")
    )


def _bring(session: Session, client: Client) -> None:
    made = first_party()
    before = {"grants": client.grants, "first_party": None}
    after: dict[str, Any] = {"grants": made.grants, "first_party": True}
    client.grants = made.grants
    client.settings = {**(client.settings or {}), "first_party": True}
    accounts.touch(session, client)
    audit.record(session, "client.updated", subject=client.id, before=before, after=after)
