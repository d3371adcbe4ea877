"""Spans of requests and of what they wait for, sent by OTLP over HTTP.

A span says what is ours to say: route, method, status, a function's name, a host. Never a path
with values in it, a query, a header, or an exception's words. Of what a stranger sends only
`traceparent` is taken (W3C Trace Context §3.2), not `tracestate` and `baggage`, which are free
text.
"""

import asyncio
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from uuid import uuid4

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)
from opentelemetry.util.types import AttributeValue

from identity import __version__
from identity.dataclass import dataclass
from identity.records.audit import origin
from identity.records.metrics import Metrics
from identity.records.tracing.numbers import Numbers
from identity.settings import TracingSettings

WITHIN = 5  # seconds for one request to the collector
LAST_WORDS = 2.0  # seconds for what is left when the service stops
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_PARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)


@dataclass(slots=True)
class RequestTrace:
    """The span of a request. `id` is its trace's, as logs and exemplars name it."""

    span: Span
    id: str
    began: int = field(default_factory=time.time_ns)

    def end(self, method: str, route: str, status: int, seconds: float, request_id: str) -> str:
        span, known = self.span, method if method in _METHODS else "_OTHER"
        span.update_name(f"{known} {route}")
        span.set_attributes(
            {
                "http.request.method": known,
                "http.route": route,
                "http.response.status_code": status,
                "identity.request_id": request_id,
            }
        )
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(Status(StatusCode.ERROR))
        span.end(self.began + int(seconds * 1e9))
        return self.id


class Tracing:
    """One a process, in the event loop that serves."""

    def __init__(self, settings: TracingSettings, metrics: Metrics) -> None:
        endpoint = str(settings.otlp_endpoint).rstrip("/")
        headers = settings.headers()
        named = {"service.version": __version__, "service.instance.id": str(uuid4())}
        resource = Resource.create(named)
        if str(resource.attributes["service.name"]).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": "identity"}))
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.trace_ratio)),
            resource=resource,
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(f"{endpoint}/v1/traces", headers=headers, timeout=WITHIN)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("identity", __version__)
        self._numbers = Numbers(f"{endpoint}/v1/metrics", headers, WITHIN, resource, metrics)
        self._numbering = asyncio.create_task(self._numbers.run())

    def begin(self, fields: Mapping[bytes, bytes]) -> RequestTrace | None:
        """None where this trace is not one of those that are told."""
        context = _parent(fields.get(b"traceparent"))
        span = self._tracer.start_span("request", context, SpanKind.SERVER)
        if not span.is_recording():
            return None
        return RequestTrace(span, f"{span.get_span_context().trace_id:032x}")

    @contextmanager
    def within(
        self,
        name: str,
        attributes: Mapping[str, AttributeValue] | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Iterator[Span | None]:
        """A span of what the current request does; none where no request is being traced."""
        request = origin.get().trace
        if not isinstance(request, RequestTrace):
            yield None
            return
        context = trace.set_span_in_context(request.span)
        span = self._tracer.start_span(name, context, kind, attributes)
        try:
            yield span
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            span.end()

    async def close(self) -> None:
        """Tell what is left, for as long as `LAST_WORDS`: a collector that does not answer is no
        reason to stop late."""
        self._numbering.cancel()
        done, last = asyncio.Event(), self._numbers.gathered()
        loop = asyncio.get_running_loop()

        def tell() -> None:
            try:
                self._numbers.tell(last)
                self._provider.shutdown()
            finally:
                try:
                    loop.call_soon_threadsafe(done.set)
                except RuntimeError:  # the loop could not wait
                    return

        threading.Thread(target=tell, name="last-words", daemon=True).start()
        try:
            await asyncio.wait_for(done.wait(), LAST_WORDS)
        except TimeoutError:
            return


def _parent(header: bytes | None) -> Context:
    """An empty context where none is named, or not as the standard has it."""
    found = _PARENT.fullmatch(header) if header is not None and len(header) < 200 else None
    if found is None or (found[0][:2] == b"00" and len(found[0]) != 55):
        return Context()
    numbers = SpanContext(
        int(found[1], 16), int(found[2], 16), is_remote=True,
        trace_flags=TraceFlags(int(found[3], 16) & TraceFlags.SAMPLED),
    )  # fmt: skip
    return trace.set_span_in_context(NonRecordingSpan(numbers), Context())
