"""`GET /users/me`: the user behind a token, from memory."""

from identity.errors import Forbidden, InvalidRequest, ValidationFailed
from identity.http.messages import Request, Response, json_bytes
from identity.service.wiring import Services


class WhoAmI:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, request: Request) -> Response:
        live = await self._services.bearer(request.header(b"authorization"))
        if request.scope["query_string"]:
            _refuse_parameters(request)
        user = live.user
        if user is None:
            raise Forbidden("the token is a client's own: there is no user behind it")
        return json_bytes(user.shown, b'etag: "%d"\r\n' % user.version)


def _refuse_parameters(request: Request) -> None:
    """As FastAPI's addresses do: there are none to know."""
    try:
        names = request.query
    except InvalidRequest as error:
        raise ValidationFailed([("?", error.detail)]) from None
    if names:
        asked = [f"?{name[:100]}" for name in names]
        raise ValidationFailed([(name, f"no such parameter: {name}") for name in asked])
