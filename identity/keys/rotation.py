"""How signing keys follow one another. Plain units of work, for whichever process comes first.

    prepare → next ──(everybody has it)──→ active → retired ──(tokens expired)──→
        withdrawn ──(no session is left of its time)──→ gone

There is one such line for what chose no algorithm (`serves=""`), and one for each algorithm that an
audience chose besides. They share nothing but the lock.

Every function takes the same lock first, so transitions happen one at a time and see each other;
the table's unique indexes would refuse a second `active` or `next` even so. What a transition
changes is told to the change feed and to the audit.

A relying party that fetched the key set just before a key was published uses it for another
JWKS_MAX_AGE; therefore a key waits that long, and a margin, before it signs; and then for those who
follow the revocations and say that they have not got it (`keys.uptake`). Three acts do not wait,
because waiting would be worse: the very first key, `rotate(now=True)` and revoking the
active key. For up to JWKS_MAX_AGE after these, verifiers that do not fetch the set again on an
unknown `kid` refuse new tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.errors import NotFound, ValidationFailed
from identity.keys import uptake
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


@dataclass(frozen=True)
class Due:
    """What `tend` would do now. `create` needs material."""

    create: bool
    promote: bool
    extend: bool
    withdraw: Sequence[SigningKey]
    remove: Sequence[SigningKey]
    leave: Sequence[SigningKey]
    """Keys of algorithms that no audience chooses any more, at their age."""

    def __bool__(self) -> bool:
        keys = [*self.withdraw, *self.remove, *self.leave]
        return bool(self.create or self.promote or self.extend or keys)


def due(session: Session, settings: Settings, serves: str = "") -> Due:
    """A look, without lock: cheap enough for every few seconds."""
    now = utcnow()
    active, pending = find(session, "active", serves), find(session, "next", serves)
    age = now - (active.activated_at or now) if active else timedelta(0)
    query = select(SigningKey).where(
        SigningKey.state == "retired", col(SigningKey.expires_at) <= now
    )
    expired = session.exec(query).all()
    forgotten = [row for row in expired if _is_nobodys(row, settings)]
    return Due(
        create=bool(active and not pending and age >= settings.keys.key_rotation - lead(settings)),
        promote=bool(
            pending
            and pending.not_before <= now
            and not uptake.somebody_lacks(session, pending.kid)
        ),
        extend=bool(active and active.token_ttl < _ttl(settings)),
        withdraw=[row for row in expired if row.withdrawn_at is None and row not in forgotten],
        remove=forgotten,
        leave=[] if serves else _left_over(session, settings),
    )


def _is_nobodys(key: SigningKey, settings: Settings) -> bool:
    """Whether every session has ended that it signed an ID token of."""
    return (key.retired_at or key.created_at) + settings.sessions.session_ttl <= utcnow()


def _left_over(session: Session, settings: Settings) -> list[SigningKey]:
    """Not at once: another replica may not have heard yet that nobody wants them."""
    query = select(SigningKey).where(
        col(SigningKey.state).in_(("active", "next")),
        col(SigningKey.serves).not_in(settings.keys.served),
        col(SigningKey.created_at) <= utcnow() - settings.keys.key_rotation,
    )
    return list(session.exec(query).all())


def tend(
    session: Session, settings: Settings, material: "Material | None", serves: str = ""
) -> bool:
    """Do what is due; whether anything was. `material` for the case that a key is created; without
    it, creation waits for the next time."""
    lock(session)
    what = due(session, settings, serves)
    done = bool(what.promote or what.extend or what.withdraw or what.remove or what.leave)
    active, pending = find(session, "active", serves), find(session, "next", serves)
    if what.promote and pending is not None:
        promote(session, settings, pending)
    elif what.extend and active is not None:
        _set(session, active, token_ttl=_ttl(settings))
    elif what.create and material is not None:
        publish(session, settings, material, serves=serves)
        done = True
    for row in what.withdraw:
        _withdraw(session, row)
    for row in what.remove:
        remove(session, row)
    for row in what.leave:
        if row.state == "active":
            _retire(session, settings, row)
        else:
            remove(session, row)
    return done


def lacking(session: Session, settings: Settings) -> list[str]:
    """For what `ensure` has something to do."""
    return [serves for serves in settings.keys.served if _lacking(session, settings, serves)]


def _lacking(session: Session, settings: Settings, serves: str) -> bool:
    active, pending = find(session, "active", serves), find(session, "next", serves)
    if serves and active is None:
        return pending is None
    if active is None or _stray(pending, settings):
        return True
    return _stray(active, settings) and pending is None


def ensure(session: Session, settings: Settings, materials: Mapping[str, "Material"]) -> None:
    """At start: a key that signs; where the algorithm setting has changed, its successor; and one
    for each algorithm that an audience has chosen. `materials` by what they are to serve.

    Whatever is not the very first is published first, like every key: until then the old algorithm
    signs, `lead` longer. A key that an operator imported is of the algorithm that the operator
    wanted, and stays.
    """
    lock(session)
    first = session.exec(select(SigningKey.kid).limit(1)).first() is None
    for serves, material in materials.items():
        _ensure(session, settings, material, serves, first)


def _ensure(
    session: Session, settings: Settings, material: "Material", serves: str, first: bool
) -> None:
    active, pending = find(session, "active", serves), find(session, "next", serves)
    if active is None and serves and not first:
        if pending is None:
            publish(session, settings, material, serves=serves)
        return
    if active is None:
        key = pending or publish(session, settings, material, serves=serves)
        promote(session, settings, key)
        return
    if pending is not None and _stray(pending, settings):
        remove(session, pending)  # it has signed nothing
        pending = None
    if pending is None and _stray(active, settings):
        publish(session, settings, material, serves=serves)


def _stray(key: SigningKey | None, settings: Settings) -> bool:
    """Made for an algorithm setting that is no longer in force."""
    if key is None or key.imported:
        return False
    return key.algorithm != settings.keys.algorithm_for(key.serves)


def rotate(
    session: Session,
    settings: Settings,
    material: "Material",
    *,
    now: bool = False,
    serves: str = "",
) -> SigningKey:
    """The key that will sign next, made if there is none; `tend` promotes it when it is known.

    `now` promotes at once (see the module for the price).
    """
    lock(session)
    active = find(session, "active", serves)
    key = find(session, "next", serves) or publish(session, settings, material, serves=serves)
    if now or (active is None and not serves):
        promote(session, settings, key)
    return key


def revoke(session: Session, settings: Settings, kid: str, material: "Material") -> SigningKey:
    """From now on nothing that this key signed is good. Revoked twice is revoked. `NotFound`.

    Another takes the place of the active key at once: the next one, or `material`, which is of
    the algorithm that `replacing` tells.
    """
    lock(session)
    row = session.get(SigningKey, kid, populate_existing=True)
    if row is None:
        raise NotFound("there is no such key")
    if row.state == "revoked":
        return row
    before = row.state
    _set(session, row, state="revoked", revoked_at=utcnow(), private=None)
    audit.record(session, "key.revoked", subject=kid, algorithm=row.algorithm, was=before)
    changes.record(session, "key.revoked", kid)
    if before == "active":
        successor = find(session, "next", row.serves)
        if successor is None:
            successor = publish(session, settings, material, serves=row.serves)
        promote(session, settings, successor)
    return row


def replacing(session: Session, settings: Settings, kid: str) -> str:
    """The algorithm of what would take this key's place. `NotFound`."""
    row = session.get(SigningKey, kid)
    if row is None:
        raise NotFound("there is no such key")
    return settings.keys.algorithm_for(row.serves)


