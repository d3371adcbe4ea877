"""What whoever acts may hand out, and whom they may take over: scopes, roles and audiences.

Every change to a user, role, scope or client takes a `Held` and asks here. Scopes are what this
service goes by; roles are what its siblings go by as well, under their names, whatever scopes are
in them; an audience opens a resource's tokens to a client.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable

from sqlmodel import Session, col, select

from identity.dataclass import dataclass
from identity.directory.access.granting import ADMINISTRATIVE, ALL, check_may_grant
from identity.directory.access.table import Role, RoleScope, Scope
from identity.errors import Forbidden

ANY_ROLE = "roles:write"
"""Who holds it decides what roles and resources there are, and may hand out each of them. The
scopes in a role are handed out by their holders alone, even so."""
SEES_ALL = "introspect"
"""Lets a client see tokens of others; this service's own audiences do much the same."""


@dataclass(frozen=True, slots=True)
class Authority:
    """What the bearer of a token holds for granting."""

    scopes: frozenset[str]
    """As `granting.held_for_granting` gives them."""
    roles: frozenset[str]
    """Those that its user has now; a client has none."""
    own_audiences: frozenset[str] = frozenset()
    """This service's: the issuer and the default audience."""

    @property
    def holds_everything(self) -> bool:
        return self.scopes >= ADMINISTRATIVE


Held = Authority | None
"""None: the operator at the command line, who is not limited but on record."""
Standing = Callable[[], Awaitable[Held]]
"""The same by now, asked in the middle of what takes its time. Raises `Forbidden` once whoever acts
may not go on: an administrator may cease to be one meanwhile."""


def check_scopes(held: Held, scopes: Iterable[str]) -> None:
    """Raise `Forbidden` for scopes that `held` may not give, or take their holders over.

    `*` of a client stands for all that its users hold, so it takes as much.
    """
    if held is None:
        return
    named = set(scopes)
    if ALL in named and not held.holds_everything:
        raise Forbidden(f"{ALL} takes every built-in scope, and you do not hold them all")
    check_may_grant(held.scopes, named)


def check_roles(held: Held, roles: Iterable[str]) -> None:
    """The same of roles by name; what is in them is for `check_scopes`."""
    if held is None or ANY_ROLE in held.scopes:
        return
    beyond = sorted(set(roles) - held.roles)
    if beyond:
        raise Forbidden(
            f"you neither have the role {' '.join(beyond)} nor hold the scope {ANY_ROLE}"
        )


def check_audiences(session: Session, held: Held, audiences: Collection[str]) -> None:
    """The same of the audiences of a client: each takes a scope of its resource."""
    if held is None or ANY_ROLE in held.scopes:
        return
    theirs = select(Scope.audience).where(
        col(Scope.name).in_(held.scopes), col(Scope.audience).in_(audiences)
    )
    may = {*session.exec(theirs), *(held.own_audiences if SEES_ALL in held.scopes else ())}
    beyond = [audience for audience in audiences if audience not in may]
    if beyond:
        raise Forbidden(
            f"you hold no scope of {' '.join(beyond)}, and the scope {ANY_ROLE} neither"
        )


def unregistered(session: Session, audiences: Collection[str], own: Collection[str]) -> list[str]:
    """Those that no scope belongs to, and that are not this service's own either."""
    homes = select(Scope.audience).where(col(Scope.audience).in_(audiences)).distinct()
    known = {*session.exec(homes), *own}
    return [audience for audience in audiences if audience not in known]


def beyond_roles(session: Session, held: Held) -> list[str]:
    """The roles whose holders are beyond whoever acts: those are not to be touched."""
    scopes: dict[str, set[str]] = {}
    found = select(Role.name, RoleScope.scope).join(
        RoleScope, col(RoleScope.role) == col(Role.name), isouter=True
    )
    for role, scope in session.exec(found):
        scopes.setdefault(role, set()).update({scope} - {None})
    return sorted(role for role, names in scopes.items() if not _may_give(held, role, names))


def _may_give(held: Held, role: str, scopes: Iterable[str]) -> bool:
    try:
        check_scopes(held, scopes)
        check_roles(held, [role])
    except Forbidden:
        return False
    return True
