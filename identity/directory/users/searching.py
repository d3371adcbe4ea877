"""One box that finds users among millions: by id, or by the beginning of a username, an e-mail
address or a name, in any case.

What is found goes by what was found of it, then by id, so that each page is read from the
beginning of some indexes (`ix_search_…`, migration 0024) whatever was typed. Each user is shown
once, by the first in that order: whatever is found of them behind it is passed over.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, collate, func, literal, tuple_, union_all
from sqlmodel import Session, col, select

from identity.directory.users import names
from identity.directory.users.narrowing import Wanted, few, passing
from identity.directory.users.table import LoginName, User
from identity.store import dialect, select_of

LAST = "\U0010ffff"
"""Behind all that begins with what stands before it."""
ID = 36
ROUNDS = 5
"""How often a page is read on where all that was read has been shown before, or is left out by
filters. Then it is as short as it is, and has a next one."""
STRETCH = 1_000
"""What is read at once at the most."""
EVERYBODY = Wanted()
NAMES: tuple[Any, ...] = (User.name, User.family_name, User.given_name)

Key = tuple[str, str]
"""What was found, as the index has it, and of whom."""


class Found(NamedTuple):
    users: list[User]
    after: Key | None
    """Where the next page begins; None: there is none."""


class _Source(NamedTuple):
    """Where to look: one index."""

    key: ColumnElement[str]
    id: Any
    beginnings: tuple[str, ...]


def search(
    session: Session,
    words: str,
    *,
    wanted: Wanted = EVERYBODY,
    after: Key | None = None,
    most: int,
) -> Found:
    """Up to `most`, from behind `after` on. `wanted`: the filters besides."""
    words = words.strip()
    sources = _sources(session, words)
    ids = few(session, wanted)
    if ids is not None:
        return _among(session, words, sources, passing(session, wanted, ids), after, most)
    shown, place, size = list[Key](), after, min(most + 1, STRETCH)
    for _ in range(ROUNDS):
        rows = _read(session, words, sources, place, size)
        left = passing(session, wanted, {user_id for _, user_id in rows})
        first = _firsts(session, words, sources, left)
        for key in rows:
            place = key
            if first.get(key[1]) == key[0]:
                shown.append(key)
                if len(shown) > most:
                    return _found(session, shown[:most], shown[most - 1])
        if len(rows) < size:
            return _found(session, shown, None)
        if len(left) * 2 < len(rows):
            size = STRETCH  # filters leave out most
    return _found(session, shown, place)


def _among(
    session: Session,
    words: str,
    sources: Sequence[_Source],
    ids: Collection[str],
    after: Key | None,
    most: int,
) -> Found:
    """The same of these users alone."""
    first = _firsts(session, words, sources, ids)
    keys = sorted((key, user_id) for user_id, key in first.items())
    left = keys if after is None else [key for key in keys if key > after]
    return _found(session, left[:most], left[most - 1] if len(left) > most else None)


def _found(session: Session, shown: Sequence[Key], after: Key | None) -> Found:
    ids = [user_id for _, user_id in shown]
    users = {user.id: user for user in session.exec(select(User).where(col(User.id).in_(ids)))}
    return Found([users[user_id] for user_id in ids], after)


def _sources(session: Session, words: str) -> list[_Source]:
    login = names.login_key(words)
    sources = [_Source(_octets(session, col(LoginName.name)), col(LoginName.user_id), (login,))]
    for name in NAMES:
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


def _read(
    session: Session,
    words: str,
    sources: Sequence[_Source],
    after: Key | None,
    most: int,
) -> list[Key]:
    """The first `most` that any index has, in order."""
    branches = list(_branches(sources, after, most))
    if len(words) == ID and after is None:
        exact = select_of(literal(words.lower()).label("key"), col(User.id).label("id"))
        branches.append(exact.where(col(User.id) == words.lower()))
    parts = [select_of(*branch.subquery().c) for branch in branches]
    found = {(key, user_id) for key, user_id in session.execute(union_all(*parts))}
    return sorted(found)[:most]


def _branches(sources: Sequence[_Source], after: Key | None, most: int) -> Iterator[Any]:
    for source in sources:
        for beginning in source.beginnings:
            query = select_of(source.key.label("key"), source.id.label("id"))
            query = query.where(and_(source.key >= beginning, source.key < beginning + LAST))
            if after is not None:
                query = query.where(tuple_(source.key, source.id) > tuple_(*map(literal, after)))
            yield query.order_by(source.key, source.id).limit(most)


def _firsts(
    session: Session, words: str, sources: Sequence[_Source], ids: Collection[str]
) -> dict[str, str]:
    """By what each of these that is found is found first."""
    if not ids:
        return {}
    login, *others = sources
    of_login = select_of(login.id, login.key).where(login.id.in_(ids))
    of_names = select_of(col(User.id), *(other.key for other in others))
    read = (
        (login.beginnings, of_login),
        (others[0].beginnings, of_names.where(col(User.id).in_(ids))),
    )
    exact = words.lower()
    first = {exact: exact} if exact in ids else {}
    for beginnings, query in read:
        for user_id, *keys in session.execute(query):
            for key in keys:
                if key is not None and key.startswith(beginnings):
                    first[user_id] = min(key, first.get(user_id, key))
    return first
