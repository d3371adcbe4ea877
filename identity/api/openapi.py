"""The OpenAPI document: FastAPI's own, and the hot addresses described from the same models."""

from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from identity.directory.users.shown import UserOut

DESCRIPTION = """
Issues and verifies access tokens (RFC 9068 JWTs), keeps users, roles, clients and signing keys,
and answers sibling services that ask whether a token is good (RFC 7662).

**Authorize** with the username and password of a user; leave the client fields empty.
Administration needs the tick at `*`; without it the token reaches your own account alone.
"""

SCHEMA = "#/components/schemas/{model}"


class TokenResponse(BaseModel):
    """RFC 6749 §5.1."""

    access_token: str = Field(examples=["eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.e30.c2ln"])
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="Seconds.", examples=[900])
    scope: str = Field(description="Scopes granted, separated by spaces.", examples=["users:read"])
    refresh_token: str | None = Field(
        default=None, description="Where a user is behind it.", examples=["rt_…"]
    )


class IntrospectionResponse(BaseModel):
    """RFC 7662 §2.2. Of a token that is not alive only `active`, which is false."""

    model_config = ConfigDict(extra="allow")

    active: bool
    scope: str | None = None
    client_id: str | None = None
    username: str | None = None
    token_type: str | None = None
    exp: int | None = None
    iat: int | None = None
    nbf: int | None = None
    sub: str | None = None
    subject_type: Literal["user", "client"] | None = Field(
        default=None, description="Whose `sub` is: `client` where one acts for itself."
    )
    aud: str | None = None
    iss: str | None = None
    jti: str | None = None
    sid: str | None = None
    roles: list[str] | None = None


class OAuthErrorBody(BaseModel):
    """RFC 6749 §5.2."""

    error: str = Field(examples=["invalid_grant"])
    error_description: str = Field(examples=["the username or password is wrong"])


class ProblemBody(BaseModel):
    """RFC 9457."""

    type: str = Field(examples=["about:blank"])
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] | None = None


class Jwk(BaseModel):
    """RFC 7517 §4."""

    model_config = ConfigDict(extra="allow")

    kty: str
    kid: str
    alg: str
    use: Literal["sig"]


class JwkSet(BaseModel):
    keys: list[Jwk]


class AuthorizationServerMetadata(BaseModel):
    """RFC 8414 §2."""

    model_config = ConfigDict(extra="allow")

    issuer: str
    token_endpoint: str
    jwks_uri: str
    introspection_endpoint: str
    revocation_endpoint: str
    grant_types_supported: list[str]


class RevocationEntry(BaseModel):
    """A revocation that a live token may run into."""

    id: int = Field(description="Its position; later ones have greater numbers.")
    kind: Literal["token", "session", "subject", "client", "key"]
    ref: str = Field(description="The `jti`, `sid`, `sub`, `client_id` or `kid`.")
    at: float = Field(
        description="Unix time. Of `subject` and `client` only tokens with an earlier `iat` are "
        "dead; with `iat` in the same second ask by introspection."
    )
    exp: float = Field(description="Unix time when it can be forgotten.")


class RevocationPage(BaseModel):
    entries: list[RevocationEntry]
    position: int = Field(description="The next request's `after`.")
    reset: bool = Field(description="Forget all that came before: these entries are everything.")
    now: float = Field(description="Unix time at which there was nothing newer.")


class StatusListAggregation(BaseModel):
    """draft-ietf-oauth-status-list §9."""

    status_lists: list[str]


class Whereabouts(BaseModel):
    issuer: str
    documentation: str
    openapi: str
    metadata: str
    jwks_uri: str


class Status(BaseModel):
    status: str
    reasons: dict[str, str] | None = None


MODELS: tuple[type[BaseModel], ...] = (
    Whereabouts,
    TokenResponse,
    IntrospectionResponse,
    OAuthErrorBody,
    ProblemBody,
    JwkSet,
    AuthorizationServerMetadata,
    RevocationPage,
    StatusListAggregation,
    Status,
    UserOut,
)

