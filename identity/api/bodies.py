"""What may come in as JSON, query or path: texts that a database can hold, and bodies that say
no more than they should. Whatever else comes is refused with 422, a path with 404."""

import json
import re
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any

import orjson
from fastapi import Path, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from identity.errors import NotFound, UnsupportedMediaType, ValidationFailed, pointer
from identity.http.accepting import is_json
from identity.store.texts import storable

LONGEST_ID = 200
SHOWN_ERRORS = 20
OBJECT, LIST = "(object)", "(list)"
"""Tags of a body that comes in two forms; no part of a pointer to what is wrong in it."""
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d", re.ASCII)


def _text(text: str) -> str:
    if not storable(text):
        raise PydanticCustomError(
            "text", "must be Unicode text without NUL characters and lone surrogates"
        )
    return text


def _addressed(text: str) -> str:
    if len(text) > LONGEST_ID or not storable(text):
        raise NotFound()
    return text


def _rfc3339(moment: object) -> object:
    if not isinstance(moment, str) or not _RFC3339.match(moment):
        raise PydanticCustomError("moment", "must be a date and time such as 2026-11-24T08:00:00Z")
    return moment


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("moment", "is beyond the calendar") from None


Text = Annotated[str, AfterValidator(_text)]
Line = Annotated[Text, Field(max_length=200)]
PathId = Annotated[str, Path(), AfterValidator(_addressed)]
"""What names a resource in a path. What cannot name one is `NotFound`."""
Moment = Annotated[
    AwareDatetime,
    Field(strict=False, examples=["2026-11-24T08:00:00Z"]),
    BeforeValidator(_rfc3339),
    AfterValidator(_utc),
]
"""RFC 3339 with an offset, as UTC."""


class Body(BaseModel):
    """A JSON object of exactly these members and types."""

    model_config = ConfigDict(extra="forbid", strict=True)


_MUST = "must"
"""Begins what is said of JSON that is well-formed."""


def _once(members: list[tuple[str, Any]]) -> None:
    """Of each object; what is made of it is of no use. (The gate's `json_object` takes no more than
    a token's depth, and no lists.)"""
    if len(members) == len(dict(members)):
        return
    (name, _), *_rest = Counter(name for name, _ in members).most_common(1)
    raise json.JSONDecodeError(f"{_MUST} name each member once: {name[:100]!r} comes again", "", 0)


class JsonRequest(Request):
    async def json(self) -> Any:
        """orjson refuses what json lets pass: invalid UTF-8, lone surrogates, NaN; and it turns
        numbers of any length into something, deep nesting into an error. A member that comes twice
        would do something else than whoever looked at its first value has seen (RFC 8259 §4)."""
        if not hasattr(self, "_json"):
            octets = await self.body()
            self._json = orjson.loads(octets)
            try:
                json.loads(octets, object_pairs_hook=_once)
            except RecursionError:
                raise json.JSONDecodeError(f"{_MUST} be nested less deep", "", 0) from None
        return self._json


class JsonRoute(APIRoute):
    """Bodies are JSON in `application/json` or a type that ends in `+json`; else 415."""

    @cached_property
    def query_names(self) -> frozenset[str]:
        """The query parameters that it knows."""
        return frozenset(_query_names(self.dependant))

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        takes_body = self.body_field is not None

        async def handle(request: Request) -> Response:
            kind = request.headers.get("content-type", "")
            if takes_body and _has_body(request) and not is_json(kind):
                raise UnsupportedMediaType("send application/json")
            return await answer(JsonRequest(request.scope, request.receive))

        return handle


def check_query(request: Request) -> None:
    """Raise `ValidationFailed` for query parameters that the address does not know, or that come
    twice: a filter that is not heeded would show, or do, more than was asked for."""
    names = [name for name, _ in request.query_params.multi_items()]
    if not names:
        return
    route = request.scope["route"]
    known = route.query_names if isinstance(route, JsonRoute) else frozenset[str]()
    if len(names) == len(set(names)) and known.issuperset(names):
        return
    there_are = f"no such parameter; there are {', '.join(sorted(known)) or 'none'}"
    errors = [
        (f"?{name[:100]}", "comes more than once" if name in known else there_are)
        for name, count in Counter(names).items()
        if name not in known or count > 1
    ]
    raise ValidationFailed(errors[:SHOWN_ERRORS])


def _query_names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for needed in dependant.dependencies:
        yield from _query_names(needed)


def _has_body(request: Request) -> bool:
    headers = request.headers
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def validation_failed(refusal: RequestValidationError) -> ValidationFailed:
    """FastAPI's refusal as ours. A body's members are named by JSON pointer (RFC 6901), query
    parameters as `?name`, headers by name."""
    return ValidationFailed([_error(error) for error in refusal.errors()[:SHOWN_ERRORS]])


def _error(error: dict[str, Any]) -> tuple[str, str]:
    place, *path = error["loc"]
    if error["type"] == "json_invalid":
        words = error["ctx"]["error"]
        return "", words if words.startswith(_MUST) else f"is not JSON: {words}"
    if place == "body":
        within = path[1:] if path and path[0] in (OBJECT, LIST) else path
        return pointer(*within), _words(error)
    name = str(path[0]) if path else ""
    return f"?{name}" if place == "query" else name, _words(error)


def _words(error: dict[str, Any]) -> str:
    """Pydantic's own, but for texts: of those that a validator has seen it calls the characters
    items."""
    if isinstance(error["input"], str):
        if error["type"] == "too_long":
            return f"may be {error['ctx']['max_length']} characters long at the most"
        if error["type"] == "too_short":
            return "must not be empty"  # nothing asks for more than one
    return str(error["msg"])
