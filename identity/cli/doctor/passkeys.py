"""What `identity doctor` has to say of passkeys: a domain that has changed makes all of them
useless, and nobody notices before they sign in."""

from sqlmodel import Session, select

from identity.authentication.passkeys import keeping
from identity.authentication.passkeys.enrolling import WHY_NOT
from identity.authentication.passkeys.relying import RelyingParty
from identity.authentication.passkeys.table import Passkey
from identity.cli.frame import Operation
from identity.service.findings import Finding, Findings


def examine_passkeys(operation: Operation, session: Session) -> Findings:
    party = RelyingParty.of(operation.settings)
    for domain, count in sorted(keeping.elsewhere(session, party.id).items()):
        yield Finding(
            "problem", "passkeys", f"{count} belong to {domain} and are no good at {party.id}",
            f"set IDENTITY_RP_ID={domain}; where the issuer is no longer below it, put its origin "
            f"into IDENTITY_RELATED_ORIGINS and have {domain} serve /.well-known/webauthn",
        )  # fmt: skip
    if party.possible:
        yield Finding("ok", "passkeys", f"belong to {party.id}")
    elif session.exec(select(Passkey.id).limit(1)).first() is not None:
        yield Finding(
            "problem", "passkeys", f"there are some, but {WHY_NOT[party.why_not or 'address']}",
            "set IDENTITY_ISSUER to the name under which people reach the service",
        )  # fmt: skip
