"""Documents that others may keep for a while, and ask for again by their ETag."""

import hashlib
from collections.abc import Iterable
from typing import Any, Self

import orjson

from identity.http.messages import Request, Response

Header = tuple[bytes, bytes]


class Published:
    """`etag` with its quotes. Its age at others is at most `max_age` seconds."""

    def __init__(
        self,
        body: bytes,
        etag: str,
        content_type: bytes,
        max_age: int,
        headers: Iterable[Header] = (),
    ) -> None:
        self._etag = etag.encode()
        always = [
            (b"cache-control", b"public, max-age=%d" % max_age),
            (b"etag", self._etag),
            *headers,
        ]
        self._whole = Response(200, [(b"content-type", content_type), *always], body)
        self._unchanged = Response(304, always, b"")

    @classmethod
    def json(cls, document: Any, max_age: int) -> Self:
        """A document that changes only with its text."""
        body = orjson.dumps(document)
        etag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
        return cls(body, etag, b"application/json", max_age)

    def answer(self, request: Request) -> Response:
        """The document, or 304 where `If-None-Match` names it (RFC 9110 §13.1.2)."""
        known = request.header(b"if-none-match")
        if known is not None and (known == self._etag or known == b"*" or self._named(known)):
            return self._unchanged
        return self._whole

    def _named(self, known: bytes) -> bool:
        """By weak comparison (RFC 9110 §8.8.3.2)."""
        own = self._etag.removeprefix(b"W/")
        return own in [tag.strip().removeprefix(b"W/") for tag in known.split(b",")]
