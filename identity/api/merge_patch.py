"""JSON merge patches (RFC 7396), and the entity tags that keep two editors from undoing each
other's work unseen (RFC 9110 §13.1.1)."""

from typing import Annotated, Any

from fastapi import Header

from identity.api.bodies import Body
from identity.api.bodies import validation_failed as validation_failed
from identity.errors import PreconditionFailed

MERGE_PATCH = "application/merge-patch+json"

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The `ETag` that was read; the act is refused if it has changed since.",
        examples=['"3"'],
    ),
]


def omitted() -> Any:
    """Default of a member that may be left out of a patch, but not be null."""
    return None


class Patch(Body):
    """What a patch says. A member left out stays as it is; null removes it, where it may."""

    def members(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


def merge_patch(model: type[Patch]) -> dict[str, Any]:
    """`openapi_extra` of a PATCH route: its body may come under both media types."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"content": {MERGE_PATCH: {"schema": schema}}}}


def etag(version: int) -> str:
    """A resource's version as a strong entity tag."""
    return f'"{version}"'


def check_unchanged(if_match: str | None, version: int) -> None:
    """Raise `PreconditionFailed` unless `If-Match` is absent, `*`, or lists `version`.

    Called in the transaction that changes the resource, its row locked.
    """
    if if_match is None or if_match.strip() == "*":
        return
    if etag(version) not in (tag.strip() for tag in if_match.split(",")):
        raise PreconditionFailed(f"the version is {etag(version)} by now")
