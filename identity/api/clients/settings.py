"""The settings of a client as bodies of requests have them."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, create_model, model_validator
from pydantic_core import PydanticCustomError

from identity.api.bodies import Body, Line, Text
from identity.api.merge_patch import Patch, omitted
from identity.api.openapi import GRANT_TYPE
from identity.directory.clients.settings import NAMES, ClientSettings
from identity.service.administration.clients import OBJECTS

Grants = Annotated[
    list[Annotated[Line, Field(json_schema_extra={"format": GRANT_TYPE})]],
    Field(
        max_length=20,
        description="Grants it may use. Without any it can introspect, no more.",
        examples=[["client_credentials"]],
    ),
]
Scopes = Annotated[
    list[Line],
    Field(
        max_length=500,
        description="Scopes it may ask for; `*`: whatever the user behind a request holds. "
        "`introspect` also lets it see every token at `/introspect`.",
        examples=[["introspect"]],
    ),
]
FormerGrants = Annotated[
    Grants,
    Field(
        json_schema_extra={"deprecated": True},
        description="`grant_types` under its former name.",
    ),
]


class Named(Body):
    """Members that have two names: ours, or the one before it, and RFC 7591's."""

    name: Line = Field(default_factory=omitted)
    client_name: Line = Field(
        default_factory=omitted, description="`name` as RFC 7591 calls it.", examples=["Report"]
    )
    grant_types: Grants = Field(default_factory=omitted)
    grants: FormerGrants = Field(default_factory=omitted)
    scopes: Scopes = Field(default_factory=omitted)
    scope: Annotated[Text, Field(max_length=10_000)] = Field(
        default_factory=omitted,
        description="`scopes` as RFC 7591 has them: one text, with spaces between.",
        examples=["introspect"],
    )

    @model_validator(mode="after")
    def _one_name(self) -> "Named":
        for ours, other in _SYNONYMS:
            both = {ours, other} <= self.model_fields_set
            if both and _as_ours(self, other) != getattr(self, ours):
                told = {"ours": ours, "other": other}
                words = "{other} is another name of {ours}: send one"
                raise PydanticCustomError("synonyms", words, told)
        return self

    def named(self) -> dict[str, Any]:
        """`name`, `grants` and `scopes`, those that are there under either name."""
        found = {
            ours: _as_ours(self, name)
            for ours, other in _SYNONYMS
            for name in (other, ours)
            if name in self.model_fields_set
        }
        if "grant_types" in found:
            found["grants"] = found.pop("grant_types")
        return found


_SYNONYMS = (("name", "client_name"), ("grant_types", "grants"), ("scopes", "scope"))


def _as_ours(body: Named, name: str) -> Any:
    value = getattr(body, name)
    return value.split() if name == "scope" else value


def _patch_of(name: str) -> Any:
    field = ClientSettings.model_fields[name]
    kind = dict[str, Any] if name in OBJECTS else field.rebuild_annotation()
    words = field.description or ""
    return (kind | None, Field(default=None, description=words, examples=field.examples))


if TYPE_CHECKING:

    class SettingsPatch(Patch):
        """Every setting; null: its default."""
else:
    SettingsPatch = create_model(
        "SettingsPatch",
        __base__=Patch,
        **{name: _patch_of(name) for name in ClientSettings.model_fields},
    )


def chosen(body: ClientSettings) -> dict[str, Any]:
    """The settings that a body names, as JSON."""
    return body.model_dump(mode="json", include=set(NAMES & body.model_fields_set))
