"""The words in which a hot handler describes itself for the OpenAPI document.

A handler's `words` are called when somebody asks for the document. Most processes are never asked,
so the models of its answers are made in there, too: each costs 15 KB and a millisecond. A model
stands in the words as the class itself; `identity.api.openapi` writes it out and refers to it.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, Field

Node = dict[str, Any]
"""A part of the document, with models in it."""
Words = Callable[[], Node]
"""Makes an operation object (OpenAPI 3.1 §4.8.10)."""


BY_CLIENT: list[dict[str, list[str]]] = [{}, {"client": []}]
"""`security` of an endpoint at which a public client only names itself."""

CLIENT: Node = {
    "client_id": {"type": "string", "description": "Unless sent by HTTP Basic."},
    "client_secret": {"type": "string", "format": "password"},
    "client_assertion": {
        "type": "string",
        "description": "In place of a secret, of clients that are registered for it (RFC 7523).",
    },
    "client_assertion_type": {
        "type": "string",
        "examples": ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"],
    },
}
TOKEN: Node = {
    "token": {"type": "string"},
    "token_type_hint": {"type": "string", "examples": ["access_token", "refresh_token"]},
    **CLIENT,
}

DPOP: Node = {
    "name": "DPoP",
    "in": "header",
    "schema": {"type": "string"},
    "description": "A proof of the key to which the tokens are to be bound (RFC 9449).",
}

_OAUTH_WORDS = {
    400: "The request, grant or scope is refused.",
    401: "Client or bearer authentication failed; see `WWW-Authenticate`.",
    403: "The bearer token lacks a scope.",
    408: "The body did not arrive in time.",
    413: "The body is larger than 64 KiB.",
    415: "The body has another media type.",
    429: "Too many failed logins; see `Retry-After`.",
    503: "Busy, or the database cannot be reached; see `Retry-After`.",
}


@cache
def oauth_error_body() -> type[BaseModel]:
    class OAuthErrorBody(BaseModel):
        """RFC 6749 §5.2."""

        error: str = Field(examples=["invalid_grant"])
        error_description: str = Field(examples=["the username or password is wrong"])

    return OAuthErrorBody


@cache
def problem_body() -> type[BaseModel]:
    class ProblemBody(BaseModel):
        """RFC 9457."""

        type: str = Field(examples=["about:blank"])
        title: str
        status: int
        detail: str
        errors: list[dict[str, str]] | None = None

    return ProblemBody


def body(model: type[BaseModel], media: str = "application/json") -> Node:
    return {media: {"schema": model}}


def form(members: Node, required: Sequence[str], example: dict[str, str]) -> Node:
    schema = {"type": "object", "properties": members, "required": list(required)}
    media = {"application/x-www-form-urlencoded": {"schema": schema, "example": example}}
    return {"required": True, "content": media}


def posted(said: Node, required: Sequence[str], example: dict[str, str]) -> Node:
    """What `said` describes, with its parameters in a form."""
    members = {each["name"]: each["schema"] for each in said["parameters"]}
    late = {
        **problem(408, "The body did not arrive in time."),
        **problem(413, "The body is larger than 64 KiB."),
    }
    return {
        **{name: part for name, part in said.items() if name != "parameters"},
        "requestBody": form(members, required, example),
        "responses": said["responses"] | late,
    }


def query(name: str, schema: Node, words: str) -> Node:
    return {"name": name, "in": "query", "schema": schema, "description": words}


def header(name: str, schema: Node, words: str) -> Node:
    return {"name": name, "in": "header", "schema": schema, "description": words}


def oauth_errors(*statuses: int) -> Node:
    """Of an address whose errors are RFC 6749's."""
    return {
        str(status): {"description": _OAUTH_WORDS[status], "content": body(oauth_error_body())}
        for status in statuses
    }


def problem(status: int, words: str) -> Node:
    return {
        str(status): {
            "description": words,
            "content": body(problem_body(), "application/problem+json"),
        }
    }


def page(status: int, words: str) -> Node:
    """Of an address that people come to."""
    return {
        str(status): {
            "description": words,
            "content": {"text/html": {"schema": {"type": "string"}}},
        }
    }


def unavailable() -> Node:
    return problem(503, "The database cannot be reached.")


def published(model: type[BaseModel], media: str) -> Node:
    """Of a document that carries an `ETag`."""
    return {
        "200": {"description": "The document.", "content": body(model, media)},
        "304": {"description": "Unchanged since the `ETag` in `If-None-Match`."},
        **problem(400, "An ambiguous header."),
    }
