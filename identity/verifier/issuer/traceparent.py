"""What a request to the issuer says of the trace that it belongs to (W3C Trace Context §3.2)."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final

came_with: Final[ContextVar[Iterable[tuple[bytes, bytes]]]] = ContextVar("headers", default=())
"""The headers of the request whose token is being verified; read where the issuer is asked."""
_SANE: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def headers() -> dict[str, str]:
    """Of the span in force, where this service traces by OpenTelemetry, which is not imported for
    that; else of the request that brought the token, led on as it came."""
    api = sys.modules.get("opentelemetry.trace")
    if api is not None:
        span = api.get_current_span().get_span_context()
        if span.is_valid:
            ids = f"{span.trace_id:032x}-{span.span_id:016x}"
            return {"traceparent": f"00-{ids}-{int(span.trace_flags):02x}"}
    for name, value in came_with.get():
        if name == b"traceparent":
            return {"traceparent": value.decode()} if _SANE.fullmatch(value) else {}
    return {}
