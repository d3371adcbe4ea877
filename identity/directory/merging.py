"""Merge patches (RFC 7396), for whoever takes them."""

from collections.abc import Collection, Mapping
from typing import Any


def merged(target: Any, patch: Any) -> Any:
    """`target` after `patch` (§2)."""
    if not isinstance(patch, dict):
        return patch
    kept = target if isinstance(target, dict) else {}
    both = {**kept, **{name: merged(kept.get(name), value) for name, value in patch.items()}}
    return {name: value for name, value in both.items() if patch.get(name, value) is not None}


def patched(
    target: Mapping[str, Any], patch: Mapping[str, Any], objects: Collection[str]
) -> dict[str, Any]:
    """The members of `patch`; those that are `objects` as they are once it is applied."""
    return {
        name: merged(target.get(name), value) if name in objects else value
        for name, value in patch.items()
    }
