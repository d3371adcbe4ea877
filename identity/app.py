"""The whole service, wired. Read this first.

A request passes `Edge` (request id, limits, headers, numbers), then `Lane` (the hot addresses,
plain callables) or, for everything else, FastAPI (`api.application`), which is not even imported
before somebody needs it. Both lanes speak of errors through `errors.render`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.routing import Router

from identity.api.me.profile import WhoAmI
from identity.api.welcome import Welcome
from identity.http.deferred import Deferred
from identity.http.edge import Edge
from identity.http.lane import Handler, Lane
from identity.oauth.discovery import Metadata, addresses
from identity.oauth.forward_auth import ForwardAuth
from identity.oauth.introspection import Introspection
from identity.oauth.jwks import Jwks
from identity.oauth.revocation import Revocation
from identity.oauth.revocation_feed.endpoint import Revocations
from identity.oauth.status_lists import StatusLists
from identity.oauth.token import TokenEndpoint
from identity.records import logs
from identity.service.bootstrap import prepare_database
from identity.service.health import Health
from identity.service.housekeeping import Housekeeping
from identity.service.wiring import Services
from identity.settings import Settings


def create_app(settings: Settings | None = None) -> "Identity":
    """The service as an ASGI application. Raises `SettingsError` where it cannot start."""
    settings = settings or Settings.load()
    logs.configure(settings.logs)
    services = Services.of(settings)
    prepare_database(services.db, settings)
    return Identity(services)


class Identity(Edge):
    def __init__(self, services: Services) -> None:
        self.services = services
        self.token = TokenEndpoint(services)
        self.administration = Deferred(self._build_administration)
        self.lane = Lane(
            self.administration, with_slashes=(b"/scopes/",)
        )  # a scope's name may be a URL
        self._revocations = Revocations(services)
        self._add_hot_addresses()
        stages = Router(lifespan=self._run)
        super().__init__(self.lane, services.settings, services.metrics, lifespan=stages)

    def _add_hot_addresses(self) -> None:
        services = self.services
        health, forward_auth = Health(services), ForwardAuth(services)
        lists = StatusLists(services)
        metadata = Metadata(services, self.token.grants)
        hot: tuple[tuple[str, str, Handler, bool], ...] = (
            ("POST", "/token", self.token, True),
            ("POST", "/introspect", Introspection(services), True),
            ("POST", "/revoke", Revocation(services), True),
            ("GET", "/revocations", self._revocations, True),
            ("GET", "/forward-auth", forward_auth, False),
            ("POST", "/forward-auth", forward_auth, False),
            ("GET", "/status-lists", lists.aggregation, False),
            ("GET", "/status-lists/{list_id}", lists.one, False),
            ("GET", "/users/me", WhoAmI(services), False),
            ("GET", "/.well-known/jwks.json", Jwks(services), False),
            *(("GET", path, metadata, False) for path in addresses(services.settings.issuer)),
            ("GET", "/", Welcome(services).answer, False),
            ("GET", "/healthz", health.alive, False),
            ("GET", "/readyz", health.ready, False),
            ("GET", "/metrics", health.metrics, False),
        )
        for method, path, handler, oauth in hot:
            self.lane.add(method, path, handler, oauth=oauth)

    def _build_administration(self) -> Any:
        from identity.api import application

        return application.build(self.services, self.token.grants)

    @asynccontextmanager
    async def _run(self, _: Any) -> AsyncIterator[None]:
        services = self.services
        services.db.when_lost = self.state.get("give_up", services.db.when_lost)
        await services.feed.catch_up()
        await services.ring.refresh()
        housekeeping = Housekeeping(services)
        housekeeping.start()
        try:
            yield
        finally:
            await self._revocations.broadcaster.close()
            await housekeeping.stop()
            await services.close()
