"""The whole service, wired. Read this first.

A request passes `Edge` (request id, limits, headers, numbers), then `Lane` (the hot addresses,
plain callables) or FastAPI (everything else). Both lanes speak of errors through `errors.render`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response as FastApiResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from identity import __version__, logs, openapi
from identity.access import routes as access
from identity.bootstrap import prepare_database
from identity.clients import routes as clients
from identity.discovery import Jwks, Metadata, addresses
from identity.edge import Edge
from identity.errors import (
    Forbidden,
    IdentityError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    ServerError,
    render,
)
from identity.fastlane import Handler, Lane, methods_served
from identity.forward_auth import ForwardAuth
from identity.grants.endpoint import TokenEndpoint
from identity.health import Health
from identity.housekeeping import Housekeeping
from identity.introspection import Introspection
from identity.keys import routes as keys
from identity.patching import validation_failed
from identity.reports import router as reports
from identity.revocation import Revocation
from identity.revocations.endpoint import Revocations
from identity.services import Services
from identity.settings import Settings
from identity.users import me
from identity.users import routes as users
from identity.users.profile import WhoAmI


def create_app(settings: Settings | None = None) -> ASGIApp:
    """The service as an ASGI application. Raises `SettingsError` where it cannot start."""
    settings = settings or Settings.load()
    logs.configure(settings.logs)
    services = Services.of(settings)
    revocations = Revocations(services)
    app = _fastapi(services, revocations)
    lane = Lane(app)
    token = TokenEndpoint(services)
    app.state.grant_types = tuple(token.grants)
    _add_hot_addresses(lane, services, token, revocations)
    openapi.publish(app, lane)
    return Edge(lane, settings, services.metrics)


def _add_hot_addresses(
    lane: Lane, services: Services, token: TokenEndpoint, revocations: Revocations
) -> None:
    health, described = Health(services), openapi.OPERATIONS
    forward_auth = ForwardAuth(services)
    metadata = Metadata(services, token.grants)
    hot: tuple[tuple[str, str, Handler, bool], ...] = (
        ("POST", "/token", token, True),
        ("POST", "/introspect", Introspection(services), True),
        ("POST", "/revoke", Revocation(services), True),
        ("GET", "/revocations", revocations, True),
        ("GET", "/forward-auth", forward_auth, False),
        ("POST", "/forward-auth", forward_auth, False),
        ("GET", "/users/me", WhoAmI(services), False),
        ("GET", "/.well-known/jwks.json", Jwks(services), False),
        *(("GET", path, metadata, False) for path in addresses(services.settings.issuer)),
        ("GET", "/healthz", health.alive, False),
        ("GET", "/readyz", health.ready, False),
        ("GET", "/metrics", health.metrics, False),
    )
    for method, path, handler, oauth in hot:
        lane.add(method, path, handler, oauth=oauth, openapi=described.get((method, path), {}))


def _fastapi(services: Services, revocations: Revocations) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await services.feed.catch_up()
        await services.ring.refresh()
        housekeeping = Housekeeping(services)
        housekeeping.start()
        try:
            yield
        finally:
            await revocations.broadcaster.close()
            await housekeeping.stop()
            await services.close()

    prepare_database(services.db, services.settings)
    app: FastAPI = FastAPIOffline(
        title="Identity",
        version=__version__,
        description=openapi.DESCRIPTION,
        lifespan=lifespan,
        swagger_ui_parameters={"persistAuthorization": True},
    )
    app.state.services = services
    for router in (me.router, users.router, clients.router, access.router, keys.router, reports):
        app.include_router(router)
    app.add_exception_handler(IdentityError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_invalid)
    app.add_exception_handler(HTTPException, _refuse_http)
    return app


async def _refuse(request: Request, error: Exception) -> FastApiResponse:
    assert isinstance(error, IdentityError)
    if isinstance(error, Forbidden):
        try:
            request.app.state.services.queue.put("access", outcome="refused", why=error.detail)
        except Overloaded as busy:
            error = busy
    status, headers, body = render(error, oauth=False)
    response = FastApiResponse(body, status)
    response.raw_headers = [*headers, (b"content-length", b"%d" % len(body))]
    return response


async def _refuse_invalid(request: Request, error: Exception) -> FastApiResponse:
    assert isinstance(error, RequestValidationError)
    return await _refuse(request, validation_failed(error))


async def _refuse_http(request: Request, error: Exception) -> FastApiResponse:
    """What Starlette's router says by itself."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return await _refuse(request, NotFound())
    if error.status_code == 405:
        allow = methods_served(request.app.routes, request.scope) or {"GET"}
        return await _refuse(request, MethodNotAllowed(sorted(allow)))
    if error.status_code < 500:
        return await _refuse(request, InvalidRequest(str(error.detail)))
    return await _refuse(request, ServerError(audit=str(error.detail)))
