"""JSON merge patches (RFC 7396), and the header that refuses them (`http.preconditions`)."""

from typing import Annotated, Any

from fastapi import Header

from identity.api.bodies import Body
from identity.api.bodies import validation_failed as validation_failed
from identity.http.preconditions import check_unchanged as check_unchanged
from identity.http.preconditions import etag as etag

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
