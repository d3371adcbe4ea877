"""Whether the process is alive, whether it can serve, and what it counts."""

import asyncio
from functools import cache

from pydantic import BaseModel

from identity.errors import IdentityError
from identity.http import describing
from identity.http.messages import Request, Response, json_response
from identity.http.scrapers import Scrapers
from identity.service.wiring import Services
from identity.settings import SettingsError
from identity.store import migrating


class Health:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._scrapers = Scrapers(services.settings.server.metrics_allow)
        self._alive = json_response({"status": "alive"})

    async def alive(self, request: Request) -> Response:
        """`GET /healthz`: the process answers. Asks nothing of anyone."""
        return self._alive

    async def ready(self, request: Request) -> Response:
        """`GET /readyz`: database, schema and signing key, and not asked to stop; 503 with the
        reasons otherwise."""
        leaving = request.scope.get("state", {}).get("leaving")
        # At once: where the database says nothing, each of them waits for as long as it may.
        database, schema = await asyncio.gather(self._database(), self._schema())
        checks = {
            "service": "the service is about to stop" if leaving and leaving.is_set() else None,
            "database": database,
            "schema": schema,
            "signing_key": await self._signing_key() if database is None else None,
        }
        if all(reason is None for reason in checks.values()):
            return json_response({"status": "ready"})
        reasons = {name: reason for name, reason in checks.items() if reason is not None}
        return json_response(
            {"status": "not ready", "reasons": reasons}, 503, [(b"retry-after", b"1")]
        )

    async def metrics(self, request: Request) -> Response:
        """`GET /metrics`: Prometheus text exposition, or OpenMetrics, by Accept."""
        self._scrapers.check(request)
        kind, body = self._services.metrics.exposed(request.header(b"accept") or b"")
        return Response(200, [(b"content-type", kind), (b"vary", b"Accept")], body)

    async def _database(self) -> str | None:
        try:
            await self._services.feed.catch_up()
        except IdentityError:
            return "the database cannot be reached"
        return None

    async def _schema(self) -> str | None:
        try:
            await self._services.db.read(migrating.check)
        except SettingsError as error:
            return str(error)
        except IdentityError:
            return "the schema cannot be read"
        return None

    async def _signing_key(self) -> str | None:
        try:
            await self._services.ring.refresh()
            _ = self._services.ring.signer
        except IdentityError as error:
            return error.detail
        return None


@cache
def _status() -> type[BaseModel]:
    class Status(BaseModel):
        status: str
        reasons: dict[str, str] | None = None

    return Status


def alive_words() -> describing.Node:
    return {
        "tags": ["Operations"],
        "operationId": "alive",
        "summary": "Does the process answer?",
        "responses": {"200": {"description": "Yes.", "content": describing.body(_status())}},
    }


def ready_words() -> describing.Node:
    return {
        "tags": ["Operations"],
        "operationId": "ready",
        "summary": "Can it serve? Database, schema, signing key",
        "responses": {
            "200": {"description": "Yes.", "content": describing.body(_status())},
            "503": {"description": "No, and why.", "content": describing.body(_status())},
        },
    }


def metrics_words() -> describing.Node:
    return {
        "tags": ["Operations"],
        "operationId": "metrics",
        "summary": "Prometheus metrics",
        "responses": {
            "200": {
                "description": "Text exposition.",
                "content": {
                    "text/plain": {"schema": {"type": "string"}},
                    "application/openmetrics-text": {"schema": {"type": "string"}},
                },
            },
            **describing.problem(400, "An ambiguous header."),
            **describing.problem(401, "No token, or not the right one (`IDENTITY_METRICS_ALLOW`)."),
            **describing.problem(403, "Not from this address (`IDENTITY_METRICS_ALLOW`)."),
        },
    }
