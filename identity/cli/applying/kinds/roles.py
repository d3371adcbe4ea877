"""Roles. What a built-in one holds is not to be chosen, and stands in no file."""

from collections import defaultdict
from datetime import datetime
from typing import Any, ClassVar, Final

from sqlmodel import Session, col, func, select

from identity.cli.applying.kinds.kind import House, Present, Wanted, without
from identity.directory.access import editing
from identity.directory.access.granting import ADMIN_IS
from identity.directory.access.table import Role, RoleScope
from identity.directory.users import accounts as users
from identity.directory.users.table import UserRole
from identity.errors import Conflict

DEFAULTS: Final[dict[str, Any]] = {"description": "", "scopes": [], "acr": None}


class Roles:
    noun: ClassVar[str] = "role"

    def present(self, session: Session) -> dict[str, Present]:
        holds: dict[str, list[str]] = defaultdict(list)
        for role, scope in session.exec(
            select(RoleScope.role, RoleScope.scope).order_by(RoleScope.scope)
        ):
            holds[role].append(scope)
        query = select(
            Role.name, Role.description, Role.acr, Role.builtin, Role.created_at  # type: ignore[call-overload]
        ).order_by(col(Role.name))  # fmt: skip
        found = {}
        for name, description, acr, builtin, made_at in session.exec(query):
            scopes = [] if builtin else sorted(holds[name])
            members = {"description": description, "scopes": scopes, "acr": acr}
            document = without(members, DEFAULTS)
            untouched = builtin and document == {"description": ADMIN_IS}
            found[name] = Present(document, made_at, builtin, untouched)
        return found

    def create(self, session: Session, name: str, wanted: Wanted, house: House) -> datetime:
        members = {**DEFAULTS, **wanted.document}
        return editing.create_role(session, name=name, **members, held=None).created_at

    def update(self, session: Session, name: str, wanted: Wanted, house: House) -> None:
        role = editing.get_role(session, name, lock=True)
        members = {**DEFAULTS, **wanted.document}
        if role.builtin and members.pop("scopes"):
            raise Conflict("the scopes of a built-in role cannot be chosen: leave them out")
        editing.update_role(session, role, members, None)

    def remove(self, session: Session, name: str) -> None:
        role = editing.get_role(session, name, lock=True)
        users.lose_role(session, name)
        editing.remove_role(session, role, None)

    def losers(self, session: Session, name: str) -> dict[str, int]:
        held = select(func.count()).select_from(UserRole).where(UserRole.role == name)
        return {"users": session.exec(held).one()}
