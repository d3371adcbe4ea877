"""The whole service, wired. Read this first.

A request passes `Edge` (request id, limits, headers, numbers), then `Lane` (the hot addresses,
plain callables) or, for everything else, FastAPI (`api.application`), which is not even imported
before somebody needs it. Both lanes speak of errors through `errors.render`.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from identity.api import welcome
from identity.api.me import profile
from identity.http.deferred import Deferred
from identity.http.describing import Words
from identity.http.edge import Edge
from identity.http.elsewhere import Readers
from identity.http.lane import Handler, Lane
from identity.http.stages import Stages
from identity.oauth import (
    challenge,
    device,
    device_answers,
    discovery,
    forward_auth,
    introspection,
    jwks,
    logout,
    protected_resource,
    pushing,
    revocation,
    status_lists,
    token,
    userinfo,
    webfinger,
)
from identity.oauth.authorize import endpoint as authorize
from identity.oauth.grants import registry
from identity.oauth.registration import endpoint as registration
from identity.oauth.registration import words as registration_words
from identity.oauth.revocation_feed import endpoint as revocations
from identity.pages import registry as pages
from identity.records import logs
from identity.service import health, tracing
from identity.service.bootstrap import prepare_database
from identity.service.housekeeping import Housekeeping
from identity.service.importing import IMPORT_LIMIT
from identity.service.wiring import Services
from identity.settings import Settings

READERS: Mapping[str, Readers] = {
    "/token": "clients",
    "/par": "clients",
    "/register": "clients",
    "/revoke": "clients",
    "/userinfo": "clients",
    "/authorize-challenge": "clients",
    "/.well-known/jwks.json": "everybody",
}
"""Whose pages, of other origins, may call what (`http.elsewhere`)."""


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
        self.token = token.TokenEndpoint(services)
        self.administration = Deferred(self._build_administration)
        # A scope's name may be a URL.
        self.lane = Lane(self.administration, with_slashes=(b"/scopes/",))
        self._revocations = revocations.Revocations(services)
        self._add_hot_addresses()
        issuer = services.settings.issuer
        addresses = [
            *discovery.addresses(issuer), *protected_resource.addresses(issuer), webfinger.ADDRESS
        ]  # fmt: skip
        if services.settings.registration.registration == "open":
            addresses.append("/register")
        found: dict[str, Readers] = dict.fromkeys(addresses, "everybody")
        super().__init__(
            self.lane,
            services.settings,
            services.metrics,
            lifespan=Stages(self._run),
            readers={**READERS, **found},
            large_bodies=dict.fromkeys(("/users/import", "/console/users-import"), IMPORT_LIMIT),
        )

    def _add_hot_addresses(self) -> None:
        services = self.services
        checks, gateway = health.Health(services), forward_auth.ForwardAuth(services)
        lists = status_lists.StatusLists(services)
        introspect = introspection.Introspection(services)
        metadata = discovery.Metadata(services, self.token.grants)
        described = protected_resource.Metadata(services)
        house = pages.House(services)
        authorizing = authorize.Authorize(services, house.refusing, registry.GRANTS)
        house.authorizations = authorizing
        leaving = logout.Logout(services, house.refusing, house.signed_out)
        house.logouts = leaving
        self.lane.lost = house.lost
        house.devices = device_answers.DeviceAnswers(services)
        house.grants = registry.GRANTS
        asking = device.DeviceAuthorization(services)
        challenging = challenge.AuthorizeChallenge(services)
        about = userinfo.Userinfo(services)
        own = registration.Registration(services, registry.GRANTS)
        hot: tuple[tuple[str, str, Handler, bool, Words], ...] = (
            ("POST", "/token", self.token, True, token.words),
            ("GET", "/authorize", authorizing, False, authorize.words),
            ("POST", "/authorize", authorizing, False, authorize.words_of_post),
            ("POST", "/par", pushing.Pushing(services, registry.GRANTS), True, pushing.words),
            ("POST", "/authorize-challenge", challenging, True, challenge.words),
            ("POST", "/device_authorization", asking, True, device.words),
            ("GET", "/userinfo", about, False, userinfo.words),
            ("POST", "/userinfo", about, False, userinfo.words),
            ("GET", "/logout", leaving, False, logout.words),
            ("POST", "/logout", leaving, False, logout.words_of_post),
            ("POST", "/register", own.register, True, registration_words.register),
            ("GET", "/register/{client_id}", own.look, True, registration_words.look),
            ("PUT", "/register/{client_id}", own.update, True, registration_words.update),
            ("DELETE", "/register/{client_id}", own.remove, True, registration_words.remove),
            ("POST", "/introspect", introspect, True, introspection.words),
            ("POST", "/revoke", revocation.Revocation(services), True, revocation.words),
            ("GET", "/revocations", self._revocations, True, revocations.words),
            ("GET", "/status-lists", lists.aggregation, False, status_lists.aggregation_words),
            ("GET", "/status-lists/{list_id}", lists.one, False, status_lists.one_words),
            ("GET", "/forward-auth", gateway, False, forward_auth.words),
            ("POST", "/forward-auth", gateway, False, forward_auth.words),
            ("GET", "/users/me", profile.WhoAmI(services), False, profile.words),
            ("GET", "/.well-known/jwks.json", jwks.Jwks(services), False, jwks.words),
            *(
                ("GET", path, metadata, False, discovery.words)
                for path in discovery.addresses(services.settings.issuer)
            ),
            *(
                ("GET", path, described, False, protected_resource.words)
                for path in protected_resource.addresses(services.settings.issuer)
            ),
            ("GET", webfinger.ADDRESS, webfinger.WebFinger(services), False, webfinger.words),
            ("GET", "/", welcome.Welcome(services).answer, False, welcome.words),
            ("GET", "/healthz", checks.alive, False, health.alive_words),
            ("GET", "/readyz", checks.ready, False, health.ready_words),
            ("GET", "/metrics", checks.metrics, False, health.metrics_words),
        )
        for method, path, handler, oauth, words in hot:
            self.lane.add(method, path, handler, oauth=oauth, words=words)
        for entry in pages.PAGES:
            door = pages.Door(house, entry)
            for method in entry.methods:
                self.lane.add(method, entry.path, door, oauth=False, words=None)

    def _build_administration(self) -> Any:
        from identity.api import application

        return application.build(
            self.services, registry.GRANTS, self.lane.described, self.lane.lost
        )

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        services = self.services
        services.db.when_lost = self.state.get("give_up", services.db.when_lost)
        await services.feed.catch_up()
        await services.ring.refresh()
        self.tracing = tracing.start(services)
        housekeeping = Housekeeping(services)
        housekeeping.start()
        try:
            yield
        finally:
            await self._revocations.broadcaster.close()
            await housekeeping.stop()
            await services.close()
            if self.tracing is not None:
                await self.tracing.close()
