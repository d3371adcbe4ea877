"""What is wrong with what an authenticator answered. People are told one thing; why is for the
audit."""

from identity.errors import InvalidGrant

REFUSED = "the passkey was not accepted"


class PasskeyRefused(InvalidGrant):
    user_id: str | None = None
    """Whose it is, where somebody's is named."""

    def __init__(self, audit: str) -> None:
        super().__init__(REFUSED, audit=audit)


class StaleChallenge(PasskeyRefused):
    """Right or wrong, it comes too late, or again."""


class UnknownPasskey(PasskeyRefused):
    """Nobody's here: its owner may have removed it, and their device does not know."""

    def __init__(self, credential_id: str) -> None:
        super().__init__("unknown passkey")
        self.credential_id = credential_id


class DoubtedPasskey(PasskeyRefused):
    """Its counter has fallen: somebody may have a copy, so another factor is asked for."""
