"""A code for a session of its client (RFC 6749 §4.1.3): one rule, at two speeds.

A redemption holds user, client and browser session, spends the code, joins or begins the session,
and gives it a family with its first refresh token. PostgreSQL does all of it at once in the plain
case: the code is good, and the session is there or is not. `_one_by_one` does it within a unit of
work, and decides everything; it is SQLite's only way, and PostgreSQL's where the statement for all
has found something else, and changed nothing: a code that was spent meanwhile, somebody who is
gone, a session that has expired or is begun at this very moment.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import Select, exists, func, insert, select, union_all, update
from sqlmodel import col

from identity.clock import utcnow
from identity.opaque import digest, mint, new_id
from identity.records import audit
from identity.store import (
    Database,
    Statement,
    Work,
    execute,
    insert_for,
    moment,
    select_of,
    value_of,
)
from identity.tokens import codes
from identity.tokens.codes import AuthorizationCode, Code
from identity.tokens.sessions import beginning, joining
from identity.tokens.sessions.beginning import PREFIX, Begun
from identity.tokens.sessions.lifecycle import Lifetimes
from identity.tokens.sessions.table import Family, LoginSession, RefreshToken

_SESSION = (col(LoginSession.id), col(LoginSession.expires_at))


def _given(of: Mapping[Any, str], found: Mapping[Any, Any] = MappingProxyType({})) -> Select[Any]:
    """A row of parameters, but for what has been found."""
    return select_of(*(found.get(each, value_of(each, name)) for each, name in of.items()))


def _at_once() -> Any:
    """One row, the session's id and end, or nothing is written: the code is locked while it is
    good, before a session is touched, and is spent once there is one."""
    held = joining.HOLD.core("postgresql").cte("held")
    good = select_of(AuthorizationCode.digest).where(*codes.GOOD, exists(select(held)))
    code = good.with_for_update().cte("code")
    joined = joining.JOIN.core("postgresql").where(exists(select(code))).cte("joined")
    begin = insert_for("postgresql", LoginSession).from_select(
        [*joining.OF_SESSION],
        _given(joining.OF_SESSION).where(exists(select(code)), ~exists(select(joined))),
    )
    begun = begin.on_conflict_do_nothing().returning(*_SESSION).cte("begun")
    session = union_all(select(joined), select(begun)).cte("its_session")
    (id_, ends) = session.c
    spend = (
        update(AuthorizationCode)
        .where(
            col(AuthorizationCode.digest) == select(code).scalar_subquery(), exists(select(session))
        )
        .values({**codes.USED, AuthorizationCode.session_id: select(id_).scalar_subquery()})
    )  # not asked again whether the code is good: as long as we hold it, it is
    spent = spend.returning(col(AuthorizationCode.digest)).cte("spent")
    of_session = {Family.session_id: id_}
    family = insert(Family).from_select(
        [*joining.OF_FAMILY], _given(joining.OF_FAMILY, of_session).select_from(session)
    )
    token = value_of(RefreshToken.digest, "token")
    unused = value_of(RefreshToken.expires_at, "token_expires_at")
    of_token = {RefreshToken.session_id: id_, RefreshToken.expires_at: func.least(unused, ends)}
    first = insert(RefreshToken).from_select(
        [*beginning.OF_TOKEN],
        _given(beginning.OF_TOKEN, of_token).select_from(session).where(token.is_not(None)),
    )
    return (
        select(id_, ends)
        .select_from(session, spent)
        .add_cte(family.cte("family"), first.cte("token"))
    )


_AT_ONCE = Statement(_at_once, "postgresql")


async def redeem(
    db: Database,
    lifetimes: Lifetimes,
    code: Code,
    *,
    scope: str,
    audience: str,
    offline: bool,
    refreshes: bool,
    status_index: int,
    user_agent: str | None,
    jkt: str | None,
) -> tuple[Begun, str | None] | None:
    """The session, durable, with its refresh token, bound to `jkt`, where the client `refreshes`.
    None where the code is not good any more; `InvalidGrant` where its user, client or browser
    session is not. `offline`: in a session of its own, which hangs on no browser session."""
    token = mint(PREFIX) if refreshes else None
    now = utcnow()
    absolute = now + lifetimes.absolute
    values: dict[str, Any] = {
        "digest": code.digest,
        "id": new_id(),
        "user_id": code.user_id,
        "client_id": code.client_id,
        "browser_session_id": code.browser_session_id,
        "below": None if offline else code.browser_session_id,
        "scope": scope,
        "audience": audience,
        "amr": list(code.amr),
        "now": now,
        "expires_at": absolute if offline else min(absolute, code.browser_expires_at),
        "access_expires_at": now + lifetimes.access,
        "address": audit.origin.get().address,
        "user_agent": user_agent[:200] if user_agent else None,
        "family_id": new_id(),
        "claims": code.claims,
        "authorization_details": list(code.authorization_details) or None,
        "authenticated_at": code.authenticated_at,
        "acr": code.acr,
        "status_index": status_index,
        "jkt": jkt,
        "token": None if token is None else digest(token),
        "token_expires_at": now + lifetimes.unused(online=not offline),
    }
    rows = await db.write_at_once(_AT_ONCE, values)
    if rows:
        session_id, expires_at = rows[0][0], moment(rows[0][1])
    else:
        session = await db.write_plain(lambda work: _one_by_one(work, values))
        if session is None:
            return None
        session_id, expires_at = session
    amr, family_id = list(code.amr), values["family_id"]
    begun = Begun(session_id, code.authenticated_at, expires_at, amr, code.acr, family_id)
    return begun, token


def _one_by_one(work: Work, values: Mapping[str, Any]) -> tuple[str, datetime] | None:
    """The session's id and end; None where the code is not good any more."""
    if execute(work, codes.SPEND, values).rowcount != 1:
        return None
    session_id, expires_at = joining.join(work, values)
    ends = min(values["token_expires_at"], expires_at)
    below = {**values, "session_id": session_id, "token_expires_at": ends}
    execute(work, joining.FAMILY, below)
    execute(work, codes.NOTE, below)
    if values["token"] is not None:
        execute(work, beginning.FIRST, below)
    return session_id, expires_at
