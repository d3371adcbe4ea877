"""`identity tokens …`"""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from identity.cli.frame import Operation, operating
from identity.cli.printing import AsJson, as_json, cell, coloured, remark

if TYPE_CHECKING:
    from sqlmodel import Session

    from identity.verifier.gate.gate import Check, Gate

commands = typer.Typer(name="tokens", help="Look into tokens.", rich_markup_mode=None)

MARKS = {True: "passed", False: "FAILED", None: "-"}


class Finding(NamedTuple):
    """`passed` None: could not be asked."""

    name: str
    passed: bool | None
    words: str


@commands.callback()
def _group() -> None:
    """One command so far; it is still named."""


@commands.command()
def explain(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="`-` reads it from stdin.")],
    json: AsJson = False,
) -> None:
    """Say what is right and wrong with an access or refresh token, check by check.

    First every check that any service makes offline, then what only this one knows: whether the
    token was revoked, its session ended, its user or client disabled. Exit code 1: not good.
    """
    if token == "-":  # noqa: S105
        token = sys.stdin.buffer.read(65536).decode("utf-8", "surrogateescape")
    token = token.strip().removeprefix("Bearer ")
    with operating() as operation, operation.look() as session:
        refresh = token.startswith("rt_")
        found = _of_refresh_token if refresh else _of_access_token
        findings = list(found(operation, session, token))
    good = all(finding.passed is not False for finding in findings)
    good = good and any(finding.passed for finding in findings)
    if json:
        as_json({"active": good, "checks": [finding._asdict() for finding in findings]})
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            words = cell(finding.words)
            mark = coloured(f"{MARKS[finding.passed]:6}")
            print(f"{mark}  {finding.name.ljust(width)}  {words}")
        remark("The token is good." if good else "The token is not good.")
    raise typer.Exit(0 if good else 1)


def _of_access_token(operation: Operation, session: "Session", token: str) -> Iterator[Finding]:
    from identity.verifier.gate.gate import Refused

    gate = _gate(_issuer(operation, token), session)
    checks = gate.explain(token)
    for check in checks:
        yield Finding(check.name, check.passed, _clearer(session, check))
    try:
        claims = gate.check(token)
    except Refused:
        # What it says of itself is not proven; still it tells where to look.
        stated = _stated(token)
        if stated is None:
            return
        yield from _liveness(session, stated)
    else:
        yield from _liveness(session, dict(claims.claims))


def _issuer(operation: Operation, token: str) -> str:
    """The one that the token names, if it is one of ours."""
    named = (_stated(token) or {}).get("iss")
    ours = [settings.issuer for settings in operation.served]
    return named if named in ours else ours[0]


def _gate(issuer: str, session: "Session") -> "Gate":
    from sqlmodel import col, select

    from identity.keys.table import PUBLISHED, SigningKey
    from identity.tokens.live import own_gate
    from identity.verifier.gate.algorithms import ALGORITHMS
    from identity.verifier.gate.gate import VerificationKey

    query = select(SigningKey).where(
        col(SigningKey.state).in_(PUBLISHED), col(SigningKey.withdrawn_at).is_(None)
    )
    keys = {
        row.kid: VerificationKey(
            row.kid, row.algorithm, ALGORITHMS[row.algorithm].verifier(row.public)
        )
        for row in session.exec(query)
    }
    return own_gate(issuer, keys.get)


def _clearer(session: "Session", check: "Check") -> str:
    """The gate knows good keys only, and the issuer of these settings; we know more."""
    from sqlmodel import select

    from identity.keys.table import SigningKey

    if check.passed is False and check.name == "header.kid":
        revoked = session.exec(select(SigningKey.kid).where(SigningKey.state == "revoked")).all()
        if any(kid in check.words for kid in revoked):
            return f"{check.words}: it was revoked"
    if check.passed is False and check.name == "iss":
        return f"{check.words} (the second is IDENTITY_ISSUER here, or follows --host and --port)"
    return check.words


