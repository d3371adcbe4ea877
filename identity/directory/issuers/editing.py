"""What can be done to a trusted issuer. Each function is part of the caller's unit of work.

Whose keys an issuer's tokens are by decides which clients, and perhaps which users, they speak for:
to change that takes every built-in scope.
"""

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from identity.clock import utcnow
from identity.directory import uris
from identity.directory.access.authority import Held
from identity.directory.clients import public_keys
from identity.directory.issuers.registry import NOUN
from identity.directory.issuers.table import TrustedIssuer
from identity.errors import Conflict, Forbidden, NotFound, ValidationFailed
from identity.records import audit
from identity.store import changes, insert_unique
from identity.store.searching import contains

LONGEST = 500
FIELDS = (
    "name", "status", "jwks", "jwks_uri", "audience", "user_match", "user_claim",
    "software_statements",
)  # fmt: skip
_TAKEN = "the issuer is registered already"


def get(session: Session, issuer_id: str, *, lock: bool = False) -> TrustedIssuer:
    """By its id, or its `iss`. Raises `NotFound`. `lock`: until the transaction ends."""
    named = (col(TrustedIssuer.id) == issuer_id) | (col(TrustedIssuer.issuer) == issuer_id)
    query = select(TrustedIssuer).where(named)
    found = session.exec(query.with_for_update() if lock else query).first()
    if found is None:
        raise NotFound("no such issuer")
    return found


def matching(q: str | None = None) -> SelectOfScalar[TrustedIssuer]:
    """`q`: part of an issuer or name, in any case."""
    query = select(TrustedIssuer)
    return query.where(contains(q, TrustedIssuer.issuer, TrustedIssuer.name)) if q else query


def create(
    session: Session, *, issuer: str, chosen: Mapping[str, Any], own_issuer: str, held: Held
) -> TrustedIssuer:
    """`chosen`: of `FIELDS`. Raises `Conflict` where it is registered already,
    `ValidationFailed`, `Forbidden`."""
    _guard(held)
    made = TrustedIssuer(issuer=issuer, **{n: chosen[n] for n in FIELDS if n in chosen})
    _check(made, own_issuer)
    insert_unique(session, made, Conflict(_TAKEN))
    changes.record(session, f"{NOUN}.created", made.issuer)
    audit.record(
        session, "trusted_issuer.created", subject=made.id,
        issuer=made.issuer, called=made.name, jwks=made.jwks, jwks_uri=made.jwks_uri,
        audience=made.audience, user_match=made.user_match, user_claim=made.user_claim,
        software_statements=made.software_statements,
    )  # fmt: skip
    return made


def update(
    session: Session,
    found: TrustedIssuer,
    fields: Mapping[str, Any],
    *,
    own_issuer: str,
    held: Held,
) -> None:
    """Set what `FIELDS` names; other members are ignored."""
    _guard(held)
    before = {name: getattr(found, name) for name in FIELDS}
    after = {n: fields[n] for n in FIELDS if n in fields and fields[n] != before[n]}
    if not after:
        return
    found.sqlmodel_update(after)
    _check(found, own_issuer)
    found.version += 1
    found.updated_at = utcnow()
    session.add(found)
    session.flush()
    changes.record(session, f"{NOUN}.changed", found.issuer)
    audit.record(
        session, "trusted_issuer.updated", subject=found.id,
        before={name: before[name] for name in after}, after=after,
    )  # fmt: skip


def remove(session: Session, found: TrustedIssuer, held: Held) -> None:
    """Nothing that it says counts any more; tokens that were issued for it run out."""
    _guard(held)
    session.delete(found)
    session.flush()
    changes.record(session, f"{NOUN}.deleted", found.issuer)
    audit.record(session, "trusted_issuer.deleted", subject=found.id, issuer=found.issuer)


def _guard(held: Held) -> None:
    if held is not None and not held.holds_everything:
        raise Forbidden(
            "a trusted issuer takes every built-in scope, and you do not hold them all: it says "
            "which clients, and which users, its tokens are"
        )


def _check(issuer: TrustedIssuer, own_issuer: str) -> None:
    errors: list[tuple[str, str]] = []
    if not 0 < len(issuer.issuer) <= LONGEST or not issuer.issuer.isprintable():
        errors.append(("/issuer", f"must be 1 to {LONGEST} printable characters"))
    elif issuer.issuer == own_issuer:
        errors.append(("/issuer", "cannot be this service itself"))
    elif issuer.jwks is None and issuer.jwks_uri is None and (why := _unfound(issuer.issuer)):
        errors.append(("/issuer", f"{why}; or give jwks or jwks_uri"))
    if issuer.jwks is not None and issuer.jwks_uri is not None:
        errors.append(("/jwks_uri", "cannot be given beside jwks"))
    if issuer.jwks_uri is not None and (problem := uris.web_problem(issuer.jwks_uri)):
        errors.append(("/jwks_uri", problem))
    for pointer, words in public_keys.problems(issuer.jwks) if issuer.jwks is not None else ():
        errors.append((f"/jwks{pointer}", words))
    if issuer.user_match == "email" and issuer.user_claim != "email":
        errors.append(("/user_claim", "must be email, of which email_verified says that it is"))
    if errors:
        raise ValidationFailed(errors)


def _unfound(issuer: str) -> str | None:
    """Why its metadata cannot be behind it (OpenID Connect Discovery §4.1)."""
    if "?" in issuer or "#" in issuer:
        return "must have neither query nor fragment"
    return uris.web_problem(issuer)
