"""A plan as people and programs read it. Of secrets never more than their ends."""

import json
from collections.abc import Iterator
from typing import Any, Final

from identity.cli.applying.planning import Plan, Step
from identity.cli.printing import as_json, cell, coloured, remark

MARKS: Final = {
    "add": "+", "change": "~", "adopt": "~", "remove": "-", "keep": "=", "release": "="
}  # fmt: skip
COLOURS: Final = {"+": "ok", "~": "note", "-": "problem"}
_REMARKS: Final = {
    "adopt": "taken over",
    "keep": "changed by somebody since, so it is left to them",
    "release": "not made by this set, and left as it is",
}
_MISSING: Final = object()
_DONE: Final = {"add": "added", "change": "changed", "adopt": "taken over", "remove": "removed",
                "keep": "left to others", "release": "left to others"}  # fmt: skip


def show(plan: Plan, *, json: bool) -> None:
    if json:
        as_json(_document(plan))
        return
    for step in plan.visible:
        mark = MARKS[step.action]
        words = f"{mark} {step.kind.noun} {cell(step.name)}"
        if step.action in _REMARKS:
            words += f" ({_REMARKS[step.action]})"
        print(coloured(words, COLOURS.get(mark, "")))
        for line in _members(step):
            print(f"    {line}")


def summary(plan: Plan) -> None:
    counts: dict[str, int] = {}
    for step in plan.visible:
        counts[_DONE[step.action]] = counts.get(_DONE[step.action], 0) + 1
    told = [f"{count} {what}" for what, count in counts.items()]
    remark(f"Set {plan.set_name}: {', '.join([*told, f'{plan.unchanged} unchanged'])}.")


def _members(step: Step) -> Iterator[str]:
    for name, before, after in _differences(step):
        if before is _MISSING:
            yield f"{name}: {_shown(after)}"
        elif isinstance(before, list) and isinstance(after, list):
            yield f"{name}: {_listed(before, after)}"
        else:
            yield f"{name}: {_shown(before)} -> {_shown(after)}"
    yield from (f"secrets: + ..{cell(hint)}" for hint in step.new_secrets)
    yield from (f"secrets: - ..{cell(hint)}" for hint in step.old_secrets)
    if losers := [f"{n} {what if n > 1 else what[:-1]}" for what, n in step.lost_by.items() if n]:
        yield f"lost by {', '.join(losers)}"


def _differences(step: Step) -> Iterator[tuple[str, Any, Any]]:
    """(member, was, will be), of what is made as a file says."""
    for name in dict.fromkeys([*step.after, *step.before]) if step.entry else ():
        was, will = step.before.get(name, _MISSING), step.after.get(name, _MISSING)
        if was != will:
            yield name, was, will


def _listed(before: list[Any], after: list[Any]) -> str:
    """Which entries come and go; both lists where only their order is another."""
    came = [f"+ {_shown(each)}" for each in after if each not in before]
    went = [f"- {_shown(each)}" for each in before if each not in after]
    return ", ".join([*came, *went]) or f"{_shown(before)} -> {_shown(after)}"


def _shown(value: Any) -> str:
    if value is _MISSING:
        return "(default)"
    if isinstance(value, str):
        return cell(value)
    return cell(json.dumps(value, ensure_ascii=False))


def _document(plan: Plan) -> dict[str, Any]:
    return {
        "set": plan.set_name,
        "unchanged": plan.unchanged,
        "steps": [
            {
                "action": step.action,
                "kind": step.kind.noun,
                "name": step.name,
                "place": step.place or None,
                "changes": {
                    name: {
                        "before": None if was is _MISSING else was,
                        "after": None if will is _MISSING else will,
                    }
                    for name, was, will in _differences(step)
                },
                "secrets": {"added": list(step.new_secrets), "removed": list(step.old_secrets)},
                "lost_by": step.lost_by,
            }
            for step in plan.visible
        ],
    }
