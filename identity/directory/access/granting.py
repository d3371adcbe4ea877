"""Which scopes a request ends up with, and who may hand out which."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

from sqlmodel import Session, col, select

from identity.directory.access.table import Role, RoleScope, Scope
from identity.errors import Forbidden, InvalidScope, ValidationFailed
from identity.settings import SettingsError

ADMIN = "admin"
ADMIN_IS = "Holds every built-in scope"
"""Its description."""
ACCOUNT = "account"
"""Every user holds it, whatever their roles: it reaches nothing but their own affairs."""
LOCKDOWN = "lockdown:write"
"""Whoever holds it is let in during a lockdown: somebody has to lift it."""
ALL = "*"
"""In a client's list of scopes: whatever the user behind the request holds. In a request: all
that both hold."""

OPENID = {
    "openid": "Know who you are",
    "profile": "See your name and other details of your profile",
    "email": "See your e-mail address",
    "phone": "See your telephone number",
    "address": "See your postal address",
    "offline_access": "Keep access while you are away",
    "groups": "See which roles you have",
}
"""Scopes of OpenID Connect, and `groups`. They reach nothing but what is told of their user, so
every user holds them; they belong to no resource, and go along with any."""

BUILT_IN = {
    "users:read": "See users and their sessions",
    "users:write": "Create, change, disable and delete users",
    "clients:read": "See clients",
    "clients:write": "Register, change and delete clients",
    "roles:read": "See roles and scopes",
    "roles:write": "Create, change and delete roles and scopes",
    "keys:read": "See signing keys",
    "keys:write": "Rotate and revoke signing keys",
    "audit:read": "Read the audit trail and the statistics",
    "mail:read": "See which mails wait to be sent",
    "mail:write": "Send mails again, and test ones",
    "branding:read": "See what the pages look like",
    "branding:write": "Change the name, the logo and the colours of the pages",
    "introspect": "Introspect every token, and follow revocations",
    LOCKDOWN: "Stop every sign-in and whatever is issued, and lift that; sign in meanwhile",
    ACCOUNT: "Change one's own account: name, e-mail address, password, sessions",
    **OPENID,
}

EVERYBODYS = frozenset({ACCOUNT, *OPENID})
"""What every user holds."""
OURS = frozenset(BUILT_IN) - OPENID.keys()
"""What opens something at this service's own addresses and nowhere else."""
ADMINISTRATIVE = frozenset(BUILT_IN) - EVERYBODYS
"""What reaches beyond its bearer's own affairs; granted only when asked for by name or by `*`."""

Withheld = Literal["client", "user", "resource"]
"""Who has not got a scope: the client, the user, or the resource that the token is for."""
USUAL = 300
"""Characters of a scope that is remembered once parsed: clients ask for the same all day."""

ECHOED = 5
"""Scopes that a refusal names."""

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}")


def valid_name(name: str) -> bool:
    """Whether `name` is a scope-token (RFC 6749 §3.3), 100 characters at the most."""
    return _SCOPE.fullmatch(name) is not None


def parse(scope: str) -> tuple[str, ...]:
    """The scopes of a request parameter in order, each once (RFC 6749 §3.3)."""
    return _remembered(scope) if len(scope) <= USUAL else _parsed(scope)


def _parsed(scope: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(scope.split(" "))) if scope else ()
    if not all(valid_name(name) for name in names):
        raise InvalidScope("scope must be scope names separated by single spaces")
    return names


_remembered = lru_cache(maxsize=500)(_parsed)


def shown(names: Sequence[str]) -> str:
    """`names` for an error's words: the first few where they are many, for who is refused decides
    how many they are."""
    if len(names) <= ECHOED:
        return " ".join(names)
    return f"{' '.join(names[:ECHOED])} and {len(names) - ECHOED} more"


def ensure_built_in(session: Session) -> None:
    """Make the built-in scopes and the role `admin`, which holds all of them; safe to repeat.

    Raises `SettingsError` where a scope of an older version's has the name of one that is built
    in by now: whoever trusts it does not mean what we mean.
    """
    have = dict(session.exec(select(Scope.name, Scope.builtin)).all())
    taken = [name for name in BUILT_IN if not have.get(name, True)]
    if taken:
        raise SettingsError(
            f"the scope {taken[0]} is built in by now, and one of that name was made before: put "
            f"another in its place, then `identity scopes delete {taken[0]}`"
        )
    missing = [name for name in BUILT_IN if name not in have]
    session.add_all(Scope(name=n, description=BUILT_IN[n], builtin=True) for n in missing)
    if session.get(Role, ADMIN) is None:
        session.add(Role(name=ADMIN, description=ADMIN_IS, builtin=True))
    held = scopes_of_roles(session, [ADMIN])
    session.add_all(RoleScope(role=ADMIN, scope=n) for n in BUILT_IN if n not in held)


