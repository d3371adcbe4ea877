"""Clients that have registered themselves (RFC 7591), and the tokens by which they look after
themselves (RFC 7592). Each function is part of the caller's unit of work.

A registration access token is replaced whenever its client changes something. The one before is
good until the new one has been used: the answer that brought that may have been lost.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import func
from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.directory.clients import accounts
from identity.directory.clients.grant_kinds import GrantKind
from identity.directory.clients.self_described import (
    MAY_SAY,
    Described,
    in_their_words,
    is_beyond,
    open_scopes,
)
from identity.directory.clients.surroundings import Surroundings
from identity.directory.clients.table import Client, ClientRegistration
from identity.errors import (
    Forbidden,
    InvalidClientMetadata,
    InvalidToken,
    Overloaded,
    TooManyRegistrations,
    ValidationFailed,
)
from identity.opaque import digest, mint
from identity.records import audit
from identity.store import locks

PREFIX = "ra"
PER_NETWORK, WINDOW = 20, timedelta(hours=1)
"""Registrations by nobody in particular."""


class Registered(NamedTuple):
    client: Client
    token: str
    """Its registration access token."""
    secret: str | None = None
    """Shown this once; None: it has none, or has seen it."""
    statement: str | None = None
    """Its software statement, as it came."""


def register(
    session: Session,
    described: Described,
    *,
    most: int,
    network: str | None,
    known_grants: Sequence[GrantKind],
    around: Surroundings,
    statement: str | None = None,
) -> Registered:
    """A new client. `network`: of nobody in particular, of which not many come at once. Raises
    `InvalidClientMetadata`, `InvalidRedirectUri`, `TooManyRegistrations`, `Overloaded`."""
    locks.take(session, locks.Lock.REGISTRATIONS)
    _check_number(session, most, network)
    client = _create(session, described, known_grants, around, None)
    secret = _first_secret(session, client)
    token = mint(PREFIX)
    session.add(
        ClientRegistration(
            client_id=client.id, digest=digest(token), network=network, software_statement=statement
        )
    )
    audit.record(session, "client.registered", subject=client.id, called=client.name)
    return Registered(client, token, secret, statement)


def find(session: Session, client_id: str, token: str) -> Registered:
    """The client whose token this is; the token that is good from now on. `InvalidToken` for any
    other, and for a client that is gone (RFC 7592 §2.1); `Forbidden` for one that is disabled."""
    query = select(ClientRegistration).where(ClientRegistration.client_id == client_id)
    registration = session.exec(query.with_for_update()).first()
    presented = digest(token)
    if registration is None or presented not in (registration.digest, registration.former):
        raise InvalidToken("the registration access token is not valid")
    client = accounts.get(session, client_id, lock=True)
    if client.status != "active":
        raise Forbidden("an administrator has disabled this client")
    if presented == registration.digest:
        registration.former = None
    else:  # the answer with the new one was lost: it gets another
        token = _renew(registration, registration.former)
    session.add(registration)
    session.flush()
    return Registered(client, token, statement=registration.software_statement)


def statement_of(session: Session, client_id: str, token: str) -> str | None:
    """What a client has brought whose token this is."""
    found = session.get(ClientRegistration, client_id)
    if found is None or digest(token) not in (found.digest, found.former):
        return None
    return found.software_statement


def update(
    session: Session,
    found: Registered,
    described: Described,
    *,
    known_grants: Sequence[GrantKind],
    around: Surroundings,
    statement: str | None = None,
) -> Registered:
    """Make the client what it wants to be, as a whole (RFC 7592 §2.2), with another token, and with
    a secret where it comes to need one."""
    client = found.client
    if described.type != client.type:
        raise InvalidClientMetadata(
            "token_endpoint_auth_method cannot make a client public or confidential that was not"
        )
    _change(session, client, described, known_grants, around)
    registration = session.get_one(ClientRegistration, client.id)
    token = _renew(registration, registration.digest)
    registration.software_statement = statement
    session.add(registration)
    session.flush()
    return Registered(client, token, _first_secret(session, client), statement)


def keep_described(
    session: Session,
    client_id: str,
    described: Described,
    *,
    most: int,
    known_grants: Sequence[GrantKind],
    around: Surroundings,
) -> None:
    """A client is what its document, at the address `client_id`, says of it now. Raises as
    `register` and `update`, `Forbidden` too where it is disabled."""
    query = select(Client).where(Client.id == client_id)
    client = session.exec(query.with_for_update()).first()
    if client is None:
        locks.take(session, locks.Lock.REGISTRATIONS)
        _check_number(session, most, None)
        _create(session, described, known_grants, around, client_id)
        return
    if client.status != "active":
        raise Forbidden("an administrator has disabled this client")
    _change(session, client, described, known_grants, around)


def _create(
    session: Session,
    described: Described,
    known_grants: Sequence[GrantKind],
    around: Surroundings,
    client_id: str | None,
) -> Client:
    try:
        return accounts.create(
            session,
            name=described.name,
            type=described.type,
            client_id=client_id,
            grants=described.grants,
            scopes=described.scopes,
            default_scopes=described.default_scopes,
            chosen=described.settings,
            self_registered=True,
            known_grants=known_grants,
            around=around,
            held=None,  # what it is was checked
        )
    except ValidationFailed as mistakes:
        raise in_their_words(mistakes) from None


def _change(
    session: Session,
    client: Client,
    described: Described,
    known_grants: Sequence[GrantKind],
    around: Surroundings,
) -> None:
    if is_beyond(client, open_scopes(session)):
        raise Forbidden("an administrator has given this client more: ask them to change it")
    fields: dict[str, Any] = {
        "name": described.name,
        "grants": described.grants,
        "scopes": described.scopes,
        "default_scopes": described.default_scopes,
        **{name: described.settings.get(name) for name in MAY_SAY},
    }
    try:
        accounts.update(
            session, client, fields, known_grants=known_grants, around=around, held=None
        )
    except ValidationFailed as mistakes:
        raise in_their_words(mistakes) from None


def _first_secret(session: Session, client: Client) -> str | None:
    """None where it needs none, or has one."""
    if not accounts.takes_secret(client) or accounts.secrets_of(session, client.id):
        return None
    return accounts.add_secret(session, client, held=None).secret


def _renew(registration: ClientRegistration, former: str | None) -> str:
    token = mint(PREFIX)
    registration.digest, registration.former = digest(token), former
    return token


def _check_number(session: Session, most: int, network: str | None) -> None:
    theirs = select(func.count()).where(col(Client.self_registered))
    if session.exec(theirs).one() >= most:
        raise Overloaded(3600, audit="IDENTITY_REGISTRATION_MOST clients have registered")
    if network is None:
        return
    since = utcnow() - WINDOW
    recent = select(func.count()).where(
        col(ClientRegistration.network) == network, col(ClientRegistration.created_at) > since
    )
    if session.exec(recent).one() >= PER_NETWORK:
        raise TooManyRegistrations(int(WINDOW.total_seconds()))
