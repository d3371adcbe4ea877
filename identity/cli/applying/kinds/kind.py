"""What a kind of things has to say. One is a file here and a line in `registry`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Protocol

from pydantic import SecretStr
from sqlmodel import Session

from identity.directory.clients.grant_kinds import GrantKind
from identity.directory.clients.surroundings import UNSEEN, Surroundings

Document = dict[str, Any]
"""A thing as files have it, in the order of its members, without those that are the default."""


class House(NamedTuple):
    """What the functions of `directory` want to know of the service."""

    issuer: str
    own_audiences: Sequence[str]
    known_grants: Sequence[GrantKind]
    around: Surroundings = UNSEEN


class KnownSecret(NamedTuple):
    id: str
    digest: str
    hint: str


class Present(NamedTuple):
    document: Document
    made_at: datetime
    builtin: bool = False
    untouched: bool = False
    """Built in, and as the first start made it."""
    self_registered: bool = False
    secrets: Sequence[KnownSecret] = ()


class Wanted(NamedTuple):
    document: Document
    secrets: Sequence[SecretStr] | None = None
    """None: they are not looked at."""


class Kind(Protocol):
    noun: ClassVar[str]

    def present(self, session: Session) -> dict[str, Present]:
        """All there are, by name. In columns and not as objects: what is asked again after a lock
        was waited for is what is there now."""

    def create(self, session: Session, name: str, wanted: Wanted, house: House) -> datetime:
        """Its `created_at`."""

    def update(self, session: Session, name: str, wanted: Wanted, house: House) -> None: ...

    def remove(self, session: Session, name: str) -> None: ...

    def losers(self, session: Session, name: str) -> dict[str, int]:
        """How many of what would lose something by that."""


def without(document: Mapping[str, Any], defaults: Mapping[str, Any]) -> Document:
    """The members that are not the default; all, of those that have none."""
    missing = object()
    return {n: value for n, value in document.items() if value != defaults.get(n, missing)}
