"""The OpenAPI document: FastAPI's own, joined with what the hot addresses say of themselves."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from identity.http.describing import Node

DESCRIPTION = """
Issues and verifies access tokens (RFC 9068 JWTs), keeps users, roles, clients and signing keys,
and answers sibling services that ask whether a token is good (RFC 7662).

**Authorize** with the username and password of a user, or, in the form below, by signing in at our
own page, as you have to with a second factor. Leave the client fields as they are.
Administration needs the tick at `*`; without it the token reaches your own account alone.
"""

SCHEMA = "#/components/schemas/{model}"

GRANT_TYPE = "grant-type"
"""`format` of a string that names a grant: the registry says which there are."""

Described = Callable[[], Iterable[tuple[str, str, Node]]]
"""(method, path, operation) of every hot address."""


def publish(app: FastAPI, described: Described, grant_types: Sequence[str], base: str) -> None:
    """Make `app.openapi()`, and with it /docs, tell of both lanes. `base`: the issuer's path."""
    own = app.openapi

    def openapi() -> Node:
        if app.openapi_schema is None:
            document = own()
            _enumerate(document, grant_types)
            _join(document, described())
            _place(document, base)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _place(document: Node, base: str) -> None:
    """A client would look for what has no path beside the server's, not below it."""
    for flow in document["components"]["securitySchemes"]["OAuth2"]["flows"].values():
        flow |= {name: f"{base}/{flow[name]}" for name in flow if name.endswith("Url")}


def _join(document: Node, described: Iterable[tuple[str, str, Node]]) -> None:
    models: dict[str, type[BaseModel]] = {}
    taken: set[str] = set()
    for method, path, operation in described:
        operation = _referring(operation, models)
        name, times = operation["operationId"], 1
        while operation["operationId"] in taken:  # one handler at several addresses
            number = f"_{times}" if times > 1 else ""
            operation["operationId"] = f"{name}_{method.lower()}{number}"
            times += 1
        taken.add(operation["operationId"])
        document["paths"].setdefault(path, {})[method.lower()] = operation
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name, model in models.items():
        schema = model.model_json_schema(ref_template=SCHEMA, mode="serialization")
        schemas |= schema.pop("$defs", {})
        schemas[name] = schema
    components.setdefault("securitySchemes", {})["client"] = {
        "type": "http",
        "scheme": "basic",
        "description": "For services, not for people: leave it empty to log in above. "
        "client_id and client_secret, each form-encoded (RFC 6749 §2.3.1).",
    }


def _referring(node: Any, models: dict[str, type[BaseModel]]) -> Any:
    """`node` with a reference in place of each model, which is put into `models`."""
    if isinstance(node, type):
        if models.setdefault(node.__name__, node) is not node:
            raise ValueError(f"two models are called {node.__name__}")
        return {"$ref": SCHEMA.format(model=node.__name__)}
    if isinstance(node, dict):
        return {name: _referring(child, models) for name, child in node.items()}
    if isinstance(node, list):
        return [_referring(child, models) for child in node]
    return node


def _enumerate(node: Any, grant_types: Sequence[str]) -> None:
    if isinstance(node, dict):
        if node.get("format") == GRANT_TYPE:
            node["enum"] = list(grant_types)
        for child in node.values():
            _enumerate(child, grant_types)
    elif isinstance(node, list):
        for child in node:
            _enumerate(child, grant_types)
