"""Merge patches (RFC 7396), for whoever takes them."""

from typing import Any


def merged(target: Any, patch: Any) -> Any:
    """`target` after `patch` (§2)."""
    if not isinstance(patch, dict):
        return patch
    kept = target if isinstance(target, dict) else {}
    both = {**kept, **{name: merged(kept.get(name), value) for name, value in patch.items()}}
    return {name: value for name, value in both.items() if patch.get(name, value) is not None}
