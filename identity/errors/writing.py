"""The one writer of errors, and what else of an answer goes over the wire."""

import json
from typing import Any

from identity.errors.error import IdentityError
from identity.errors.oauth import OAuthError

Headers = list[tuple[bytes, bytes]]


def header_lines(headers: Headers) -> bytes:
    """`headers` as they go over the wire, each with its line's end. ValueError where one holds a
    line break: it would end the header, and begin what somebody else wrote."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
        raise ValueError("a header of the answer contains a line break")
    return lines


_NOT_IN_DESCRIPTION = {34: "'", 92: "/"}  # RFC 6749 §5.2 allows neither '"' nor '\\'


def description(error: IdentityError) -> str:
    """What may stand in an `error_description` (RFC 6749 §4.1.2.1): printable ASCII without '"'
    and backslash."""
    said = error.detail.translate(_NOT_IN_DESCRIPTION)
    return "".join(c if " " <= c <= "~" else "?" for c in said)


def render(error: IdentityError, *, oauth: bool) -> tuple[int, Headers, bytes]:
    """Status, headers and body of `error`; the only place that writes an error to the wire."""
    if oauth:
        content_type = b"application/json"
        document: dict[str, Any] = {
            "error": error.code,
            "error_description": error.detail.translate(_NOT_IN_DESCRIPTION),
            **(error.members() if isinstance(error, OAuthError) else {}),
        }
    else:
        content_type = b"application/problem+json"
        document = {
            "type": "about:blank",
            "title": error.title,
            "status": error.status,
            "detail": error.detail,
            **error.members(),
        }
    headers: Headers = [(b"content-type", content_type), (b"cache-control", b"no-store")]
    headers += [
        (name.lower().encode(), value.encode("latin-1", "replace"))
        for name, value in error.headers().items()
    ]
    return error.status, headers, json.dumps(document).encode()
