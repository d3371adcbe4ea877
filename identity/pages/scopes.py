"""What scopes let an application do, in people's words."""

from collections.abc import Sequence

from sqlmodel import Session, col, select

from identity.directory.access.granting import OPENID
from identity.directory.access.table import Scope
from identity.pages.words import _


def described(session: Session, names: Sequence[str]) -> dict[str, str]:
    """Of each scope, or its name."""
    query = select(Scope.name, Scope.description).where(col(Scope.name).in_(names))
    words = dict(session.exec(query).all())
    return {name: _(OPENID.get(name) or words.get(name) or name) for name in names}
