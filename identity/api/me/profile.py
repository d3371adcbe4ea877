"""`GET /users/me`: the user behind a token, from memory."""

from identity.directory.access.granting import ACCOUNT
from identity.directory.users.shown import UserOut
from identity.errors import Forbidden, InsufficientScope, InvalidRequest, ValidationFailed
from identity.http import describing
from identity.http.messages import Request, Response, json_bytes
from identity.service.wiring import Services


class WhoAmI:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, request: Request) -> Response:
        live = await self._services.bearer(request)
        if request.scope["query_string"]:
            _refuse_parameters(request)
        user = live.user
        if user is None:
            raise Forbidden("the token is a client's own: there is no user behind it")
        if not live.sees_account:
            raise InsufficientScope(f"the token lacks the scope {ACCOUNT}", scope=ACCOUNT)
        return json_bytes(user.shown, b'etag: "%d"\r\n' % user.version)


def _refuse_parameters(request: Request) -> None:
    """As FastAPI's addresses do: there are none to know."""
    try:
        names = request.query
    except InvalidRequest as error:
        raise ValidationFailed([("?", error.detail)]) from None
    if names:
        asked = [f"?{name[:100]}" for name in names]
        raise ValidationFailed([(name, "no such parameter; there are none") for name in asked])


def words() -> describing.Node:
    return {
        "tags": ["Self-service"],
        "operationId": "get_me",
        "summary": "Who am I?",
        "security": [{"OAuth2": []}],
        "responses": {
            "200": {
                "description": "The user behind the token.",
                "content": describing.body(UserOut),
            },
            **describing.problem(400, "An ambiguous header."),
            **describing.problem(
                401, "No token, one that is not alive, or one for another audience."
            ),
            **describing.problem(403, "The token is a client's own, or lacks the scope `account`."),
            **describing.problem(422, "A query parameter: there are none."),
            **describing.unavailable(),
        },
    }
