"""What may become a password: NIST SP 800-63B §3.1.1.2, so no composition rules."""

from identity.authentication.passwords import guessable
from identity.authentication.passwords.preparing import prepare
from identity.errors import ValidationFailed

MIN_CHARACTERS = 8


def least_of(*, second_factor: bool, alone: int) -> int:
    """How many characters a new password has; `alone`: where it is all that lets its user in."""
    return MIN_CHARACTERS if second_factor else alone


def check(
    password: str,
    *,
    username: str | None,
    email: str | None = None,
    pointer: str = "/password",
    least: int = MIN_CHARACTERS,
) -> None:
    """ValidationFailed at `pointer` unless `password` may be set for this user. `least`: how many
    characters it must have.

    For new passwords only: at a login, `prepare` alone decides what is a password at all.
    """
    try:
        prepared = prepare(password)
    except ValueError as refusal:
        raise ValidationFailed([(pointer, str(refusal))]) from None
    if objection := _objection(prepared, username, email, least):
        raise ValidationFailed([(pointer, objection)])


def _objection(prepared: str, username: str | None, email: str | None, least: int) -> str | None:
    caseless = prepared.casefold()
    own = {name.casefold() for name in (username, email, (email or "").partition("@")[0]) if name}
    if len(prepared) < least:
        return f"The password must have at least {least} characters."
    return guessable.NAMED if caseless in own else guessable.objection(prepared, own)
