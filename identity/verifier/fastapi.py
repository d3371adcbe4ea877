"""FastAPI: a verified token as a dependency, and the OpenAPI document that goes with it.

identity = Identity(ISSUER, AUDIENCE, client_id=..., client_secret=...)
app = FastAPI(lifespan=identity.lifespan)
identity.install(app)

@app.get("/orders")
async def orders(token: Annotated[VerifiedToken, identity.require("orders:read")]): ...
"""

import inspect
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Security
from fastapi.openapi.models import HTTPBearer, OAuth2, OAuthFlowPassword, OAuthFlows
from fastapi.responses import JSONResponse
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from identity.verifier import levels
from identity.verifier.asgi import authenticate
from identity.verifier.errors import TokenRefused
from identity.verifier.resource import ProtectedResource, origin_of
from identity.verifier.verifier import VerifiedToken, Verifier

__all__ = ["Identity", "VerifiedToken", "require"]

_PASSWORD_SCHEME = "Identity"  # noqa: S105 - the name under which OpenAPI lists it
_BEARER_SCHEME = "Bearer token"


class Identity:
    """Dependencies that verify tokens of `issuer` for `audience`.

    Itself it is one that takes any good token: `Annotated[VerifiedToken, Depends(identity)]`.

    scopes      what each scope lets one do, for the OpenAPI page and the metadata: names with
                descriptions, or names alone; the page asks for all of them, unless told otherwise
    resource    this service's own address, where the audience is none (RFC 9728)
    name, documentation   of the service, for its metadata
    token_url   where the page's Authorize button logs in; the issuer's `/token` by default
    verifier    one that is there already, instead of `options`
    options     those of `Verifier`
    """

    def __init__(
        self,
        issuer: str = "",
        audience: str | Collection[str] = "",
        *,
        scopes: Mapping[str, str] | Collection[str] = (),
        resource: str | None = None,
        name: str | None = None,
        documentation: str | None = None,
        token_url: str | None = None,
        verifier: Verifier | None = None,
        **options: Any,
    ) -> None:
        if resource is not None:
            options.setdefault("address", origin_of(resource))
        self.verifier = verifier or Verifier(issuer, audience, **options)
        described = dict(scopes) if isinstance(scopes, Mapping) else dict.fromkeys(scopes, "")
        self.resource = ProtectedResource.of(
            self.verifier.audience,
            self.verifier.issuer,
            identifier=resource,
            scopes=tuple(described),
            name=name,
            documentation=documentation,
            dpop=self.verifier.dpop_algorithms,
            certificates=self.verifier.certificates is not None,
        )
        base = self.verifier.issuer.rstrip("/")
        flow = OAuthFlowPassword(tokenUrl=token_url or f"{base}/token", scopes=described)
        self.password_scheme = _Scheme(
            _PASSWORD_SCHEME,
            OAuth2(
                flows=OAuthFlows(password=flow),
                description=f"Log in at {self.verifier.issuer}",
            ),
        )
        # FastAPI reads a dependency's parameters from its signature; an instance's own is made
        # here, because the schemes differ from instance to instance.
        self.__signature__ = _signature(self.password_scheme)

    async def __call__(self, connection: HTTPConnection, **_: Any) -> VerifiedToken:
        return await self.authenticate(connection)

    def require(self, *scopes: str, acr: str | None = None, max_age: int | None = None) -> Any:
        """A dependency on a token with all of these scopes, to put into `Annotated`, behind `=`
        or among `dependencies`. Its login has to be of the level `acr` and at most `max_age`
        seconds old, where that is asked."""

        async def token(connection: HTTPConnection, **_: Any) -> VerifiedToken:
            return await self.authenticate(connection, *scopes, acr=acr, max_age=max_age)

        token.__signature__ = _signature(self.password_scheme)  # type: ignore[attr-defined]
        return Security(token, scopes=list(scopes))

    async def authenticate(
        self,
        connection: HTTPConnection,
        *scopes: str,
        acr: str | None = None,
        max_age: int | None = None,
    ) -> VerifiedToken:
        """The connection's token; the HTTPException that refuses it as RFC 6750 and 9470 say."""
        try:
            token = await authenticate(self.verifier, connection.scope, *scopes)
            levels.check(token.claims, acr, max_age, self.verifier.clock.now())
            return token
        except TokenRefused as refused:
            needed = sorted(self.verifier.scopes.union(scopes))
            raise HTTPException(
                refused.status, refused.description, self.resource.headers(refused, needed)
            ) from refused

    @property
    def router(self) -> APIRouter:
        """`GET /.well-known/oauth-protected-resource…`, where the resource has an address."""
        router = APIRouter()
        path = self.resource.metadata_path
        if path is not None:

            async def protected_resource() -> JSONResponse:
                caching = {"Cache-Control": "public, max-age=3600"}
                return JSONResponse(self.resource.metadata(), headers=caching)

            router.add_api_route(path, protected_resource, include_in_schema=False)
        return router

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """Runs the verifier: `FastAPI(lifespan=identity.lifespan)`, or within one's own."""
        async with self.verifier:
            yield

    def install(self, app: FastAPI) -> None:
        """Answer the metadata in `app`, and let `require` of this module find this identity."""
        app.state.identity = self
        app.include_router(self.router)
        if scopes := self.resource.scopes:
            # Ticked from the start: scopes of one resource also pick its audience.
            page = {"scopes": " ".join(scopes)}
            app.swagger_ui_init_oauth = page | (app.swagger_ui_init_oauth or {})
        made = app.openapi

        def openapi() -> dict[str, Any]:
            document = made()
            schemes = document.get("components", {}).get("securitySchemes", {})
            if _PASSWORD_SCHEME in schemes:
                schemes[_PASSWORD_SCHEME] = self.password_scheme.model.model_dump(
                    mode="json", by_alias=True, exclude_none=True
                )
            return document

        app.openapi = openapi  # type: ignore[method-assign]


def require(*scopes: str, acr: str | None = None, max_age: int | None = None) -> Any:
    """`Identity.require` of whichever identity is installed in the app: for routers in files
    that do not know it."""

    async def token(connection: HTTPConnection, **_: Any) -> VerifiedToken:
        identity = getattr(connection.app.state, "identity", None)
        if not isinstance(identity, Identity):
            raise RuntimeError("require() needs identity.install(app)")
        return await identity.authenticate(connection, *scopes, acr=acr, max_age=max_age)

    token.__signature__ = _signature(_ANY_PASSWORD)  # type: ignore[attr-defined]
    return Security(token, scopes=list(scopes))


class _Scheme(SecurityBase):
    """Only for the OpenAPI document; FastAPI's own schemes do not work for WebSockets."""

    def __init__(self, name: str, model: OAuth2 | HTTPBearer) -> None:
        self.scheme_name = name
        self.model = model

    async def __call__(self) -> None:
        return None


# A stand-in under the same name; `install` puts the real one into the OpenAPI document.
_ANY_PASSWORD = _Scheme(
    _PASSWORD_SCHEME,
    OAuth2(flows=OAuthFlows(password=OAuthFlowPassword(tokenUrl="token", scopes={}))),
)
_BEARER = _Scheme(_BEARER_SCHEME, HTTPBearer(bearerFormat="JWT"))


def _signature(password: _Scheme) -> inspect.Signature:
    def of(
        connection: HTTPConnection,
        password_scheme: Annotated[None, Depends(password)],
        bearer_scheme: Annotated[None, Depends(_BEARER)],
    ) -> None: ...

    return inspect.signature(of)