def scopes_of_roles(session: Session, roles: Collection[str]) -> frozenset[str]:
    if not roles:
        return frozenset()
    query = select(RoleScope.scope).where(col(RoleScope.role).in_(roles))
    return frozenset(session.exec(query).all())


def home_of_scopes(session: Session) -> dict[str, str | None]:
    """Every scope and the resource it belongs to, by name."""
    return dict(sorted(session.exec(select(Scope.name, Scope.audience)).all()))


def resource_of(asked: str | None, home: Mapping[str, str | None]) -> str | None:
    """The one resource to which the scopes asked for belong, beside those that belong to none;
    None where there are several. Built-in scopes are this service's own."""
    if not asked:
        return None
    names = parse(asked)
    homes = {home.get(name) for name in names} - {None}
    if len(homes) != 1 or ALL in names or not OURS.isdisjoint(names):
        return None
    return homes.pop()


def opens(
    client: Collection[str], asked: str | None, resource: str, home: Mapping[str, str | None]
) -> bool:
    """Whether the client was given by name, not by `*`, every scope of the resource that it asks
    for: whoever gave it these gave it the resource."""
    theirs = [name for name in parse(asked or "") if home.get(name) == resource]
    return bool(theirs) and all(name in client for name in theirs)


def granted(
    asked: str | None,
    *,
    home: Mapping[str, str | None],
    client: Collection[str],
    holder: Collection[str] | None,
    audience: str | None,
    default: Iterable[str] | None = None,
) -> tuple[str, ...]:
    """Scope asked ∩ client's ∩ holder's, in the order asked (`home`'s for `*`).

    `home`: as `home_of_scopes` gives it. `holder`: the user's scopes, None where no user is
    behind the request. `audience`: the resource named by the request; only its scopes and those
    of no resource remain (RFC 8707 §2.2). `default`: what a request without `scope` asks for;
    None: all that is not administrative. Those of OpenID Connect are asked for by name; beside
    `openid` what does not exist is passed over, elsewhere `InvalidScope`.
    """
    names: Iterable[str]
    if asked:
        names = parse(asked)
        unknown = [name for name in names if name not in home and name != ALL]
        if unknown and "openid" not in names:  # OpenID Connect Core §3.1.2.1
            raise InvalidScope(f"unknown scope: {shown(unknown)}")
        named = [name for name in names if name in home]
        if ALL in names:
            named += [name for name in home if name not in OPENID and name not in named]
        names = named
    elif default is not None:
        names = [name for name in default if name in home]
    else:
        names = [name for name in home if name not in ADMINISTRATIVE and name not in OPENID]
    return tuple(
        name for name in names if withheld(name, home[name], client, holder, audience) is None
    )


def withheld(
    name: str,
    home: str | None,
    client: Collection[str],
    holder: Collection[str] | None,
    audience: str | None,
) -> Withheld | None:
    """Why a scope that exists, of the resource `home`, is not granted; None: it is."""
    if name not in client and (holder is None or ALL not in client):
        return "client"
    if name in OPENID if holder is None else name not in holder:
        return "user"
    if audience is None:
        return None
    return "resource" if name in OURS or home not in (None, audience) else None


def held_for_granting(scopes: Iterable[str], roles_hold: Iterable[str]) -> frozenset[str]:
    """What a bearer may hand out: the token's own scopes, and of those that administrators made
    (a token minted earlier cannot name them) what its user's roles hold now."""
    return frozenset(scopes) | (frozenset(roles_hold) - BUILT_IN.keys())


def check_exist(session: Session, scopes: Iterable[str], pointer: str = "/scopes") -> None:
    """Raise `ValidationFailed` unless every scope exists."""
    wanted = list(scopes)
    have = set(session.exec(select(Scope.name).where(col(Scope.name).in_(wanted))).all())
    missing = sorted(set(wanted) - have)
    if missing:
        raise ValidationFailed([(pointer, f"no such scope: {shown(missing)}")])


def check_may_grant(held: Collection[str] | None, scopes: Iterable[str]) -> None:
    """Nobody grants what they do not hold. `held` None: the operator at the command line.

    `*` is always allowed: it stands for what the user behind a request holds anyway; so is what
    every user holds.
    """
    if held is None:
        return
    beyond = sorted(set(scopes) - set(held) - {ALL} - EVERYBODYS)
    if beyond:
        raise Forbidden(f"you cannot grant what you do not hold: {shown(beyond)}")
