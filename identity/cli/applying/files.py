"""Several files as one: what they want, and where each of them says so."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import SecretStr, ValidationError

from identity.api.clients.settings import chosen
from identity.cli.applying import reading
from identity.cli.applying.entries import (
    DEFAULT_SET,
    ClientEntry,
    Document,
    IssuerEntry,
    PolicyEntry,
    RoleEntry,
    ScopeEntry,
    SecretEntry,
)
from identity.cli.applying.kinds import clients, issuers, roles, scopes
from identity.cli.applying.kinds.kind import Wanted, without
from identity.cli.applying.kinds.registry import KINDS
from identity.cli.applying.mistakes import Mistake, Mistaken
from identity.dataclass import dataclass
from identity.directory.clients import accounts
from identity.errors import ValidationFailed, pointer

Path_ = tuple[str | int, ...]
LARGEST_SECRET = 10_000


class Place(NamedTuple):
    """Where a file has an entry."""

    file: Path
    root: Any
    path: Path_

    def __str__(self) -> str:
        return f"{self.file}:{reading.line_of(self.root, self.path)}"

    def mistakes(self, refusal: ValidationFailed) -> list[Mistake]:
        """What a function of `directory` has against it; its pointers begin at the entry."""
        return [self.below(_steps(where)).mistake(words) for where, words in refusal.errors]

    def mistake(self, words: str) -> Mistake:
        return Mistake(str(self), pointer(*self.path), words)

    def below(self, steps: Path_) -> "Place":
        return Place(self.file, self.root, (*self.path, *steps))


class Entry(NamedTuple):
    wanted: Wanted
    place: Place


@dataclass()
class Files:
    set_name: str = DEFAULT_SET
    entries: dict[str, dict[str, Entry]] = field(
        default_factory=lambda: {kind.noun: {} for kind in KINDS}
    )
    """By the noun of their kind, and their name."""


def read(files: Sequence[Path]) -> Files:
    """Raises `Mistaken` with all that is wrong with them, `OSError`."""
    reader = _Reader()
    for file in files:
        reader.take(file)
    return reader.done()


class _Reader:
    def __init__(self) -> None:
        self._files = Files()
        self._mistakes: list[Mistake] = []
        self._set: tuple[str, Place] | None = None
        self._places: dict[tuple[str, str], Place] = {}
        self._clients: dict[str, tuple[ClientEntry, Place]] = {}
        self._policies: dict[str, tuple[PolicyEntry, Place]] = {}

    def take(self, file: Path) -> None:
        try:
            root = reading.read(file)
            document = Document.model_validate(json.loads(json.dumps(root)))
        except Mistaken as mistaken:
            self._mistakes += mistaken.mistakes
            return
        except ValidationError as error:
            whole = Place(file, root, ())
            for each in error.errors(include_url=False, include_input=False):
                words = "there is no such member" if each["type"] == "extra_forbidden" else None
                path = tuple(step for step in each["loc"] if step != "[key]")
                self._mistakes.append(whole.below(path).mistake(words or each["msg"]))
            return
        self._name(document.set, Place(file, root, ("set",)))
        for noun, name, entry, path in _things(document):
            self._add(noun, name, entry, Place(file, root, path))

    def done(self) -> Files:
        for client_id, (_, place) in self._policies.items():
            if client_id not in self._clients:
                self._mistakes.append(place.mistake("no file describes this client"))
        for client_id, (entry, place) in self._clients.items():
            try:
                wanted = self._client(client_id, entry, place)
            except ValidationFailed as refusal:
                self._mistakes += place.mistakes(refusal)
            else:
                self._files.entries["client"][client_id] = Entry(wanted, place)
        if self._mistakes:
            raise Mistaken(self._mistakes)
        return self._files

    def _name(self, name: str, place: Place) -> None:
        if self._set is not None and self._set[0] != name:
            words = f"is {name}, and {self._set[1]} says {self._set[0]}: one set at a time"
            self._mistakes.append(place.mistake(words))
        self._set = self._set or (name, place)
        self._files.set_name = self._set[0]

    def _add(self, noun: str, name: str, entry: Any, place: Place) -> None:
        first = self._places.setdefault((noun, name), place)
        if first is not place:
            self._mistakes.append(place.mistake(f"stands twice, first in {first}"))
        elif noun == "client":
            self._clients[name] = (entry, place)
        elif noun == "policy":
            self._policies[name] = (entry, place)
        else:
            self._files.entries[noun][name] = Entry(Wanted(entry), place)

    def _client(self, client_id: str, entry: ClientEntry, place: Place) -> Wanted:
        """Raises `ValidationFailed`."""
        members: dict[str, Any] = entry.named()
        if "grants" in members:
            members["grant_types"] = members.pop("grants")
        members |= {name: getattr(entry, name)
                    for name in ("type", "status", "default_scopes", "audiences")}  # fmt: skip
        settings = chosen(entry)
        if client_id in self._policies:
            policy, elsewhere = self._policies[client_id]
            said = policy.model_dump(mode="json", exclude_unset=True)
            if both := sorted(settings.keys() & said.keys()):
                raise ValidationFailed([(f"/{both[0]}", f"stands in {elsewhere} too")])
            settings |= said
        document = clients.document(client_id, members, settings)
        if entry.secrets is None:
            return Wanted(document)
        return Wanted(document, [_secret(n, each, place) for n, each in enumerate(entry.secrets)])


def _things(document: Document) -> Iterator[tuple[str, str, Any, Path_]]:
    """(noun, name, document or entry, where) of all that a file has."""
    for audience, resource in document.resources.items():
        for name, scope in resource.scopes.items():
            path = ("resources", audience, "scopes", name)
            yield "scope", name, _scope(audience, scope), path
    for name, scope in document.scopes.items():
        yield "scope", name, _scope(None, scope), ("scopes", name)
    for name, role in document.roles.items():
        members = (role or RoleEntry()).model_dump(mode="json")
        members["scopes"] = sorted(set(members["scopes"]))
        yield "role", name, without(members, roles.DEFAULTS), ("roles", name)
    for name, issuer in document.trusted_issuers.items():
        members = (issuer or IssuerEntry()).model_dump(mode="json")
        yield "trusted issuer", name, _issuer(members), ("trusted_issuers", name)
    for name, client in document.clients.items():
        yield "client", name, client or ClientEntry(), ("clients", name)
    for name, policy in document.policies.items():
        yield "policy", name, policy, ("policies", name)


def _scope(audience: str | None, entry: ScopeEntry | None) -> dict[str, Any]:
    members = (entry or ScopeEntry()).model_dump(mode="json")
    return without({"audience": audience, **members}, scopes.DEFAULTS)


def _issuer(members: dict[str, Any]) -> dict[str, Any]:
    ordered = {name: members[name] for name in issuers.DEFAULTS}
    return without(ordered, issuers.DEFAULTS)


def _secret(n: int, entry: SecretEntry, place: Place) -> SecretStr:
    """What it refers to. Raises `ValidationFailed`, whose words never repeat it."""
    where = f"/secrets/{n}"
    if entry.env is not None:
        secret = os.environ.get(entry.env)
        if secret is None:
            words = f"there is no environment variable {entry.env}"
            raise ValidationFailed([(f"{where}/env", words)])
    else:
        assert entry.file is not None
        secret = _contents(place.file.parent / entry.file, f"{where}/file")
    try:
        accounts.check_secret(secret)
    except ValidationFailed as refusal:
        raise ValidationFailed([(where, refusal.errors[0][1])]) from None
    return SecretStr(secret)


def _contents(file: Path, where: str) -> str:
    """Without the line break that `echo` adds."""
    try:
        with file.open("rb") as opened:
            text = opened.read(LARGEST_SECRET).decode()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no text"
        raise ValidationFailed([(where, f"{file}: {why}")]) from None
    return text.removesuffix("\n").removesuffix("\r")


def _steps(where: str) -> Path_:
    return tuple(
        step.replace("~1", "/").replace("~0", "~") for step in where.split("/")[1:] if where
    )
