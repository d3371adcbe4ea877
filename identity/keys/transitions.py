"""What becomes of a signing key, one step at a time: written at once, on record, and told to the
change feed. Which step is due, `rotation` knows; whoever takes one holds the `lock`."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlmodel import Session, select

from identity.clock import utcnow
from identity.keys.table import SigningKey, State
from identity.records import audit
from identity.settings import Settings
from identity.store import changes
from identity.store.locks import Lock, take
from identity.verifier.gate.claims import MAX_LEEWAY

if TYPE_CHECKING:  # all that loads and seals keys is no business of who asks how long tokens live
    from identity.keys.material import Material

ID_TOKEN_TTL = 3600
"""Seconds that an ID token lives at the most; there are services that look at it all that time."""
MARGIN = timedelta(seconds=60)
"""For clocks that differ and answers under way; no longer than JWKS_MAX_AGE itself."""


def lead(settings: Settings) -> timedelta:
    """From a key's publication to its first signature."""
    max_age = settings.keys.jwks_max_age
    return max_age + min(MARGIN, max_age)


def lock(session: Session) -> None:
    """One transition at a time. SQLite's write transaction is that already."""
    take(session, Lock.KEYS)


def find(session: Session, state: State, serves: str = "") -> SigningKey | None:
    """The `active` or `next` key."""
    query = select(SigningKey).where(SigningKey.state == state, SigningKey.serves == serves)
    return session.exec(query.execution_options(populate_existing=True)).one_or_none()


def publish(
    session: Session,
    settings: Settings,
    material: "Material",
    *,
    imported: bool = False,
    serves: str = "",
) -> SigningKey:
    """A `next` key; there must be none that serves the same."""
    at = utcnow()
    key = SigningKey(
        kid=material.kid,
        algorithm=material.algorithm,
        public=material.public,
        private=material.private,
        state="next",
        serves=serves,
        imported=imported,
        created_at=at,
        not_before=at + lead(settings),
    )
    _set(session, key)
    name = "key.imported" if imported else "key.created"
    audit.record(session, name, subject=key.kid, algorithm=key.algorithm)
    changes.record(session, "key.changed", key.kid)
    return key


def promote(session: Session, settings: Settings, key: SigningKey) -> None:
    """`key` signs from now on; the one that did is retired."""
    active = find(session, "active", key.serves)
    if active is not None:
        retire(session, settings, active)
    _set(session, key, state="active", activated_at=utcnow(), token_ttl=token_ttl(settings))
    audit.record(session, "key.activated", subject=key.kid, algorithm=key.algorithm)
    changes.record(session, "key.changed", key.kid)


def extend(session: Session, settings: Settings, key: SigningKey) -> None:
    """What `key` signs from now on lives longer."""
    _set(session, key, token_ttl=token_ttl(settings))


def retire(session: Session, settings: Settings, key: SigningKey) -> None:
    """`key` signs no more, and is published until the last that it signed has expired."""
    at = utcnow()
    longest = max(key.token_ttl, token_ttl(settings), ID_TOKEN_TTL)
    lifetime = timedelta(seconds=longest + MAX_LEEWAY)
    _set(session, key, state="retired", retired_at=at, expires_at=at + lifetime, private=None)
    audit.record(session, "key.retired", subject=key.kid, algorithm=key.algorithm)
    changes.record(session, "key.changed", key.kid)


def withdraw(session: Session, key: SigningKey) -> None:
    """`key` is published no more; a hint that it signed is still known for one of ours."""
    _set(session, key, withdrawn_at=utcnow())
    audit.record(session, "key.withdrawn", subject=key.kid, algorithm=key.algorithm)
    changes.record(session, "key.changed", key.kid)


def revoke(session: Session, key: SigningKey) -> None:
    """From now on nothing that `key` signed is good."""
    before = key.state
    _set(session, key, state="revoked", revoked_at=utcnow(), private=None)
    audit.record(session, "key.revoked", subject=key.kid, algorithm=key.algorithm, was=before)
    changes.record(session, "key.revoked", key.kid)


def remove(session: Session, key: SigningKey) -> None:
    """A key that nothing bears any more that is worth knowing."""
    session.delete(key)
    session.flush()
    audit.record(session, "key.removed", subject=key.kid, algorithm=key.algorithm, was=key.state)
    changes.record(session, "key.changed", key.kid)


def _set(session: Session, key: SigningKey, **columns: Any) -> None:
    """Written at once and in this order: the unique indexes look at every statement."""
    for name, value in columns.items():
        setattr(key, name, value)
    session.add(key)
    session.flush()


def token_ttl(settings: Settings) -> int:
    """Seconds that an access token lives."""
    return int(settings.tokens.access_token_ttl.total_seconds())
