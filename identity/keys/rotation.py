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
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func
from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.errors import NotFound, ValidationFailed
from identity.keys import transitions, uptake
from identity.keys.table import SigningKey
from identity.keys.transitions import find, lead, lock, promote, publish, remove, token_ttl
from identity.settings import Settings

if TYPE_CHECKING:  # all that loads and seals keys is no business of who asks how long tokens live
    from identity.keys.material import Material


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
        extend=bool(active and active.token_ttl < token_ttl(settings)),
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
        transitions.extend(session, settings, active)
    elif what.create and material is not None:
        publish(session, settings, material, serves=serves)
        done = True
    for row in what.withdraw:
        transitions.withdraw(session, row)
    for row in what.remove:
        remove(session, row)
    for row in what.leave:
        if row.state == "active":
            transitions.retire(session, settings, row)
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
    signing = row.state == "active"
    transitions.revoke(session, row)
    if signing:
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


def longest_life(session: Session) -> timedelta:
    """Of any access token that could be alive, by whichever process with whatever setting."""
    query = select(func.max(SigningKey.token_ttl)).where(
        SigningKey.state != "next", col(SigningKey.withdrawn_at).is_(None)
    )
    return timedelta(seconds=session.exec(query).one() or 0)