def serving(settings: Settings, algorithm: str | None) -> str:
    """Which keys sign by `algorithm`; None for those of whatever chose none.

    `ValidationFailed` where neither the setting nor an audience has chosen it.
    """
    if algorithm is None or algorithm == settings.keys.signing_algorithm:
        return ""
    if algorithm in settings.keys.served:
        return algorithm
    used = ", ".join(map(settings.keys.algorithm_for, settings.keys.served))
    words = f"algorithm must be one in use ({used}); see IDENTITY_AUDIENCE_ALGORITHMS"
    raise ValidationFailed([("/algorithm", words)])


# --- Transitions. The caller holds the lock. ------------------------------------------------


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
        _retire(session, settings, active)
    _set(session, key, state="active", activated_at=utcnow(), token_ttl=_ttl(settings))
    audit.record(session, "key.activated", subject=key.kid, algorithm=key.algorithm)
    changes.record(session, "key.changed", key.kid)


def _retire(session: Session, settings: Settings, key: SigningKey) -> None:
    """`key` signs no more, and is published until the last that it signed has expired."""
    at = utcnow()
    longest = max(key.token_ttl, _ttl(settings), ID_TOKEN_TTL)
    lifetime = timedelta(seconds=longest + MAX_LEEWAY)
    _set(session, key, state="retired", retired_at=at, expires_at=at + lifetime, private=None)
    audit.record(session, "key.retired", subject=key.kid, algorithm=key.algorithm)
    changes.record(session, "key.changed", key.kid)


def _withdraw(session: Session, key: SigningKey) -> None:
    """`key` is published no more; a hint that it signed is still known for one of ours."""
    _set(session, key, withdrawn_at=utcnow())
    audit.record(session, "key.withdrawn", subject=key.kid, algorithm=key.algorithm)
    changes.record(session, "key.changed", key.kid)


def remove(session: Session, key: SigningKey) -> None:
    """A key that nothing bears any more that is worth knowing."""
    session.delete(key)
    session.flush()
    audit.record(session, "key.removed", subject=key.kid, algorithm=key.algorithm, was=key.state)
    changes.record(session, "key.changed", key.kid)


def longest_life(session: Session) -> timedelta:
    """Of any access token that could be alive, by whichever process with whatever setting."""
    query = select(func.max(SigningKey.token_ttl)).where(
        SigningKey.state != "next", col(SigningKey.withdrawn_at).is_(None)
    )
    return timedelta(seconds=session.exec(query).one() or 0)


def _set(session: Session, key: SigningKey, **columns: Any) -> None:
    """Written at once and in this order: the unique indexes look at every statement."""
    for name, value in columns.items():
        setattr(key, name, value)
    session.add(key)
    session.flush()


def _ttl(settings: Settings) -> int:
    return int(settings.tokens.access_token_ttl.total_seconds())
