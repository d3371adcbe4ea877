"""The client that is there from the first start on."""

from sqlmodel import Session

from identity.directory import subjects
from identity.directory.access.granting import ALL
from identity.directory.clients.table import FIRST_PARTY, Client


def first_party() -> Client:
    return Client(
        id=FIRST_PARTY,
        name="Built-in client",
        type="public",
        grants=["password", "refresh_token"],
        scopes=[ALL],
        builtin=True,
    )


def ensure_first_party(session: Session) -> None:
    if session.get(Client, FIRST_PARTY) is None:
        subjects.claim(session, FIRST_PARTY, "client")
        session.add(first_party())
        session.flush()
