"""Making a passkey, in two steps: what the browser is asked for, and what it answers. The caller
has seen to it that the user has just proved who they are."""

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session

from identity.authentication.passkeys import ceremonies, keeping
from identity.authentication.passkeys.ceremonies import Made, Options
from identity.authentication.passkeys.proving import Passkeys, loaded
from identity.authentication.passkeys.relying import RelyingParty
from identity.authentication.passkeys.table import Passkey
from identity.directory.users.table import User
from identity.errors import Conflict
from identity.verifier.gate.encoding import b64url_encode

MAKE = "make"
"""What challenges are made for here: they are good for one user."""
WHY_NOT = {
    "address": "passkeys belong to a domain, and this service's issuer is an IP address",
    "insecure": "browsers have passkeys for https alone, and for localhost",
}


def ask(passkeys: Passkeys, session: Session, user: User) -> Options:
    """Part of the caller's unit of work. `Conflict` where passkeys are not possible here, or the
    user has as many as one may have."""
    if passkeys.party.why_not is not None:
        raise Conflict(WHY_NOT[passkeys.party.why_not])
    keeping.check_room(session, user.id)
    there = [each.descriptor() for each in keeping.of_user(session, user.id)]
    return ceremonies.to_make(
        passkeys.party,
        passkeys.challenges.make(MAKE, user.id),
        user.id,
        user.username,
        user.name or user.username,
        there,
    )


async def made(passkeys: Passkeys, text: str, user_id: str) -> Made:
    """The key, if it was made for this user's challenge, which is now used up. Raises
    `PasskeyRefused`."""
    answer = ceremonies.read(text)
    passkeys.challenges.check(answer.challenge, MAKE, user_id)
    await loaded()
    found = ceremonies.check_made(passkeys.party, answer)
    await passkeys.challenges.use(answer.challenge)
    return found


def to_keep(party: RelyingParty, user: User, passkeys: Sequence[Passkey]) -> dict[str, Any]:
    """What devices may be told of this user, so that they forget what is good no longer
    (WebAuthn 3 §5.1.10)."""
    return {
        "rpId": party.id,
        "userId": b64url_encode(user.id.encode()).decode(),
        "name": user.username,
        "displayName": user.name or user.username,
        "ids": [each.credential_id for each in passkeys if each.rp_id == party.id],
    }
