"""Where the bits of access tokens are, and which of them are set.

A place is a token's list and its index there in one number: `list * CAPACITY + index`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlmodel import Field

from identity.store import BIG, Stored, UtcDateTime

CAPACITY = 2**20
"""Bits of a list."""
BLOCK = 256
"""Bits that are reserved together."""


class StatusBlock(Stored, table=True):
    """`BLOCK` places of a list, reserved by one process for the tokens it is going to issue.

    Never deleted before its whole list: no place is given away twice.
    """

    __tablename__ = "status_block"

    list_id: int = Field(primary_key=True, sa_type=BIG)
    number: int = Field(primary_key=True)
    """Its first index in the list, divided by `BLOCK`."""
    owner: str | None = Field(default=None, index=True)
    """The client whose own tokens have places here; None: users' tokens, whose sessions know."""
    kid: str = Field(index=True)
    """The key that signs these tokens."""
    born: int = Field(sa_type=BIG)
    """The newest change when it was reserved: what ends its owner later ends all of it."""
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    """When the last token with a place here has expired."""


class RevokedPlace(Stored, table=True):
    """The place of an access token that ended with something else. Written together with that
    end, for a session may be gone with its user before anybody asks for the list."""

    __tablename__ = "revoked_place"

    place: int = Field(primary_key=True, sa_type=BIG)
    ref: str = Field(index=True)
    """What the change feed calls it: a session, user or client."""
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


def block_of(place: int) -> dict[str, int]:
    """The `list` and `number` of a place's block."""
    return {"list": place // CAPACITY, "number": place % CAPACITY // BLOCK}


def path_of(list_id: int) -> str:
    return f"/status-lists/{list_id}"


def place_in(claims: Mapping[str, Any]) -> int | None:
    """The place that a token of this service names; None where it has none."""
    try:
        reference = claims["status"]["status_list"]
        list_id, index = int(reference["uri"].rpartition("/")[2]), reference["idx"]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return list_id * CAPACITY + index if type(index) is int and 0 <= index < CAPACITY else None
