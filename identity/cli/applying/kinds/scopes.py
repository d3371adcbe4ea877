"""Scopes. `audience`: the resource below which a file has them."""

from datetime import datetime
from typing import Any, ClassVar, Final

from sqlmodel import Session, col, func, select

from identity.cli.applying.kinds.kind import House, Present, Wanted, without
from identity.directory.access import editing
from identity.directory.access.granting import BUILT_IN
from identity.directory.access.table import RoleScope, Scope
from identity.directory.clients import accounts as clients
from identity.directory.clients.table import Client
from identity.directory.users.table import UserRole

DEFAULTS: Final[dict[str, Any]] = {
    "audience": None,
    "description": "",
    "open_to_registered": False,
}


class Scopes:
    noun: ClassVar[str] = "scope"

    def present(self, session: Session) -> dict[str, Present]:
        query = select(
            Scope.name, Scope.audience, Scope.description, Scope.open_to_registered,  # type: ignore[call-overload]
            Scope.builtin, Scope.created_at,
        ).order_by(col(Scope.name))  # fmt: skip
        found = {}
        for name, *values, builtin, made_at in session.exec(query):
            document = without(dict(zip(DEFAULTS, values, strict=True)), DEFAULTS)
            untouched = builtin and document == {"description": BUILT_IN.get(name)}
            found[name] = Present(document, made_at, builtin, untouched)
        return found

    def create(self, session: Session, name: str, wanted: Wanted, house: House) -> datetime:
        made = editing.create_scope(session, name=name, **{**DEFAULTS, **wanted.document})
        return made.created_at

    def update(self, session: Session, name: str, wanted: Wanted, house: House) -> None:
        scope = editing.get_scope(session, name, lock=True)
        was_open = scope.open_to_registered
        editing.update_scope(session, scope, {**DEFAULTS, **wanted.document}, None)
        if was_open and not scope.open_to_registered:
            clients.lose_scope(session, name, self_registered=True)

    def remove(self, session: Session, name: str) -> None:
        scope = editing.get_scope(session, name, lock=True)
        clients.lose_scope(session, name)
        editing.remove_scope(session, scope, None)

    def losers(self, session: Session, name: str) -> dict[str, int]:
        holding = col(RoleScope.scope) == name
        roles = select(func.count()).select_from(RoleScope).where(holding)
        users = select(func.count(col(UserRole.user_id).distinct())).join(
            RoleScope, col(RoleScope.role) == col(UserRole.role)
        )
        lists = session.exec(select(Client.scopes))
        return {
            "roles": session.exec(roles).one(),
            "users": session.exec(users.where(holding)).one(),
            "clients": sum(name in scopes for scopes in lists),
        }