def _stated(token: str) -> dict[str, Any] | None:
    from identity.verifier.gate.encoding import b64url_decode, json_object

    try:
        return json_object(b64url_decode(token.split(".")[1].encode()))
    except (ValueError, IndexError):
        return None


def _liveness(session: "Session", claims: dict[str, Any]) -> Iterator[Finding]:
    from identity.directory.clients.table import Client
    from identity.tokens.table import RevokedToken

    jti, sid, client_id = claims.get("jti"), claims.get("sid"), claims.get("client_id")
    if isinstance(jti, str) and "\0" not in jti:
        revoked = session.get(RevokedToken, jti)
        words = f"revoked at {cell(revoked.revoked_at)}" if revoked else "was not revoked"
        yield Finding("revoked", revoked is None, words)
    if isinstance(sid, str) and "\0" not in sid:
        yield from _session(session, sid)
    if isinstance(client_id, str) and "\0" not in client_id:
        yield _client(session, client_id)
        client = session.get(Client, client_id)
        issued_at = claims.get("iat")
        if client and type(issued_at) is int and issued_at < int(client.good_from.timestamp()):
            another = issued_at < int(client.created_at.timestamp())
            words = "another client had this id" if another else "it has been disabled since"
            yield Finding(
                "client", False, f"{words}: the token is of before {cell(client.good_from)}"
            )
        elif client and sid is None and _reserved_before(session, claims):
            words = "it has been disabled since: the token's place is of before"
            yield Finding("client", False, words)


def _reserved_before(session: "Session", claims: dict[str, Any]) -> bool:
    from identity.store import execute
    from identity.tokens.status.questions import ENDED
    from identity.tokens.status.table import block_of, place_in

    place = place_in(claims)
    if place is None:
        return False
    ((ended,),) = execute(session, ENDED, block_of(place)).fetchall()
    return bool(ended)


def _session(session: "Session", sid: str) -> Iterator[Finding]:
    from identity.clock import utcnow
    from identity.directory.users.table import User
    from identity.tokens.sessions.table import LoginSession

    login = session.get(LoginSession, sid)
    if login is None:
        yield Finding("session", False, f"there is no session {sid}")
        return
    if login.ended_at is not None:
        words = f"ended at {cell(login.ended_at)}: {login.end_reason}"
    elif login.expires_at <= utcnow():
        words = f"expired at {cell(login.expires_at)}"
    else:
        words = f"lives until {cell(login.expires_at)} at the longest"
    alive = login.ended_at is None and login.expires_at > utcnow()
    yield Finding("session", alive, words)
    user = session.get(User, login.user_id)
    if user is None:
        yield Finding("user", False, f"there is no user {login.user_id}")
    else:
        yield Finding("user", user.status == "active", f"{user.username} is {user.status}")


def _client(session: "Session", client_id: str) -> Finding:
    from identity.directory.clients.table import Client

    client = session.get(Client, client_id)
    if client is None:
        return Finding("client", False, f"there is no client {client_id}")
    return Finding("client", client.status == "active", f"{client.id} is {client.status}")


def _of_refresh_token(operation: Operation, session: "Session", token: str) -> Iterator[Finding]:
    from identity.clock import utcnow
    from identity.tokens.sessions.rotation import find

    found = find(session, token)
    if found is None:
        yield Finding("known", False, "was never issued here, or long ago")
        return
    refresh, login = found
    yield Finding("known", True, f"issued at {cell(refresh.issued_at)}")
    if refresh.spent_at is None:
        yield Finding("unused", True, "was not used yet")
    else:
        what = "its predecessor was retried" if refresh.spent == "superseded" else "it was rotated"
        yield Finding("unused", False, f"{what} at {cell(refresh.spent_at)}")
    in_time = refresh.expires_at > utcnow()
    words = f"{'expires' if in_time else 'expired'} at {cell(refresh.expires_at)}"
    yield Finding("expiry", in_time, words)
    yield from _session(session, login.id)
    yield _client(session, login.client_id)
