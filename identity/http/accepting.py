"""Media types: what a client would rather read (RFC 9110 §12.5.1), and what is JSON."""

from collections.abc import Collection

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_JSON = frozenset({"application/json", "application/problem+json"})
LONGEST = 1000
"""Bytes of a header that are looked at."""


def prefers_page(accept: bytes | None) -> bool:
    """Whether it shows people pages, as browsers do when somebody goes to an address: it names
    HTML, and JSON, if at all, after that. A program that takes anything names neither."""
    html = _wish(accept, _HTML)
    return html > 0 and html > _wish(accept, _JSON)


def asks_for(media_type: str, accept: bytes) -> bool:
    """Whether it names `media_type`, and does not rather have JSON."""
    wish = _wish(accept, {media_type})
    return wish > 0 and wish >= _wish(accept, _JSON)


def is_json(content_type: str) -> bool:
    """`application/json`, or a type that ends in `+json` (RFC 6839 §3.1)."""
    kind, _, name = content_type.partition(";")[0].strip().lower().partition("/")
    return kind == "application" and (name == "json" or name.endswith("+json"))


def _wish(accept: bytes | None, media_types: Collection[str]) -> float:
    """How much it would like to have one of these, by name; 0: not at all."""
    most = 0.0
    for each in (accept or b"")[:LONGEST].decode("latin-1").lower().split(","):
        name, *parameters = (part.strip() for part in each.split(";"))
        if name in media_types:
            most = max(most, _quality(parameters))
    return most


def _quality(parameters: list[str]) -> float:
    """0 for what is no number between 0 and 1."""
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                quality = float(parameter[2:])
            except ValueError:
                return 0.0
            return quality if 0 <= quality <= 1 else 0.0
    return 1.0
