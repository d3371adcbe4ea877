"""One box that finds users among millions: by id, or by the beginning of a username, an e-mail
address or a name, in any case.

What is found goes by what was found of it, then by id, so that each page is read from the
beginning of some indexes (`ix_search_…`, migration 0026) whatever was typed. Each user is shown
once, by the first in that order.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, collate, exists, func, literal, or_, tuple_, union_all
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from identity.directory.users import names
from identity.directory.users.table import LoginName, User
from identity.store import dialect, select_of

LAST = "\U0010ffff"
"""Behind all that begins with what stands before it."""
ID = 36


class Found(NamedTuple):
    """`key`: what was found of it, as the index has it."""

    key: str
    user: User


class _Source(NamedTuple):
    """Where to look: one index."""

    key: ColumnElement[str]
    id: Any
    beginnings: tuple[str, ...]

    def holds(self, beginning: str) -> ColumnElement[bool]:
        return and_(self.key >= beginning, self.key < beginning + LAST)


def search(
    session: Session,
    words: str,
    *,
    where: Sequence[ColumnElement[bool]] = (),
    after: tuple[str, str] | None = None,
    most: int,
) -> list[Found]:
    """Up to `most`, from behind `after` on: key and id of the last one before. `where`: what else
    must be so of the user."""
    words = words.strip()
    sources = _sources(session, words)
    branches = list(_branches(session, sources, where, after, most))
    if len(words) == ID:
        key: Any = literal(words)
        same = select_of(key.label("key"), col(User.id).label("id"))
        same = same.where(col(User.id) == words.lower(), *where)
        if after is None:
            branches.append(same)
    parts = [select_of(*branch.subquery().c) for branch in branches]
    found = union_all(*parts).subquery()
    rows = session.execute(select_of(found.c.key, found.c.id)).all()
    first: dict[str, str] = {}
    for text, user_id in sorted(rows):
        first.setdefault(user_id, text)
    page = sorted((text, user_id) for user_id, text in first.items())[:most]
    ids = [user_id for _, user_id in page]
    users = {user.id: user for user in session.exec(select(User).where(col(User.id).in_(ids)))}
    return [Found(text, users[user_id]) for text, user_id in page if user_id in users]


def _sources(session: Session, words: str) -> list[_Source]:
    login = names.login_key(words)
    sources = [_Source(_octets(session, col(LoginName.name)), col(LoginName.user_id), (login,))]
    for name in (User.name, User.family_name, User.given_name):
        key = _octets(session, func.lower(col(name)))
        sources.append(_Source(key, col(User.id), _spellings(words)))
    return sources


def _octets(session: Session, text: Any) -> ColumnElement[str]:
    """Compared octet by octet, as SQLite does anyway."""
    return collate(text, "C") if dialect(session) == "postgresql" else text


def _spellings(words: str) -> tuple[str, ...]:
    """How what was typed may begin in an index: databases may know of small letters in ASCII
    alone."""
    typed = (words, words.lower(), words.upper(), words.title())
    return tuple(dict.fromkeys("".join(c.lower() if c.isascii() else c for c in t) for t in typed))


def _branches(
    session: Session,
    sources: Sequence[_Source],
    where: Sequence[ColumnElement[bool]],
    after: tuple[str, str] | None,
    most: int,
) -> Iterator[Any]:
    """What each index has first, of users who are not found earlier by another."""
    for n, source in enumerate(sources):
        for beginning in source.beginnings:
            query = select_of(source.key.label("key"), source.id.label("id"))
            if n == 0:
                query = query.join_from(LoginName, User, col(User.id) == col(LoginName.user_id))
            query = query.where(source.holds(beginning), *where)
            if after is not None:
                query = query.where(tuple_(source.key, source.id) > tuple_(*map(literal, after)))
            for m, other in enumerate(sources):
                if m != n or n == 0:
                    query = query.where(~_earlier(session, m, other, source.key))
            yield query.order_by(source.key, source.id).limit(most)


def _earlier(session: Session, m: int, other: _Source, key: ColumnElement[str]) -> Any:
    """Whether the same user is found by this one, and before `key`."""
    if m:
        found = or_(*map(other.holds, other.beginnings))
        return func.coalesce(and_(found, other.key < key), False)
    same = aliased(LoginName)
    there = _octets(session, col(same.name))
    (beginning,) = other.beginnings
    return exists().where(
        col(same.user_id) == col(User.id),
        there >= beginning, there < beginning + LAST, there < key,
    )  # fmt: skip
