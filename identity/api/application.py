"""Everything that is not hot: FastAPI, every slice's routes, and the pages that document them."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response as FastApiResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from identity import __version__
from identity.api import (
    all_sessions,
    audit,
    blocks,
    branding,
    connections,
    docs_pages,
    factors,
    keys,
    lockdown,
    mail,
    openapi,
    passkeys,
    stats,
)
from identity.api.access import routes as access
from identity.api.clients import logouts, preview
from identity.api.clients import routes as clients
from identity.api.issuers import routes as issuers
from identity.api.me import history, notices
from identity.api.me import routes as me
from identity.api.merge_patch import validation_failed
from identity.api.users import bulk, why
from identity.api.users import listing as users_listed
from identity.api.users import routes as users
from identity.directory.clients.grant_kinds import GrantKind
from identity.directory.clients.table import FIRST_PARTY
from identity.errors import (
    BearerError,
    Forbidden,
    IdentityError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    ServerError,
    render,
)
from identity.http import messages
from identity.http.lane import Lost, methods_served
from identity.http.messages import CHALLENGED
from identity.service.wiring import Services


def build(
    services: Services,
    grants: Sequence[GrantKind],
    described: openapi.Described,
    lost: Lost | None = None,
) -> FastAPI:
    """Built when first asked, in any thread. `described`: the hot addresses."""
    base = urlsplit(services.settings.issuer).path.rstrip("/")
    app: FastAPI = FastAPIOffline(
        docs_url=None,
        redoc_url=None,  # `docs_pages`, with the files that it brings
        title="Identity",
        version=__version__,
        description=openapi.DESCRIPTION,
        # Else `/users/` answers a redirect to whatever host and scheme the request names.
        redirect_slashes=False,
        servers=[{"url": base}] if base else None,
    )
    docs_pages.add(app, base, FIRST_PARTY if services.settings.sessions.default_client else None)
    app.state.services = services
    app.state.grants = grants
    app.state.lost = lost
    for slice_ in (
        me, notices, history, connections, factors, passkeys, bulk, users_listed, users, clients,
        logouts, issuers, access, keys, audit, mail, stats, all_sessions, blocks, lockdown, why,
        preview, branding,
    ):  # fmt: skip
        app.include_router(slice_.router)
    app.add_exception_handler(IdentityError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_invalid)
    app.add_exception_handler(HTTPException, _refuse_http)
    openapi.publish(app, described, [grant.grant_type for grant in grants], base)
    return app


async def _refuse(request: Request, error: Exception) -> FastApiResponse:
    assert isinstance(error, IdentityError)
    if isinstance(error, BearerError):
        error.dpop = request.scope.get(CHALLENGED)
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
        return await _nowhere(request, NotFound())
    if error.status_code == 405:
        allow = methods_served(request.app.routes, request.scope) or {"GET"}
        return await _nowhere(request, MethodNotAllowed(sorted(allow)))
    if error.status_code < 500:
        return await _refuse(request, InvalidRequest(str(error.detail)))
    return await _refuse(request, ServerError(audit=str(error.detail)))


async def _nowhere(request: Request, error: IdentityError) -> FastApiResponse:
    lost: Lost | None = request.app.state.lost
    asked = messages.Request(request.scope, request.receive)
    page = await lost(asked, error) if lost is not None else None
    if page is None:
        return await _refuse(request, error)
    response = FastApiResponse(page.body, page.status)
    response.raw_headers = list(page.headers)
    return response
