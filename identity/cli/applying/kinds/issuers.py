"""Trusted issuers, by what their tokens have in `iss`."""

from datetime import datetime
from typing import Any, ClassVar, Final

from sqlmodel import Session, col, select

from identity.cli.applying.kinds.kind import House, Present, Wanted, without
from identity.directory.issuers import editing
from identity.directory.issuers.table import TrustedIssuer

DEFAULTS: Final[dict[str, Any]] = {
    name: TrustedIssuer.model_fields[name].default for name in editing.FIELDS
}


class Issuers:
    noun: ClassVar[str] = "trusted issuer"

    def present(self, session: Session) -> dict[str, Present]:
        columns = [getattr(TrustedIssuer, name) for name in DEFAULTS]
        query: Any = select(TrustedIssuer.issuer, TrustedIssuer.created_at, *columns)
        return {
            issuer: Present(without(dict(zip(DEFAULTS, values, strict=True)), DEFAULTS), made_at)
            for issuer, made_at, *values in session.exec(query.order_by(col(TrustedIssuer.issuer)))
        }

    def create(self, session: Session, name: str, wanted: Wanted, house: House) -> datetime:
        made = editing.create(
            session, issuer=name, chosen=wanted.document, own_issuer=house.issuer, held=None
        )
        return made.created_at

    def update(self, session: Session, name: str, wanted: Wanted, house: House) -> None:
        found = editing.get(session, name, lock=True)
        members = {**DEFAULTS, **wanted.document}
        editing.update(session, found, members, own_issuer=house.issuer, held=None)

    def remove(self, session: Session, name: str) -> None:
        editing.remove(session, editing.get(session, name, lock=True), None)

    def losers(self, session: Session, name: str) -> dict[str, int]:
        return {}
