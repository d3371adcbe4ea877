"""Software statements (RFC 7591 §2.3): what a trusted issuer says of a program that registers
itself. It wins over what the program says, now and whenever the program changes something."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from identity.authentication import foreign
from identity.authentication.foreign import Refused
from identity.authentication.issuers import TrustedIssuers
from identity.clock import now
from identity.errors import InvalidSoftwareStatement, UnapprovedSoftwareStatement

NAME: Final = "software_statement"
OF: Final = "software_id"
"""A claim that no other kind of token has: none of them passes for a statement."""
_NOT_METADATA: Final = frozenset(
    {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "client_secret", NAME}
)


class SoftwareStatement(NamedTuple):
    text: str
    """As it came, and goes back (§3.2.1)."""
    metadata: Mapping[str, Any]


async def read(issuers: TrustedIssuers, text: Any) -> SoftwareStatement:
    """Raises `InvalidSoftwareStatement`, `UnapprovedSoftwareStatement`. The caller has awaited
    `feed.catch_up()`."""
    if not isinstance(text, str):
        raise InvalidSoftwareStatement("software_statement must be a text")
    try:
        assertion = foreign.read(text, now(), subject=False)
    except Refused as refusal:
        raise InvalidSoftwareStatement(audit=str(refusal)) from None
    try:
        issuer = await issuers.get(assertion.issuer)
    except Refused as refusal:
        raise UnapprovedSoftwareStatement(audit=str(refusal)) from None
    if not issuer.software_statements:
        raise UnapprovedSoftwareStatement(audit="an issuer that says nothing of programs")
    try:
        claims = await issuers.statement(issuer, assertion)
    except Refused as refusal:
        raise InvalidSoftwareStatement(audit=str(refusal)) from None
    if not isinstance(claims.get(OF), str) or not claims[OF]:
        raise InvalidSoftwareStatement(f"{OF} is missing in it")
    return SoftwareStatement(text, {n: v for n, v in claims.items() if n not in _NOT_METADATA})
