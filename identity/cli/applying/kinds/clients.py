"""Clients, with all their settings, and the secrets that files refer to."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

from pydantic import SecretStr
from sqlmodel import Session, col, func, select

from identity.cli.applying.kinds.kind import (
    Document,
    House,
    KnownSecret,
    Present,
    Wanted,
    without,
)
from identity.clock import utcnow
from identity.directory.clients import accounts, built_in, rules
from identity.directory.clients.settings import NAMES
from identity.directory.clients.surroundings import taken_for_granted
from identity.directory.clients.table import Client, ClientSecret
from identity.errors import Conflict
from identity.opaque import digest
from identity.tokens.sessions import of_clients
from identity.tokens.sessions.table import LoginSession

DEFAULTS: Final[dict[str, Any]] = {
    "type": "confidential",
    "status": "active",
    "grant_types": [],
    "scopes": [],
    "default_scopes": None,
    "audiences": [],
}
"""Of what a client is beside its settings, `name` apart: without one it is called by its id."""


def document(
    client_id: str,
    members: Mapping[str, Any],
    chosen: Mapping[str, Any],
) -> Document:
    """`members`: `name` and those of `DEFAULTS`. `chosen`: settings, as JSON; what they imply is
    part of it. Raises `ValidationFailed`."""
    whole = {"name": client_id, **DEFAULTS, **members}
    around = taken_for_granted(chosen)
    return _document(client_id, whole, rules.settled(None, chosen, whole["type"], around))


class Clients:
    noun: ClassVar[str] = "client"

    def present(self, session: Session) -> dict[str, Present]:
        secrets = _secrets(session)
        query: Any = select(
            Client.id, Client.created_at, Client.builtin, Client.self_registered, Client.settings,
            Client.name, Client.type, Client.status, Client.grants, Client.scopes,
            Client.default_scopes, Client.audiences,
        ).order_by(col(Client.id))  # type: ignore[call-overload]  # fmt: skip
        found = {}
        for id_, made_at, builtin, registered, settings, name, *values in session.exec(query):
            members = {"name": name, **dict(zip(DEFAULTS, values, strict=True))}
            made = _document(id_, members, settings)
            untouched = builtin and made == _first_made()
            found[id_] = Present(made, made_at, builtin, untouched, registered, secrets[id_])
        return found

    def create(self, session: Session, name: str, wanted: Wanted, house: House) -> datetime:
        members = {"name": name, **DEFAULTS, **wanted.document}
        client = accounts.create(
            session,
            client_id=name,
            name=members["name"],
            type=members["type"],
            grants=members["grant_types"],
            scopes=members["scopes"],
            default_scopes=members["default_scopes"],
            audiences=members["audiences"],
            chosen={each: members[each] for each in members if each in NAMES},
            known_grants=house.known_grants,
            own_audiences=house.own_audiences,
            around=house.around,
            held=None,
        )
        if members["status"] != client.status:
            fields = {"status": members["status"]}
            accounts.update(session, client, fields, known_grants=house.known_grants, held=None)
        _give_secrets(session, client, wanted.secrets)
        return client.created_at

    def update(self, session: Session, name: str, wanted: Wanted, house: House) -> None:
        client = accounts.get(session, name, lock=True)
        members = {"name": name, **DEFAULTS, **wanted.document}
        if members["type"] != client.type:
            raise Conflict(
                f"it is {client.type}, and a client stays what it is: delete it, or give this one "
                "another id"
            )
        fields = {each: members[each] for each in ("name", *DEFAULTS) if each != "type"}
        fields["grants"] = fields.pop("grant_types")
        of_clients.update(
            session,
            client,
            fields | {each: members.get(each) for each in NAMES},
            known_grants=house.known_grants,
            own_audiences=house.own_audiences,
            around=house.around,
            held=None,
        )
        _give_secrets(session, client, wanted.secrets)

    def remove(self, session: Session, name: str) -> None:
        of_clients.remove(session, accounts.get(session, name, lock=True), None)

    def losers(self, session: Session, name: str) -> dict[str, int]:
        live = select(func.count()).select_from(LoginSession).where(
            LoginSession.client_id == name, col(LoginSession.ended_at).is_(None),
            LoginSession.expires_at > utcnow(),
        )  # fmt: skip
        return {"sessions": session.exec(live).one()}


def _first_made() -> Document:
    client = built_in.first_party()
    members = {name: getattr(client, name, client.grants) for name in ("name", *DEFAULTS)}
    return _document(client.id, members, client.settings)


def _document(
    client_id: str, members: Mapping[str, Any], settings: Mapping[str, Any] | None
) -> Document:
    """Settings that only a newer version knows are not looked at."""
    made = without(members, {"name": client_id, **DEFAULTS})
    for name in ("grant_types", "scopes", "default_scopes", "audiences"):
        if name in made:
            made[name] = list(dict.fromkeys(made[name]))
    stored = settings or {}
    return made | {name: stored[name] for name in stored if name in NAMES}


def _secrets(session: Session) -> Mapping[str, list[KnownSecret]]:
    """Of each client those that have not expired, oldest first."""
    found: dict[str, list[KnownSecret]] = defaultdict(list)
    now = utcnow()
    query: Any = select(
        ClientSecret.client_id, ClientSecret.id, ClientSecret.digest, ClientSecret.hint,
        ClientSecret.expires_at,
    ).order_by(col(ClientSecret.id))  # type: ignore[call-overload]  # fmt: skip
    for client_id, id_, digest_, hint, expires_at in session.exec(query):
        if expires_at is None or expires_at > now:
            found[client_id].append(KnownSecret(id_, digest_, hint))
    return found


def _give_secrets(session: Session, client: Client, wanted: Sequence[SecretStr] | None) -> None:
    """These and no others."""
    if wanted is None:
        return
    given = {digest(each.get_secret_value()): each.get_secret_value() for each in wanted}
    kept = set()
    for row in accounts.secrets_of(session, client.id):
        if row.digest in given and row.digest not in kept:
            kept.add(row.digest)
        else:
            accounts.remove_secret(session, client, row.id, None)
    for known, secret in given.items():
        if known not in kept:
            accounts.add_secret(session, client, held=None, given=secret)
