"""The answers that are errors, as OpenAPI describes them (the errors themselves: errors/)."""

from typing import Any

from identity.api.openapi import SCHEMA
from identity.http.describing import problem_body

_WORDS = {
    400: "The request is malformed.",
    401: "No token, or one that is not alive; see `WWW-Authenticate`.",
    403: "The token lacks a scope, or the act needs more than its bearer holds.",
    404: "There is no such thing.",
    408: "The body did not arrive in time.",
    409: "It would break a rule: a name is taken, something is built in, the last administrator.",
    412: "Changed by someone else meanwhile: `If-Match` names another version.",
    413: "The body is larger than 64 KiB.",
    415: "The body is not JSON.",
    422: "A member or parameter is not valid; `errors` says which and why.",
    429: "Too many failed attempts; see `Retry-After`.",
    503: "Busy, or the database cannot be reached; see `Retry-After`.",
}
_SCHEMA = {"$ref": SCHEMA.format(model=problem_body().__name__)}
_ALWAYS = (422, 503)  # without 422 FastAPI would describe one of its own
_BODY = (408, 413, 415)

Responses = dict[int | str, dict[str, Any]]


def problems(*statuses: int, body: bool = False, **words: str) -> Responses:
    """`responses` of a route: these, 422, 503, and with `body` what reading one may end in.

    `words`: another description for a status, `s409="…"`.
    """
    listed = sorted({*statuses, *_ALWAYS, *(_BODY if body else ())})
    return {
        status: {
            "description": words.get(f"s{status}", _WORDS[status]),
            "content": {"application/problem+json": {"schema": _SCHEMA}},
        }
        for status in listed
    }


def administrative(*statuses: int, body: bool = False, **words: str) -> Responses:
    """`problems` of a route that needs a bearer token with a scope."""
    return problems(401, 403, *statuses, body=body, **words)
