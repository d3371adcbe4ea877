"""What can be done to a client. Each function is part of the caller's unit of work.

`held` is what the acting administrator may hand out (`access.authority`). Nobody touches a client
that may do more than they: its secret would let them become it. `known_grants`: the grant
registry. `own_audiences`: this service's, which no scope has to belong to. `around`: what was found
out for the client's settings (`authentication.sectors`).
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, delete, select

from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.directory import consents, subjects
from identity.directory.access.authority import Held
from identity.directory.access.granting import ALL
from identity.directory.clients import consistency, rules, settings
from identity.directory.clients.grant_kinds import GrantKind
from identity.directory.clients.surroundings import UNSEEN, Surroundings
from identity.directory.clients.table import Client, ClientSecret, ClientType
from identity.errors import Conflict, Forbidden, NotFound, ValidationFailed
from identity.opaque import digest, mint
from identity.records import audit
from identity.records.audit import AuditEvent
from identity.store import changes, insert_unique

PREFIX = "cs"
LIVE_SECRETS = 2
SETTLING = timedelta(seconds=2)
"""How long an id rests between two clients. Tokens tell them apart by whole seconds, and clocks
of replicas differ a little."""

DIFFERENT = 8
"""Characters of a given secret; of 32 random hex digits there are fewer once in ten million."""
_SECRET = re.compile(r"[\x21-\x7e]{32,200}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,63}")


def get(session: Session, client_id: str, *, lock: bool = False) -> Client:
    """The client with this id, or `NotFound`. `lock`: until the transaction ends."""
    query = select(Client).where(Client.id == client_id)
    client = session.exec(query.with_for_update() if lock else query).first()
    if client is None:
        raise NotFound("no such client")
    return client


def secrets_of(session: Session, client_id: str) -> list[ClientSecret]:
    """Its secrets, expired ones too, oldest first."""
    query = select(ClientSecret).where(ClientSecret.client_id == client_id)
    return list(session.exec(query.order_by(col(ClientSecret.id))).all())


def create(
    session: Session,
    *,
    name: str,
    type: ClientType = "confidential",  # noqa: A002 - RFC 6749 §2.1 calls it that
    client_id: str | None = None,
    grants: Collection[str] = (),
    scopes: Collection[str] = (),
    default_scopes: Collection[str] | None = None,
    audiences: Collection[str] = (),
    chosen: Mapping[str, Any] | None = None,
    self_registered: bool = False,
    known_grants: Sequence[GrantKind],
    own_audiences: Collection[str] = (),
    around: Surroundings = UNSEEN,
    held: Held,
) -> Client:
    """A new active client, without a secret yet. Its id is made up unless given. `chosen`: its
    `settings`, as JSON. `self_registered`: if it has an id, that is the address of its document.

    Taken again right after its deletion, an id is good from `created_at` on, up to `SETTLING`
    from now; the caller waits until then before it answers. Raises `Conflict` where the id is
    taken, `ValidationFailed`, `Forbidden` for scopes and audiences beyond `held`.
    """
    if client_id is not None and not self_registered and not _ID.fullmatch(client_id):
        raise ValidationFailed(
            [("/id", "must be 1 to 64 letters, digits and . _ ~ -, a letter or digit first")]
        )
    if client_id is not None and client_id != subjects.spelling(client_id):
        raise ValidationFailed([("/id", "must spell a UUID in small letters, 8-4-4-4-12")])
    rules.check_name(name)
    client = Client(
        name=name,
        type=type,
        grants=_once(grants),
        scopes=_once(scopes),
        default_scopes=None if default_scopes is None else _once(default_scopes),
        audiences=_once(audiences),
        self_registered=self_registered,
    )
    rules.choose(client, chosen or {}, around)
    if client_id is not None:
        client.id = client_id
        begins = _free_from(session, client_id)
        client.created_at = client.updated_at = client.good_from = begins
    rules.check(session, client, known_grants)
    rules.check_may_give(session, client, held)
    rules.check_registered(session, client.audiences, own_audiences)
    rules.check_exchanges(session, None, client)
    subjects.claim(session, client.id, "client")
    insert_unique(session, client, Conflict("the client id is taken"))
    changes.record(session, "client.changed", client.id)
    audit.record(
        session, "client.created", subject=client.id,
        called=client.name, type=client.type, grants=client.grants, scopes=client.scopes,
        default_scopes=client.default_scopes,
        audiences=client.audiences, settings=client.settings,
    )  # fmt: skip
    return client


def update(
    session: Session,
    client: Client,
    fields: dict[str, Any],
    *,
    known_grants: Sequence[GrantKind],
    own_audiences: Collection[str] = (),
    around: Surroundings = UNSEEN,
    held: Held,
) -> None:
    """Set `name`, `status`, `grants`, `scopes`, `default_scopes`, `audiences`, and what
    `settings.NAMES` has, None for its default; other members are ignored.

    The caller ends the sessions of a client that it disables. With a redirect URI that it had not
    before, all that users have agreed to is withdrawn.
    """
    guard(session, client, held)
    now = utcnow()
    changed: dict[str, Any] = {
        key: _once(fields[key]) if isinstance(fields[key], list) else fields[key]
        for key in ("name", "status", "grants", "scopes", "default_scopes", "audiences")
        if key in fields
    }
    before = {key: getattr(client, key) for key in changed}
    changed = {key: value for key, value in changed.items() if before[key] != value}
    was = client.settings or {}
    if chosen := {name: fields[name] for name in fields if name in settings.NAMES}:
        rules.choose(client, chosen, around)
    now_set = client.settings or {}
    if not changed and was == now_set:
        return
    if "name" in changed:
        rules.check_name(changed["name"])
    client.sqlmodel_update(changed)
    if changed.get("status") == "disabled":
        # Its tokens stay dead when it is enabled again. They know whole seconds only.
        client.good_from = now.replace(microsecond=0) + timedelta(seconds=1)
    rules.check(session, client, known_grants)
    rules.check_may_give(session, client, held)
    added = [each for each in client.audiences if each not in before.get("audiences", ())]
    rules.check_registered(session, added if "audiences" in changed else (), own_audiences)
    rules.check_exchanges(session, was, client)
    touch(session, client)
    if consents.wider(settings.load(was).redirect_uris, now_set):
        consents.withdraw_all(session, client.id, "another redirect URI")
    if ALL not in client.scopes and set(before.get("scopes", ())) - set(client.scopes):
        changes.record(session, "client.narrowed", client.id)
    if "status" in changed:
        if client.status == "disabled":
            changes.record(session, "client.revoked", client.id)
        event = "client.disabled" if client.status == "disabled" else "client.enabled"
        audit.record(session, event, subject=client.id)
    before |= {name: was.get(name) for name in was.keys() | now_set.keys()}
    changed |= {name: now_set.get(name) for name in before if name in settings.NAMES}
    rest = {key: changed[key] for key in changed if key != "status" and changed[key] != before[key]}
    if rest:
        was = {key: before[key] for key in rest}
        audit.record(session, "client.updated", subject=client.id, before=was, after=rest)


def remove(session: Session, client: Client, held: Held) -> None:
    """Delete the client and its secrets; its tokens die. The caller has ended its sessions."""
    if client.builtin:
        raise Conflict("a built-in client cannot be deleted; disable it instead")
    guard(session, client, held)
    changes.record(session, "client.revoked", client.id)
    consents.withdraw_all(session, client.id, "client deleted")  # another may take the id
    audit.record(session, "client.deleted", subject=client.id, called=client.name)
    session.delete(client)
    session.flush()


@dataclass(frozen=True)
class NewSecret:
    secret: str
    """Shown once; its digest is kept."""
    row: ClientSecret


def add_secret(
    session: Session,
    client: Client,
    *,
    held: Held,
    expires_at: datetime | None = None,
    given: str | None = None,
) -> NewSecret:
    """A new secret beside the one in use: made up, unless it is `given`. The caller has locked
    `client`.

    Raises `Conflict` for a client that has no secrets, and where two are live already.
    """
    guard(session, client, held)
    if given is not None:
        check_secret(given)
    if client.type != "confidential":
        raise Conflict("a public client has no secrets")
    if not takes_secret(client):
        method = settings.load(client.settings).token_endpoint_auth_method
        raise Conflict(f"a client that authenticates by {method} has no secrets")
    now = utcnow()
    if expires_at is not None and expires_at <= now:
        raise ValidationFailed([("/expires_at", "must lie in the future")])
    session.exec(
        delete(ClientSecret).where(
            col(ClientSecret.client_id) == client.id, col(ClientSecret.expires_at) <= now
        )
    )
    if len(secrets_of(session, client.id)) >= LIVE_SECRETS:
        raise Conflict(f"{LIVE_SECRETS} secrets are live; delete one first")
    secret = mint(PREFIX) if given is None else given
    row = ClientSecret(
        client_id=client.id, digest=digest(secret), hint=secret[-4:], expires_at=expires_at
    )
    session.add(row)
    touch(session, client)
    audit.record(session, "client.secret_created", subject=client.id, secret_id=row.id)
    return NewSecret(secret, row)


def check_secret(given: str) -> None:
    """Raise `ValidationFailed` for what cannot be a secret, or could be guessed: its digest is a
    quick one (`opaque.digest`)."""
    if not _SECRET.fullmatch(given):
        words = (
            "must be 32 to 200 printable ASCII characters without spaces: `openssl rand -hex 32`"
        )
        raise ValidationFailed([("/secret", words)])
    if len(set(given)) < DIFFERENT:
        raise ValidationFailed([("/secret", "must be random")])


def remove_secret(session: Session, client: Client, secret_id: str, held: Held) -> None:
    """From the commit on nobody authenticates with it. Raises `NotFound`."""
    guard(session, client, held)
    row = session.get(ClientSecret, secret_id)
    if row is None or row.client_id != client.id:
        raise NotFound("the client has no such secret")
    session.delete(row)
    touch(session, client)
    audit.record(session, "client.secret_deleted", subject=client.id, secret_id=secret_id)


def lose_scope(session: Session, scope: str, *, self_registered: bool = False) -> None:
    """Take a scope that is about to be deleted from every client, so that none gets it back when
    another of the same name is made. `self_registered`: from these alone, who may have it no
    more."""
    query = select(Client)
    if self_registered:
        query = query.where(col(Client.self_registered))
    for client in session.exec(query.with_for_update()):
        if scope in client.scopes:
            client.scopes = [name for name in client.scopes if name != scope]
            if client.default_scopes:
                kept = [name for name in client.default_scopes if name != scope]
                client.default_scopes = kept
            touch(session, client)
            changes.record(session, "client.narrowed", client.id)


def guard(session: Session, client: Client, held: Held) -> None:
    """Raise `Forbidden` where the client may do more than whoever acts. The built-in one serves all
    who log in without naming a client: to change it takes what the role `admin` holds."""
    if client.builtin and held is not None and not held.holds_everything:
        raise Forbidden("only who holds every built-in scope may change a built-in client")
    rules.check_may_give(session, client, held)


def takes_secret(client: Client) -> bool:
    """Whether it proves itself with a secret of ours."""
    return consistency.takes_secret(settings.load(client.settings), client.type)


def touch(session: Session, client: Client) -> None:
    """Note that what others may remember of the client is out of date."""
    client.version += 1
    client.updated_at = max(utcnow(), client.created_at)
    session.add(client)
    session.flush()
    changes.record(session, "client.changed", client.id)


def _free_from(session: Session, client_id: str) -> datetime:
    """When a client of this id may begin, so that no token of a deleted one is taken for its."""
    deleted = session.exec(
        select(AuditEvent.at)
        .where(AuditEvent.subject == client_id, AuditEvent.event == "client.deleted")
        .order_by(col(AuditEvent.id).desc())
    ).first()
    now = utcnow()
    return now if deleted is None else max(now, deleted.replace(microsecond=0) + SETTLING)


def _once(values: Collection[str]) -> list[str]:
    return list(dict.fromkeys(values))
