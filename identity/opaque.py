"""Random identifiers and tokens, and the digests under which tokens are stored."""

from hashlib import sha256
from secrets import token_urlsafe

import uuid_utils


def new_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7) as 36 characters: sorts by time, unique without coordination."""
    return str(uuid_utils.uuid7())


def mint(prefix: str) -> str:
    """`prefix_` and 43 base64url characters: 256 random bits.

    The prefix lets people and secret scanners recognise what leaked.
    """
    return f"{prefix}_{token_urlsafe(32)}"


def digest(token: str) -> str:
    """SHA-256 as 64 hex digits.

    Enough for 256 random bits; a slow hash would protect nothing more.
    """
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
