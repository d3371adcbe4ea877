"""Which mails there are. A mail is a line here and a folder of its name in `templates/`."""

from datetime import timedelta
from typing import Final, NamedTuple


class Kind(NamedTuple):
    name: str
    good_for: timedelta | None = None
    """How long its link is good; later the mail is not sent any more."""


RESET = Kind("reset", timedelta(minutes=30))
VERIFY = Kind("verify", timedelta(hours=24))
INVITATION = Kind("invitation", timedelta(days=7))
CHANGE_EMAIL = Kind("change_email", timedelta(hours=24))
"""To the new address: it counts once it has been confirmed."""
EMAIL_CHANGED = Kind("email_changed", timedelta(days=7))
"""To the old one, which can take it back."""
EMAIL_TAKEN = Kind("email_taken")
"""To the address that somebody else wanted: of this, whoever wanted it hears nothing."""

KINDS: Final = {
    kind.name: kind
    for kind in (
        RESET,
        VERIFY,
        INVITATION,
        CHANGE_EMAIL,
        EMAIL_CHANGED,
        EMAIL_TAKEN,
        Kind("password_changed"),
        Kind("password_reset"),  # a one-time one, by an administrator
        Kind("factor_added"),
        Kind("factor_removed"),
        Kind("factors_reset"),
        Kind("recovery_code_used"),
        Kind("new_device"),
        Kind("lost_everything"),
        Kind("test"),
    )
}
