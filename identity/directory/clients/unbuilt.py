"""Settings, and values of settings, that nothing obeys yet. Whoever sets one would rely on it, so
it is refused in plain words until what it is about is there."""

from collections.abc import Collection, Iterator
from typing import Any, Literal

from identity.directory.clients.settings import DEFAULTS, NOT_YET, ClientSettings

WORDS = "cannot be set yet: this version does not act on it"


def problems(settings: ClientSettings) -> Iterator[tuple[str, str]]:
    """(JSON pointer, what is wrong there)."""
    for name in ClientSettings.model_fields:
        value, later = getattr(settings, name), not_yet(name)
        if value == getattr(DEFAULTS, name) or later is None:
            continue
        if later is True:
            yield f"/{name}", WORDS
        elif isinstance(value, dict):
            yield from ((f"/{name}/{each}", WORDS) for each in value if each in later)
        elif value in later:
            yield f"/{name}", f"cannot be {value} yet: this version does not act on it"


def not_yet(name: str) -> Literal[True] | Collection[str] | None:
    """What of a setting is refused: True for all but its default, None for nothing."""
    extra: Any = ClientSettings.model_fields[name].json_schema_extra or {}
    found: Literal[True] | Collection[str] | None = extra.get(NOT_YET)
    return found
