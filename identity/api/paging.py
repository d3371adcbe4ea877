"""Lists in pages, as the API asks for them and answers (`store.paging`)."""

from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, Field

from identity.api.bodies import Text
from identity.store.paging import Window as Window
from identity.store.paging import cursor as cursor
from identity.store.paging import key_of as key_of
from identity.store.paging import listed as listed

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    items: list[T]
    next: str | None = Field(
        default=None, description="For `after`; null on the last page.", examples=["YWRh"]
    )


async def _window(
    limit: Annotated[int, Query(ge=1, le=200, description="Items in a page.")] = 50,
    after: Annotated[
        str | None, Query(max_length=400, description="`next` of the page before.")
    ] = None,
) -> Window:
    return Window(limit, key_of(after) if after is not None else None)


Paged = Annotated[Window, Depends(_window)]
Search = Annotated[
    Text | None, Query(max_length=200, description="Part of a name, in any case.", examples=["ada"])
]
