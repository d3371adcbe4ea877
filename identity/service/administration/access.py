"""Acts on roles, scopes and trusted issuers."""

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session

from identity.directory.access import editing
from identity.directory.access.authority import Held
from identity.directory.access.table import Role, Scope
from identity.directory.clients import accounts as clients
from identity.directory.issuers import editing as issuers
from identity.directory.issuers.table import TrustedIssuer
from identity.directory.users import accounts as users
from identity.http.preconditions import check_unchanged


def change_role(
    session: Session, name: str, patch: Mapping[str, Any], held: Held, if_match: str | None
) -> Role:
    role = editing.get_role(session, name, lock=True)
    check_unchanged(if_match, role.version)
    editing.update_role(session, role, dict(patch), held)
    return role


def delete_role(session: Session, name: str, held: Held, if_match: str | None) -> None:
    """Its users lose it at once."""
    role = editing.get_role(session, name, lock=True)
    check_unchanged(if_match, role.version)
    users.lose_role(session, name)
    editing.remove_role(session, role, held)


def change_scope(
    session: Session, name: str, patch: Mapping[str, Any], held: Held, if_match: str | None
) -> Scope:
    """Clients that registered themselves lose a scope that is not open to them any more."""
    scope = editing.get_scope(session, name, lock=True)
    check_unchanged(if_match, scope.version)
    was_open = scope.open_to_registered
    editing.update_scope(session, scope, dict(patch), held)
    if was_open and not scope.open_to_registered:
        clients.lose_scope(session, name, self_registered=True)
    return scope


def delete_scope(session: Session, name: str, held: Held, if_match: str | None) -> None:
    """Roles, clients and tokens already issued lose it at once."""
    scope = editing.get_scope(session, name, lock=True)
    check_unchanged(if_match, scope.version)
    clients.lose_scope(session, name)
    editing.remove_scope(session, scope, held)


def change_issuer(
    session: Session,
    issuer_id: str,
    patch: Mapping[str, Any],
    *,
    own_issuer: str,
    held: Held,
    if_match: str | None,
) -> TrustedIssuer:
    found = issuers.get(session, issuer_id, lock=True)
    check_unchanged(if_match, found.version)
    issuers.update(session, found, patch, own_issuer=own_issuer, held=held)
    return found


def delete_issuer(session: Session, issuer_id: str, held: Held, if_match: str | None) -> None:
    found = issuers.get(session, issuer_id, lock=True)
    check_unchanged(if_match, found.version)
    issuers.remove(session, found, held)
