"""What a group of settings is: a frozen model, each field of which has a meaning."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def setting(default: Any, meaning: str, **kwargs: Any) -> Any:
    """A field of a group. `meaning` stands in the documents and in the console."""
    return Field(default, description=meaning, **kwargs)
