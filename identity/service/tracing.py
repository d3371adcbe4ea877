"""Wraps what requests wait for, where traces are wanted (docs/tracing.md). Nothing else in the
service knows of them but the edge, which begins and ends a request's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from identity.service.wiring import Services

if TYPE_CHECKING:
    from identity.http.exchanging import Ask, Fetched
    from identity.records.tracing.spans import Tracing

Waits = Callable[..., Awaitable[Any]]


def start(services: Services) -> Tracing | None:
    """None where nobody wants any: OpenTelemetry is not even imported then."""
    if services.settings.tracing.otlp_endpoint is None:
        return None
    from identity.records.tracing.spans import Tracing

    tracing = Tracing(services.settings.tracing, services.metrics)
    _trace_database(services, tracing)
    _trace_hashing(services, tracing)
    _trace_exchanges(services, tracing)
    return tracing


def _trace_database(services: Services, tracing: Tracing) -> None:
    system = services.db.dialect

    def wrapped(name: str, inner: Waits) -> Waits:
        async def traced(*given: Any, **named: Any) -> Any:
            about: dict[str, str] = {"db.system.name": system}
            if given and callable(given[0]):
                about["code.function.name"] = _name(given[0])
            with tracing.within(name, about):
                return await inner(*given, **named)

        return traced

    for name in ("read", "write", "write_plain", "write_at_once", "query", "apply"):
        setattr(services.db, name, wrapped(f"database {name}", getattr(services.db, name)))
    if system == "postgresql":  # SQLite answers in the loop, most times without a question
        feed: Any = services.feed
        feed.catch_up = wrapped("change feed", feed.catch_up)


def _trace_hashing(services: Services, tracing: Tracing) -> None:
    inner = services.pool.run

    async def traced(asked: Any, job: Callable[..., Any], *given: Any) -> Any:
        asked_at, waited = perf_counter(), 0.0

        def begun() -> Any:
            nonlocal waited
            waited = perf_counter() - asked_at
            return job(*given)

        with tracing.within("password hashing") as span:
            try:
                return await inner(asked, begun)
            finally:
                if span is not None:
                    span.set_attribute("identity.waited_seconds", waited)

    services.pool.run = traced  # type: ignore[method-assign]


def _trace_exchanges(services: Services, tracing: Tracing) -> None:
    """What is asked of others is no part of our trace for them: they are sent nothing of it."""
    exchanges = services.fetcher.exchanges
    inner = exchanges.exchange

    async def traced(url: Any, ask: Ask) -> Fetched:
        from opentelemetry.trace import SpanKind

        asks = {"http.request.method": ask.method, "server.address": str(url.host)}
        with tracing.within(f"{ask.method} elsewhere", asks, SpanKind.CLIENT) as span:
            answer = await inner(url, ask)
            if span is not None:
                span.set_attribute("http.response.status_code", answer.status)
            return answer

    exchanges.exchange = traced  # type: ignore[method-assign]


def _name(what: Any) -> str:
    """Of a unit of work. It is code of ours, and has no value of anybody's in it."""
    while isinstance(what, partial):
        what = what.func
    return str(getattr(what, "__qualname__", type(what).__name__))
