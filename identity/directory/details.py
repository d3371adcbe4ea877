"""Authorization details (RFC 9396): what exactly a client may do, where a scope says too little.

Types are registered in one file, `IDENTITY_AUTHORIZATION_DETAILS`: an object of types, each with a
`description` that people are shown and a JSON Schema of its members beside `type`. A schema has to
say that there are no others: what is not understood is refused (§5).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from identity.directory.clients.registry import ClientSnapshot
from identity.errors import InvalidAuthorizationDetails
from identity.settings import SettingsError
from identity.verifier.gate.encoding import json_object

if TYPE_CHECKING:
    from jsonschema_rs import Validator

Detail = Mapping[str, Any]
Details = tuple[Detail, ...]

MOST = 20
LONGEST = 3 * 1024
"""Characters as compact JSON: they have to fit into a token."""
_TEXTS = ("locations", "actions", "datatypes", "privileges")


class DetailType(NamedTuple):
    description: str
    schema: "Validator"


class DetailTypes:
    def __init__(self, types: Mapping[str, DetailType]) -> None:
        self._types = types

    @classmethod
    def load(cls, path: Path | None) -> "DetailTypes":
        """Raises `SettingsError`. Nothing is imported where there are none."""
        if path is None:
            return cls({})
        try:
            registered = json_object(path.read_bytes())
            return cls({name: _type(name, said) for name, said in registered.items()})
        except (OSError, ValueError) as error:
            words = f"IDENTITY_AUTHORIZATION_DETAILS: {path}: {error}"
            raise SettingsError(words) from None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._types)

    def describe(self, detail: Detail) -> str:
        """What it is, in words for people."""
        return self._types[detail["type"]].description

    def parse(self, text: str | None, client: ClientSnapshot) -> Details:
        """What a client asks for. Raises `InvalidAuthorizationDetails`."""
        if text is None:
            return ()
        details = _read(text)
        for n, detail in enumerate(details):
            if problem := self._problem(detail, client):
                raise InvalidAuthorizationDetails(f"authorization_details {n + 1}: {problem}")
        return details

    def still(self, granted: Sequence[Detail] | None, client: ClientSnapshot) -> Details:
        """Of what was granted once what the client may have now."""
        if not granted:
            return ()
        return tuple(detail for detail in granted if self._may(detail["type"], client))

    def narrowed(self, asked: str | None, granted: Details) -> Details:
        """What a token request asks for, of what was granted: all, where it does not say. Raises
        `InvalidAuthorizationDetails` for what was not."""
        if asked is None:
            return granted
        had = {_canonical(detail) for detail in granted}
        wanted = _read(asked)
        if not all(_canonical(detail) in had for detail in wanted):
            raise InvalidAuthorizationDetails("authorization_details asks for what was not granted")
        return wanted

    def _may(self, name: object, client: ClientSnapshot) -> bool:
        return name in self._types and name in client.settings.authorization_details_types

    def _problem(self, detail: Detail, client: ClientSnapshot) -> str | None:
        name = detail.get("type")
        if not isinstance(name, str) or not self._may(name, client):
            return "a type that the client may not ask for, or nobody knows"
        for member in _TEXTS:
            texts = detail.get(member, [])
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                return f"{member} must be a list of texts"
        if not isinstance(detail.get("identifier", ""), str):
            return "identifier must be a text"
        rest = {member: value for member, value in detail.items() if member != "type"}
        wrong = next(self._types[name].schema.iter_errors(rest), None)
        if wrong is None:
            return None
        where = "/".join(map(str, wrong.instance_path))
        return f"not as its type demands{f', at {where}' if where else ''}"[:200]


def _type(name: str, said: Any) -> DetailType:
    """Raises `ValueError`."""
    from jsonschema_rs import Draft202012Validator

    if not isinstance(said, dict) or said.keys() != {"description", "schema"}:
        raise ValueError(f"{name} must have description and schema, and nothing else")
    description, schema = said["description"], said["schema"]
    if not isinstance(description, str) or not description.isprintable() or not description:
        raise ValueError(f"{name}: description must be one line of text")
    closed = ("additionalProperties", "unevaluatedProperties")
    if not isinstance(schema, dict) or all(schema.get(each) is not False for each in closed):
        raise ValueError(f"{name}: schema must say additionalProperties: false")
    return DetailType(description, Draft202012Validator(schema, offline=True))


def _read(text: str) -> Details:
    """A list of objects, in JSON that has one reading (`gate.encoding`)."""
    try:
        inside = json_object(b'{"details":' + text.encode() + b"}")
    except ValueError:
        inside = {}
    details = inside.get("details")
    if inside.keys() != {"details"} or not isinstance(details, list):
        raise InvalidAuthorizationDetails("authorization_details must be a JSON list")
    if not 1 <= len(details) <= MOST or not all(isinstance(each, dict) for each in details):
        raise InvalidAuthorizationDetails(f"authorization_details must be 1 to {MOST} objects")
    if len(_canonical(details)) > LONGEST:
        raise InvalidAuthorizationDetails(f"authorization_details is longer than {LONGEST}")
    return tuple(details)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
