"""Which mails there are, and what their links are for. A mail is a line here and a folder of its
name in `templates/`, with a file for each language."""

from datetime import timedelta
from typing import Final, NamedTuple

LANGUAGES: Final = ("en", "de")
"""BCP 47: those that mails are written in, and our pages."""


class Purpose(NamedTuple):
    """What a link is for. It does nothing else."""

    name: str
    page: str
    """Where it leads."""
    good_for: timedelta
    survives: bool = False
    """Whether it stays good though the password or the address has changed since."""


RESET = Purpose("reset", "/reset-password", timedelta(minutes=30))
NOT_ME = Purpose("not_me", "/reset-password", timedelta(days=7))
"""Ends everything and takes the password away."""
VERIFY = Purpose("verify", "/verify-email", timedelta(hours=24))
CHANGE = Purpose("change_email", "/verify-email", timedelta(hours=24))
UNDO = Purpose("undo_email", "/verify-email", timedelta(days=7), survives=True)
INVITE = Purpose("invitation", "/invitation", timedelta(days=7))
SIGN_UP = Purpose("sign_up", "/sign-up", timedelta(hours=24))
"""Of nobody yet: its links are not kept (`signing_up`)."""

PURPOSES: Final = {each.name: each for each in (RESET, NOT_ME, VERIFY, CHANGE, UNDO, INVITE)}


class Kind(NamedTuple):
    name: str
    link: Purpose | None = None
    to_user: bool = False
    """It goes to the address that the account has when it is sent."""
    wait: timedelta = timedelta(hours=24)
    """Later it is not sent any more: it would only puzzle."""


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("reset", RESET, wait=RESET.good_for),
        Kind("verify", VERIFY),
        Kind("invitation", INVITE),
        Kind("change_email", CHANGE),  # to the new address
        Kind("email_taken"),  # to an address that somebody else wanted, who hears nothing of this
        Kind("email_changed", UNDO),  # to the old address
        Kind("password_changed", NOT_ME),
        Kind("password_reset"),  # a one-time one, by an administrator
        Kind("factor_added", NOT_ME),
        Kind("factor_removed", NOT_ME),
        Kind("passkey_doubted", NOT_ME),
        Kind("factors_reset"),
        Kind("recovery_code_used", NOT_ME),
        Kind("new_device", NOT_ME, to_user=True),
        Kind("lost_everything"),  # an administrator has let somebody in again
        Kind("sign_up", SIGN_UP),
        Kind("account_there"),  # to who wanted an account, and has one
        Kind("test"),
    )
}

NOTICES: Final = {
    "user.password_changed": "password_changed",
    "user.password_reset": "password_reset",
    "factor.added": "factor_added",
    "factor.removed": "factor_removed",
    "passkey.doubted": "passkey_doubted",
    "factors.reset": "factors_reset",
    "recovery_code.used": "recovery_code_used",
    "enrolment_link.issued": "lost_everything",
}
"""Event of the audit → the mail that tells its subject of it (`notices`)."""
EVERYWHERE: Final = ("factors_reset", "lost_everything")
"""These go to every address: also to those that could take a change back."""
