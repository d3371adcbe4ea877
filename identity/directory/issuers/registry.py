"""What the process remembers of a trusted issuer."""

from typing import Any

from sqlalchemy import bindparam
from sqlmodel import col

from identity.dataclass import dataclass
from identity.directory.issuers.table import TrustedIssuer
from identity.store import Database, Statement, document, select_of
from identity.store.remembered import Remembered

NOUN = "trusted_issuer"
"""In the change feed; its refs are issuers."""


@dataclass(frozen=True, slots=True)
class IssuerSnapshot:
    id: str
    issuer: str
    active: bool
    jwks: dict[str, Any] | None
    jwks_uri: str | None
    audience: str | None
    user_match: str
    user_claim: str
    software_statements: bool


Issuers = Remembered[IssuerSnapshot]
"""By what tokens have in `iss`."""

_ISSUER = Statement(
    lambda: select_of(
        TrustedIssuer.id,
        TrustedIssuer.issuer,
        TrustedIssuer.status,
        TrustedIssuer.jwks,
        TrustedIssuer.jwks_uri,
        TrustedIssuer.audience,
        TrustedIssuer.user_match,
        TrustedIssuer.user_claim,
        TrustedIssuer.software_statements,
    ).where(col(TrustedIssuer.issuer) == bindparam("issuer"))
)


async def load(db: Database, issuer: str) -> IssuerSnapshot | None:
    rows = await db.query(_ISSUER, {"issuer": issuer})
    if not rows:
        return None
    id_, name, status, jwks, jwks_uri, audience, match, claim, statements = rows[0]
    return IssuerSnapshot(
        id_, name, status == "active", document(jwks), jwks_uri, audience, match, claim,
        bool(statements),
    )  # fmt: skip
