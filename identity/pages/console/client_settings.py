"""Every setting of a client as a field of a form, made from `ClientSettings`: a further setting is
here without a word."""

import json
from typing import Any, Literal, get_args, get_origin

from identity.directory.clients.settings import ClientSettings
from identity.directory.clients.table import Client
from identity.errors import ValidationFailed
from identity.pages.console.forms import Field, Form, Option
from identity.pages.words import _

LONGEST = 30_000
NAMES = tuple(ClientSettings.model_fields)


def fields(client: Client) -> list[Field]:
    """As they are set; empty: the default."""
    stored = client.settings or {}
    return [_field(name, stored.get(name)) for name in NAMES]


def read(form: Form) -> dict[str, Any]:
    """What was sent, None for what is to be the default. `ValidationFailed` for what is no JSON."""
    return {name: _read(name, form) for name in NAMES}


def _kind(name: str) -> tuple[str, tuple[Any, ...]]:
    """`check`, `select` with its choices, `lines`, `textarea` (JSON), `number` or `text`."""
    annotation: Any = ClientSettings.model_fields[name].annotation
    kinds = [each for each in _parts(annotation) if each is not type(None)]
    first = kinds[0]
    if first is bool:
        return "check", ()
    if get_origin(first) is Literal:
        return "select", get_args(first)
    if get_origin(first) is tuple:
        return "lines", ()
    if get_origin(first) is dict:
        return "textarea", ()
    return ("number", ()) if first is int else ("text", ())


def _parts(annotation: Any) -> list[Any]:
    """The members of a union, each without its `Annotated`."""
    if hasattr(annotation, "__metadata__"):
        return _parts(annotation.__origin__)
    origin = get_origin(annotation)
    if origin is None or origin in (tuple, dict, list, Literal):
        return [annotation]
    return [part for each in get_args(annotation) for part in _parts(each)]


def _field(name: str, value: Any) -> Field:
    declared = ClientSettings.model_fields[name]
    kind, choices = _kind(name)
    said = declared.description or ""
    made = Field(name, name, kind, hint=_(said), longest=LONGEST)  # type: ignore[arg-type]
    default = declared.get_default(call_default_factory=True)
    if kind == "check":
        made.value = bool(default if value is None else value)
    elif kind == "select":
        usual = "–" if default is None else str(default)
        made.options = [Option("", _("default: %s") % usual), *(Option(c, c) for c in choices)]
        made.value = value or ""
    elif kind == "lines":
        made.value = "\n".join(value or ())
    elif kind == "textarea":
        made.value = json.dumps(value, indent=1, ensure_ascii=False) if value else ""
        form = _("JSON.")
        made.hint = f"{_(said)} {form}"
    else:
        made.value = "" if value is None else str(value)
    return made


def _read(name: str, form: Form) -> Any:
    kind, _choices = _kind(name)
    if kind == "check":
        return form.ticked(name)
    text = form.text(name)
    if not text:
        return None
    if kind == "lines":
        return form.lines(name)
    if kind == "number":
        try:
            return int(text)
        except ValueError:
            raise ValidationFailed([(f"/{name}", _("Must be a whole number"))]) from None
    if kind == "textarea":
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as mistake:
            words = _("Is not JSON: %s") % mistake
            raise ValidationFailed([(f"/{name}", words)]) from None
    return text
