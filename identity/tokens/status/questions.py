"""What status lists ask the database."""

from typing import Any

from sqlalchemy import bindparam, exists, literal, select
from sqlmodel import col

from identity.keys.table import SigningKey
from identity.store import Statement, select_of
from identity.store.table import Change
from identity.tokens.status.table import RevokedPlace, StatusBlock
from identity.tokens.table import RevokedToken

PAGE = 5000
TOGETHER = 100  # refs of one query


def _places_of(place: Any, ref: Any) -> Statement:
    """Those of `TOGETHER` refs."""
    refs: list[Any] = [bindparam(f"r{n}") for n in range(TOGETHER)]
    return Statement(lambda: select_of(place).where(col(ref).in_(refs)))


def _page_of(place: Any) -> Statement:
    return Statement(
        lambda: (
            select_of(place)
            .where(col(place) > bindparam("after"), col(place) < bindparam("end"))
            .order_by(place)
            .limit(bindparam("page"))
        )
    )


TOKENS = _places_of(RevokedToken.status_index, RevokedToken.jti)
"""Places of `TOGETHER` revoked tokens, by `jti`."""
OTHERS = _places_of(RevokedPlace.place, RevokedPlace.ref)
"""Places of tokens that ended with `TOGETHER` of what they hang on."""
OWNED = Statement(
    lambda: select(col(StatusBlock.list_id), col(StatusBlock.number)).where(
        col(StatusBlock.owner) == bindparam("owner"), col(StatusBlock.born) < bindparam("change")
    )
)
"""The blocks (list and number) of a client that are older than a change."""
SIGNED = Statement(
    lambda: select(col(StatusBlock.list_id), col(StatusBlock.number)).where(
        col(StatusBlock.kid) == bindparam("kid")
    )
)
"""The blocks (list and number) whose tokens a key signed."""
LIVE = Statement(
    lambda: (
        select(literal(1))
        .where(
            col(StatusBlock.list_id) == bindparam("list"),
            col(StatusBlock.expires_at) > bindparam("now"),
        )
        .limit(1)
    )
)
"""Whether a token could be alive that has a place in a list."""
LISTS = Statement(
    lambda: (
        select(col(StatusBlock.list_id))
        .where(col(StatusBlock.expires_at) > bindparam("now"))
        .distinct()
        .order_by(col(StatusBlock.list_id))
    )
)
"""The lists in which such a token has a place."""
ALL = (_page_of(RevokedToken.status_index), _page_of(RevokedPlace.place))
"""The places after one and before another, a page at a time."""
ENDED = Statement(
    lambda: select(
        exists().where(
            col(StatusBlock.list_id) == bindparam("list"),
            col(StatusBlock.number) == bindparam("number"),
            col(Change.id) > col(StatusBlock.born),
            col(Change.ref) == col(StatusBlock.owner),
            col(Change.kind) == literal("client.revoked"),
        )
    )
)
"""Whether a block was reserved before its client was ended, whatever it is now."""


def _dead_blocks() -> Any:
    here = select(col(StatusBlock.number)).where(col(StatusBlock.list_id) == bindparam("list"))
    ended = here.join(Change, col(Change.ref) == col(StatusBlock.owner)).where(
        col(Change.kind).in_([literal("client.revoked"), literal("client.narrowed")]),
        col(Change.id) > col(StatusBlock.born),
        col(Change.at) > bindparam("horizon"),
    )
    signed = here.join(SigningKey, col(SigningKey.kid) == col(StatusBlock.kid))
    return ended.union(signed.where(col(SigningKey.state) == "revoked"))


DEAD_BLOCKS = Statement(_dead_blocks)
"""The blocks of a list all of whose tokens are revoked: their client's, or those of their key."""
