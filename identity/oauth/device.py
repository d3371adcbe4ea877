"""`POST /device_authorization` (RFC 8628 §3.1): a device without a browser asks for codes, one for
itself and one for a person to type at `/device`."""

from typing import Any

from pydantic import BaseModel, Field

from identity.authentication.clients import check_may
from identity.directory.access import granting
from identity.directory.clients.registry import ClientSnapshot
from identity.errors import InvalidScope
from identity.http import describing
from identity.http.messages import Request, Response, json_response
from identity.oauth.grants.device_code import DeviceCode
from identity.records.audit import origin
from identity.records.audit.origins import network_of
from identity.service.wiring import Services
from identity.tokens import targets
from identity.tokens.devices import asking, user_codes

LONGEST_SCOPE = 2_000
REPEATABLE = frozenset({"resource"})


class DeviceAuthorization:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._own = frozenset({services.settings.audience, services.settings.issuer})
        self._page = f"{services.settings.issuer.rstrip('/')}/device"

    async def __call__(self, request: Request) -> Response:
        form = await request.form(REPEATABLE)
        services = self._services
        await services.feed.catch_up()
        client = await services.client_authentication(request, form)
        check_may(client, form, DeviceCode.grant_type)
        scopes = services.scopes.at_hand("*") or await services.scopes.get("*") or {}
        scope = _scope(form.get("scope"), client, scopes)
        asked = await asking.ask(
            services.db,
            client.id,
            scope=scope,
            resources=targets.targets(
                form.get("resource", "").split(), scope, client, self._own, scopes
            ),
            address=None if client.confidential else network_of(origin.get().address),
        )
        code = user_codes.shown(asked.user_code)
        return json_response(
            {
                "device_code": asked.device_code,
                "user_code": code,
                "verification_uri": self._page,
                "verification_uri_complete": f"{self._page}?user_code={code}",
                "expires_in": int(asked.expires_in.total_seconds()),
                "interval": asked.pause,
            }
        )


def _scope(asked: str | None, client: ClientSnapshot, scopes: dict[str, str | None]) -> str | None:
    """As asked for, if it can be. Whoever allows it is known later, and what they hold."""
    if asked is None:
        return None
    if len(asked) > LONGEST_SCOPE:
        raise InvalidScope("scope is too long")
    granting.granted(asked, home=scopes, client=client.scopes, holder=scopes.keys(), audience=None)
    return asked


def words() -> describing.Node:
    class DeviceAuthorizationResponse(BaseModel):
        """RFC 8628 §3.2."""

        device_code: str = Field(description="For the device alone.", examples=["dc_…"])
        user_code: str = Field(description="For a person to type.", examples=["WDJB-MJHT"])
        verification_uri: str = Field(description="Where they type it.")
        verification_uri_complete: str = Field(description="The same with the code in it.")
        expires_in: int = Field(description="Seconds.", examples=[600])
        interval: int = Field(
            description="Seconds between two questions at `/token`.", examples=[5]
        )

    members: dict[str, Any] = {
        "scope": {"type": "string", "description": "Separated by spaces."},
        "resource": {"type": "string", "format": "uri"},
        **describing.CLIENT,
    }
    return {
        "tags": ["OAuth"],
        "operationId": "device_authorization",
        "summary": "Ask for access on a device without a browser (RFC 8628)",
        "description": "Show the person `user_code` and `verification_uri`, then ask at `/token` "
        f"with the grant `{DeviceCode.grant_type}` until they have answered.",
        "security": describing.BY_CLIENT,
        "requestBody": describing.form(members, [], {"client_id": "tv", "scope": "openid"}),
        "responses": {
            "200": {
                "description": "The codes.",
                "content": describing.body(DeviceAuthorizationResponse),
            },
            **describing.oauth_errors(400, 401, 408, 413, 429, 503),
        },
    }
