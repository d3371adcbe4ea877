"""`GET /users/me`: the user behind a token, from memory."""

from identity.errors import Forbidden
from identity.fastlane import Request, Response
from identity.services import Services


class WhoAmI:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, request: Request) -> Response:
        live = await self._services.bearer(request.header(b"authorization"))
        user = live.user
        if user is None:
            raise Forbidden("the token is a client's own: there is no user behind it")
        made = live.known.answers.get("profile")
        if made is None or made[0] is not user:
            headers = [(b"content-type", b"application/json"), (b"etag", user.etag)]
            made = live.known.answers["profile"] = (user, Response(200, headers, user.body))
        response: Response = made[1]
        return response