_CLIENT = {
    "client_id": {"type": "string", "description": "Unless sent by HTTP Basic."},
    "client_secret": {"type": "string", "format": "password"},
}
_TOKEN = {
    "token": {"type": "string"},
    "token_type_hint": {"type": "string", "examples": ["access_token", "refresh_token"]},
    **_CLIENT,
}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": SCHEMA.format(model=model.__name__)}


def _body(model: type[BaseModel], media: str = "application/json") -> dict[str, Any]:
    return {media: {"schema": _ref(model)}}


def _form(
    properties: dict[str, Any], required: list[str], example: dict[str, str]
) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required}
    media = {"application/x-www-form-urlencoded": {"schema": schema, "example": example}}
    return {"required": True, "content": media}


def _oauth_errors(*statuses: int) -> dict[str, Any]:
    words = {
        400: "The request, grant or scope is refused.",
        401: "Client or bearer authentication failed; see `WWW-Authenticate`.",
        403: "The bearer token lacks a scope.",
        408: "The body did not arrive in time.",
        413: "The body is larger than 64 KiB.",
        429: "Too many failed logins; see `Retry-After`.",
        503: "Busy, or the database cannot be reached; see `Retry-After`.",
    }
    return {
        str(status): {"description": words[status], "content": _body(OAuthErrorBody)}
        for status in statuses
    }


def _problem(status: int, words: str) -> dict[str, Any]:
    return {
        str(status): {
            "description": words,
            "content": _body(ProblemBody, "application/problem+json"),
        }
    }


def _published(model: type[BaseModel], media: str) -> dict[str, Any]:
    return {
        "200": {"description": "The document.", "content": _body(model, media)},
        "304": {"description": "Unchanged since the `ETag` in `If-None-Match`."},
        **_problem(400, "An ambiguous header."),
    }


