"""Settings as they are given: by which names, from where, and the words of what is refused."""

import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

PREFIX = "IDENTITY_"

Known = Iterable[tuple[str, str, FieldInfo]]
"""(environment name, group, field) of every setting that there is."""


class SettingsError(Exception):
    """The start is refused; the text is one line that names the setting or file and why."""


def named(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Names of fields as the environment has them."""
    return {PREFIX + name.upper(): value for name, value in fields.items()}


def environment() -> dict[str, str]:
    """What is ours in the environment, which wins, and in the file `.env`; names in capitals."""
    try:
        found = {k.upper(): v for k, v in _file().items() if v is not None}
    except (OSError, ValueError) as error:
        raise SettingsError(f".env: cannot be read: {error}") from None
    found |= {k.upper(): v for k, v in os.environ.items()}
    return {k: v for k, v in found.items() if k.startswith(PREFIX)}


def _file() -> Mapping[str, str | None]:
    """Some editors begin a file with a byte order mark, which is no part of the first name."""
    if not os.path.exists(".env"):
        return {}
    from pydantic_settings import BaseSettings, DotEnvSettingsSource

    return DotEnvSettingsSource(
        BaseSettings, env_file=".env", env_file_encoding="utf-8-sig", case_sensitive=True
    ).env_vars


def nest(flat: Mapping[str, Any], known: Known) -> dict[str, dict[str, Any]]:
    """Environment names with their values, distributed over the groups."""
    homes = {name: group for name, group, _ in known}
    nested: dict[str, dict[str, Any]] = {}
    for name, value in flat.items():
        if name not in homes:
            import difflib

            ends = [home.removeprefix(PREFIX) for home in homes]  # all begin alike
            near = difflib.get_close_matches(name.removeprefix(PREFIX), ends, 1)
            hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            raise SettingsError(f"{name} is not a setting{hint}")
        nested.setdefault(homes[name], {})[name.removeprefix(PREFIX).lower()] = value
    return nested


def first_mistake(error: ValidationError, known: Known) -> str:
    """In one line, without the value where that is a secret."""
    mistake = error.errors(include_url=False)[0]
    name = PREFIX + str(mistake["loc"][1] if len(mistake["loc"]) > 1 else mistake["loc"][0]).upper()
    secret = any(n == name and "SecretStr" in str(field.annotation) for n, _, field in known)
    words = mistake["msg"].removeprefix("Value error, ").replace("datetime.timedelta(0)", "0")
    value = mistake["input"]
    shown = str(value) if isinstance(value, timedelta) else repr(value)
    given = "" if secret else f" (it is {shown})"
    return f"{name}: {words[0].lower()}{words[1:]}{given}"
