"""One box that finds users among millions: by id, or by the beginning of a username, an e-mail
address or a name, in any case.

What is found goes by what was found of it, then by id, so that each page is read from the
beginning of some indexes (`ix_search_…`, migration 0024) whatever was typed. Each user is shown
once, by the first in that order: whatever is found of them behind it is passed over.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnElement,
    Executable,
    Integer,
    String,
    and_,
    any_,
    bindparam,
    collate,
    func,
    or_,
    tuple_,
    union_all,
)
from sqlmodel import Session, col, select

from identity.directory.users import names
from identity.directory.users.narrowing import Wanted, few, passing
from identity.directory.users.table import LoginName, User
from identity.store import StatementBy, execute, select_of
from identity.store.statements import DialectName

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
    spelling: int
    """Which of the spellings it is looked up by."""


def _octets(dialect: DialectName, text: Any) -> ColumnElement[str]:
    """Compared octet by octet, as SQLite does anyway."""
    return collate(text, "C") if dialect == "postgresql" else text


def _login_key(dialect: DialectName) -> ColumnElement[str]:
    return _octets(dialect, col(LoginName.name))


def _name_keys(dialect: DialectName) -> list[ColumnElement[str]]:
    return [_octets(dialect, func.lower(col(name))) for name in NAMES]


def _reading(dialect: DialectName, spellings: int) -> Executable:
    """The first `most` of every index, each from behind its own place on."""
    sources = [_Source(_login_key(dialect), col(LoginName.user_id), 0)]
    sources += (
        _Source(key, col(User.id), spelling)
        for key in _name_keys(dialect)
        for spelling in range(1, spellings + 1)
    )
    exact = select_of(col(User.id).label("key"), col(User.id).label("id"))
    parts = [exact.where(col(User.id) == bindparam("exact"))]
    for key, id_, n in sources:
        query = select_of(key.label("key"), id_.label("id")).where(
            _behind(dialect, key, id_, n), key < bindparam(f"end{n}")
        )
        query = query.order_by(key, id_).limit(bindparam("most", type_=Integer))
        parts.append(select_of(*query.subquery().c))
    return union_all(*parts)


def _behind(dialect: DialectName, key: ColumnElement[str], id_: Any, n: int) -> ColumnElement[bool]:
    """Behind a place of the index. SQLite finds it by one bound of the first column alone."""
    at: Any = bindparam(f"key{n}")
    of: Any = bindparam(f"id{n}")
    if dialect == "postgresql":
        return tuple_(key, id_) > tuple_(at, of)
    return and_(key >= at, or_(key > at, id_ > of))


def _these(dialect: DialectName, id_: Any) -> Any:
    """Whether it is one of `ids`, however many they are."""
    if dialect == "postgresql":
        return id_ == any_(bindparam("ids", type_=ARRAY(String)))
    listed = func.json_each(bindparam("ids", type_=JSON)).table_valued("value")
    return id_.in_(select(listed.c.value))


_READ = {
    1: StatementBy(lambda dialect: _reading(dialect, 1)),
    4: StatementBy(lambda dialect: _reading(dialect, 4)),
}
"""By how many spellings they take; in the one of more the same may stand twice."""
_LOGINS = StatementBy(
    lambda dialect: select_of(LoginName.user_id, _login_key(dialect)).where(
        _these(dialect, col(LoginName.user_id))
    )
)
_NAMES = StatementBy(
    lambda dialect: select_of(User.id, *_name_keys(dialect)).where(_these(dialect, col(User.id)))
)


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
    ids = few(session, wanted)
    if ids is not None:
        return _among(session, words, passing(session, wanted, ids), after, most)
    shown, place, size = list[Key](), after, min(most + 1, STRETCH)
    for _ in range(ROUNDS):
        rows = _read(session, words, place, size)
        left = passing(session, wanted, {user_id for _, user_id in rows})
        first = _firsts(session, words, left)
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
    ids: Collection[str],
    after: Key | None,
    most: int,
) -> Found:
    """The same of these users alone."""
    first = _firsts(session, words, ids)
    keys = sorted((key, user_id) for user_id, key in first.items())
    left = keys if after is None else [key for key in keys if key > after]
    return _found(session, left[:most], left[most - 1] if len(left) > most else None)


def _found(session: Session, shown: Sequence[Key], after: Key | None) -> Found:
    ids = [user_id for _, user_id in shown]
    users = {user.id: user for user in session.exec(select(User).where(col(User.id).in_(ids)))}
    return Found([users[user_id] for user_id in ids], after)


def _spellings(words: str) -> tuple[str, ...]:
    """How what was typed may begin in an index: databases may know of small letters in ASCII
    alone."""
    typed = (words, words.lower(), words.upper(), words.title())
    return tuple(dict.fromkeys("".join(c.lower() if c.isascii() else c for c in t) for t in typed))


def _beginnings(words: str) -> list[str]:
    """What is looked for among the names that log in, then among the others."""
    return [names.login_key(words), *_spellings(words)]


def _read(session: Session, words: str, after: Key | None, most: int) -> list[Key]:
    """The first `most` that any index has, in order."""
    login, *spellings = _beginnings(words)
    count = next(count for count in _READ if len(spellings) <= count)
    spellings += spellings[:1] * (count - len(spellings))
    exact = words.lower() if len(words) == ID and after is None else ""
    values: dict[str, Any] = {"exact": exact, "most": most}
    for n, beginning in enumerate((login, *spellings)):
        key, id_ = max((beginning, ""), after or ("", ""))
        values |= {f"key{n}": key, f"id{n}": id_, f"end{n}": beginning + LAST}
    found = {(key, id_) for key, id_ in execute(session, _READ[count], values).fetchall()}
    return sorted(found)[:most]


def _firsts(session: Session, words: str, ids: Collection[str]) -> dict[str, str]:
    """By what each of these that is found is found first."""
    if not ids:
        return {}
    login, *spellings = _beginnings(words)
    exact, values = words.lower(), {"ids": [*ids]}
    first = {exact: exact} if exact in ids else {}
    for beginnings, statement in (((login,), _LOGINS), (tuple(spellings), _NAMES)):
        for user_id, *keys in execute(session, statement, values).fetchall():
            for key in keys:
                if key is not None and key.startswith(beginnings):
                    first[user_id] = min(key, first.get(user_id, key))
    return first