def _query(name: str, schema: dict[str, Any], words: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": words}


def _forward_auth(operation: str) -> dict[str, Any]:
    told = {
        "X-User": "Username; empty where a client acts for itself.",
        "X-Subject": "The token's `sub`.",
        "X-Subject-Type": "Whose that is: `user`, or `client` where one acts for itself.",
        "X-Client": "The token's `client_id`.",
        "X-Scopes": "What the token may do now, separated by spaces.",
        "X-Roles": "The user's roles, separated by spaces.",
        "X-Session": "The token's `sid`, or empty.",
    }
    return {
        "tags": ["OAuth"],
        "operationId": operation,
        "summary": "May this request pass, and as whom?",
        "description": "For gateways (nginx `auth_request`, Traefik `forwardAuth`, Caddy "
        "`forward_auth`). Values of the headers are percent-encoded UTF-8 where they are not "
        "plain ASCII.",
        "security": [{"OAuth2PasswordBearer": []}],
        "parameters": [
            _query("scope", {"type": "string"}, "Scopes needed, separated by spaces."),
            _query(
                "audience",
                {"type": "string"},
                "Audiences of which the token must be for one, separated by spaces. By default "
                "the service's own default audience.",
            ),
        ],
        "responses": {
            "200": {
                "description": "It may; the headers say as whom.",
                "headers": {
                    name: {"description": words, "schema": {"type": "string"}}
                    for name, words in told.items()
                },
            },
            **_problem(400, "The query is malformed."),
            **_problem(401, "No token, or one that is not good here; see `WWW-Authenticate`."),
            **_problem(403, "The token lacks a scope; see `WWW-Authenticate`."),
            **_UNAVAILABLE,
        },
    }


_UNAVAILABLE = _problem(503, "The database cannot be reached.")
_BY_CLIENT: list[dict[str, list[str]]] = [{}, {"client": []}]

OPERATIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/token"): {
        "tags": ["OAuth"],
        "operationId": "token",
        "summary": "Get or refresh tokens (RFC 6749)",
        "description": "Grants: `password`, `refresh_token`, `client_credentials`. "
        "`resource` (RFC 8707) picks the audience; without it, scopes of one resource alone do. "
        "A request that names no client is served by the built-in client `first-party`.",
        "security": _BY_CLIENT,
        "requestBody": _form(
            {
                "grant_type": {
                    "type": "string",
                    "enum": ["password", "refresh_token", "client_credentials"],
                },
                "username": {"type": "string", "description": "Username or e-mail address."},
                "password": {"type": "string", "format": "password"},
                "refresh_token": {"type": "string"},
                "scope": {
                    "type": "string",
                    "description": "Separated by spaces; `*`: all that the user holds and the "
                    "client may. Without it nothing administrative is granted, unless the client "
                    "has `default_scopes`.",
                },
                "resource": {"type": "string", "format": "uri"},
                **_CLIENT,
            },
            ["grant_type"],
            {"grant_type": "password", "username": "ada", "password": "correct horse battery"},
        ),
        "responses": {
            "200": {"description": "Tokens.", "content": _body(TokenResponse)},
            **_oauth_errors(400, 401, 408, 413, 429, 503),
        },
    },
    ("POST", "/introspect"): {
        "tags": ["OAuth"],
        "operationId": "introspect",
        "summary": "Is this token good, whose is it, what may it do? (RFC 7662)",
        "description": "By a confidential client, or with a bearer token of scope `introspect`. A "
        "client sees access tokens for its `audiences` and all tokens issued to it; one that is "
        "allowed the scope `introspect`, and a bearer of it, sees all. Of any other token it hears "
        "that it is not active. "
        "`Accept: application/token-introspection+jwt` answers a signed JWT (RFC 9701).",
        "security": [{"client": []}, {"OAuth2PasswordBearer": ["introspect"]}],
        "requestBody": _form(_TOKEN, ["token"], {"token": "eyJhbGciOi…"}),
        "responses": {
            "200": {
                "description": "What is known of the token.",
                "content": {
                    "application/json": {
                        "schema": _ref(IntrospectionResponse),
                        "examples": {"inactive": {"value": {"active": False}}},
                    },
                    "application/token-introspection+jwt": {"schema": {"type": "string"}},
                },
            },
            **_oauth_errors(400, 401, 403, 408, 413, 503),
        },
    },
    ("POST", "/revoke"): {
        "tags": ["OAuth"],
        "operationId": "revoke",
        "summary": "Revoke an access or refresh token (RFC 7009)",
        "description": "A refresh token ends its session. 200 also for tokens unknown.",
        "security": _BY_CLIENT,
        "requestBody": _form(_TOKEN, ["token"], {"token": "rt_…"}),
        "responses": {
            "200": {
                "description": "The token is not good, or not any more.",
                "content": {"application/json": {"schema": {"type": "object", "maxProperties": 0}}},
            },
            **_oauth_errors(400, 401, 408, 413, 503),
        },
    },
    ("GET", "/revocations"): {
        "tags": ["OAuth"],
        "operationId": "revocations",
        "summary": "What has been revoked, as it happens",
        "description": "For siblings that verify tokens themselves: by a confidential client that "
        "is allowed the scope `introspect`, or with a bearer token of that scope. With `Accept: "
        "text/event-stream` Server-Sent Events `snapshot`, `live`, `revoked`, `heartbeat` (every "
        "second) and `reset`, to be resumed by `Last-Event-ID` at any replica. Else one page: "
        "without `after` all that matters still, with it what came since.",
        "security": [{"client": []}, {"OAuth2PasswordBearer": ["introspect"]}],
        "parameters": [
            _query("after", {"type": "integer", "minimum": 0}, "A position that was named before."),
            _query(
                "wait",
                {"type": "number", "minimum": 0, "maximum": 60, "default": 0},
                "Seconds to wait where there is nothing new.",
            ),
        ],
        "responses": {
            "200": {
                "description": "Revocations, in order.",
                "content": {**_body(RevocationPage), "text/event-stream": {}},
            },
            **_oauth_errors(400, 401, 403, 503),
        },
    },
    ("GET", "/status-lists"): {
        "tags": ["Discovery"],
        "operationId": "status_lists",
        "summary": "The addresses of all status lists",
        "description": "For verifiers that fetch the lists before they meet a token.",
        "responses": {
            "200": {"description": "The addresses.", "content": _body(StatusListAggregation)},
            **_UNAVAILABLE,
        },
    },
    ("GET", "/status-lists/{list_id}"): {
        "tags": ["Discovery"],
        "operationId": "status_list",
        "summary": "Which access tokens are revoked, one bit each",
        "description": "A Token Status List (draft-ietf-oauth-status-list). An access token's "
        "claim `status.status_list` names its list and its index there. May be kept for `ttl` "
        "seconds.",
        "parameters": [
            {"name": "list_id", "in": "path", "required": True, "schema": {"type": "integer"}}
        ],
        "responses": {
            "200": {
                "description": "The signed list.",
                "content": {"application/statuslist+jwt": {"schema": {"type": "string"}}},
            },
            "304": {"description": "Unchanged since the `ETag` in `If-None-Match`."},
            **_problem(404, "There is no such list, or all of its tokens have expired."),
            **_problem(406, "It comes as `application/statuslist+jwt`, nothing else."),
            **_UNAVAILABLE,
        },
    },
    ("GET", "/forward-auth"): _forward_auth("forward_auth"),
    ("POST", "/forward-auth"): _forward_auth("forward_auth_post"),
    ("GET", "/users/me"): {
        "tags": ["Self-service"],
        "operationId": "get_me",
        "summary": "Who am I?",
        "security": [{"OAuth2PasswordBearer": []}],
        "responses": {
            "200": {"description": "The user behind the token.", "content": _body(UserOut)},
            **_problem(400, "An ambiguous header."),
            **_problem(401, "No token, one that is not alive, or one for another audience."),
            **_problem(403, "The token is a client's own."),
            **_problem(422, "A query parameter: there are none."),
            **_UNAVAILABLE,
        },
    },
    ("GET", "/.well-known/jwks.json"): {
        "tags": ["Discovery"],
        "operationId": "jwks",
        "summary": "The keys that verify our tokens (RFC 7517)",
        "responses": _published(JwkSet, "application/jwk-set+json"),
    },
    ("GET", "/.well-known/oauth-authorization-server"): {
        "tags": ["Discovery"],
        "operationId": "metadata",
        "summary": "What this server can do and where (RFC 8414)",
        "responses": _published(AuthorizationServerMetadata, "application/json"),
    },
    ("GET", "/"): {
        "tags": ["Operations"],
        "operationId": "welcome",
        "summary": "Where to find everything else",
        "responses": {
            "200": {"description": "For a program.", "content": _body(Whereabouts)},
            "302": {
                "description": "For a browser: the documentation.",
                "headers": {"Location": {"schema": {"type": "string"}}},
            },
        },
    },
    ("GET", "/healthz"): {
        "tags": ["Operations"],
        "operationId": "alive",
        "summary": "Does the process answer?",
        "responses": {"200": {"description": "Yes.", "content": _body(Status)}},
    },
    ("GET", "/readyz"): {
        "tags": ["Operations"],
        "operationId": "ready",
        "summary": "Can it serve? Database, schema, signing key",
        "responses": {
            "200": {"description": "Yes.", "content": _body(Status)},
            "503": {"description": "No, and why.", "content": _body(Status)},
        },
    },
    ("GET", "/metrics"): {
        "tags": ["Operations"],
        "operationId": "metrics",
        "summary": "Prometheus metrics",
        "responses": {
            "200": {
                "description": "Text exposition.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            **_problem(400, "An ambiguous header."),
            **_problem(401, "No token, or not the right one (`IDENTITY_METRICS_ALLOW`)."),
            **_problem(403, "Not from this address (`IDENTITY_METRICS_ALLOW`)."),
        },
    },
}


def publish(app: FastAPI) -> None:
    """Make `app.openapi()`, and with it /docs, tell of both lanes."""
    own = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = own()
            for (method, path), operation in OPERATIONS.items():
                document["paths"].setdefault(path, {})[method.lower()] = operation
            components = document.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            for model in MODELS:
                schema = model.model_json_schema(ref_template=SCHEMA, mode="serialization")
                schemas |= schema.pop("$defs", {})
                schemas[model.__name__] = schema
            components.setdefault("securitySchemes", {})["client"] = {
                "type": "http",
                "scheme": "basic",
                "description": "For services, not for people: leave it empty to log in above. "
                "client_id and client_secret, each form-encoded (RFC 6749 §2.3.1).",
            }
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
