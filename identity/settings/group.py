"""What a group of settings is: a frozen model, each field of which has a meaning."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Group(BaseModel):
    """`Settings` validates all groups at once; what pydantic would build for one alone is built
    when somebody validates one alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)


def defaults() -> Any:
    """A field of `Settings`: the group with its defaults, where nothing of it is given."""
    return Field(default_factory=dict)


def setting(default: Any, meaning: str, **kwargs: Any) -> Any:
    """A field of a group. `meaning` stands in the documents and in the console."""
    return Field(default, description=meaning, **kwargs)
