"""What the OpenAPI document says of registration."""

from functools import cache

from pydantic import BaseModel, ConfigDict

from identity.http import describing

_TOKEN: list[dict[str, list[str]]] = [{"OAuth2": []}]
_PATH = [{"name": "client_id", "in": "path", "required": True, "schema": {"type": "string"}}]
_BODY: describing.Node = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "additionalProperties": True,
                "description": "Settings of a client by the names of RFC 7591, `client_name`, "
                "`grant_types` and `scope`. Others are passed over.",
            },
            "example": {
                "client_name": "Notes",
                "redirect_uris": ["https://notes.example/callback"],
                "grant_types": ["authorization_code", "refresh_token"],
                "token_endpoint_auth_method": "none",
            },
        }
    },
}


@cache
def _information() -> type[BaseModel]:
    class ClientInformation(BaseModel):
        """RFC 7591 §3.2.1, with each setting that it chose."""

        model_config = ConfigDict(extra="allow")

        client_id: str
        client_id_issued_at: int
        client_name: str
        grant_types: list[str]
        scope: str
        token_endpoint_auth_method: str
        client_secret: str | None = None
        client_secret_expires_at: int | None = None
        registration_client_uri: str
        registration_access_token: str

    return ClientInformation


def register() -> describing.Node:
    return {
        "tags": ["OAuth"],
        "operationId": "register",
        "summary": "Register as a client (RFC 7591)",
        "description": "Where `IDENTITY_REGISTRATION` allows it. With `open` anybody may, and is a "
        "public client; with a bearer token that holds `clients:write` it may be a confidential "
        "one. Either way it can ask users for OpenID Connect's scopes but `groups`, and for those "
        "that are open to clients that registered themselves.",
        "security": [{}, *_TOKEN],
        "requestBody": _BODY,
        "responses": _answers("201", "Registered.", 400, 401, 403, 408, 413, 415, 429, 503),
    }


def look() -> describing.Node:
    return {
        **_managing("look_at_registration", "See one's own registration (RFC 7592)"),
        "responses": _answers("200", "As it is.", 401, 403, 503),
    }


def update() -> describing.Node:
    return {
        **_managing("update_registration", "Change one's own registration (RFC 7592)"),
        "requestBody": _BODY,
        "responses": _answers(
            "200", "As it is now, with another token.", 400, 401, 403, 408, 413, 415, 503
        ),
    }


def remove() -> describing.Node:
    return {
        **_managing("remove_registration", "Take back one's own registration (RFC 7592)"),
        "responses": {
            "204": {"description": "It is gone, and all of its tokens are dead."},
            **describing.oauth_errors(401, 403, 503),
            **_off(),
        },
    }


def _managing(operation: str, summary: str) -> describing.Node:
    return {
        "tags": ["OAuth"],
        "operationId": operation,
        "summary": summary,
        "description": "By the registration access token.",
        "security": _TOKEN,
        "parameters": _PATH,
    }


def _answers(status: str, said: str, *refusals: int) -> describing.Node:
    return {
        status: {"description": said, "content": describing.body(_information())},
        **describing.oauth_errors(*refusals),
        **_off(),
    }


def _off() -> describing.Node:
    content = describing.body(describing.oauth_error_body())
    return {"404": {"description": "`IDENTITY_REGISTRATION` is off.", "content": content}}
