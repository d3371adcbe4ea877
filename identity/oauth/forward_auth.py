"""`GET|POST /forward-auth`: a gateway asks whether to let a request through, and as whom.

For nginx `auth_request`, Traefik `forwardAuth`, Caddy `forward_auth`: 200 with who asks in
headers, or 401 and 403 with the challenge that the client should see (RFC 6750 §3).

What the upstream needs stands in the query, which is the gateway's alone; headers may be the
client's. `scope`: all of these, separated by spaces. `audience`: the token must be for one of
these, else for the default one: a token for one resource opens no other (RFC 9068 §4). `address`:
where clients reach the upstream, for tokens that are bound to a key (RFC 9449); what is asked for
there says `X-Forwarded-Uri` or `X-Original-URI`, and how `X-Forwarded-Method` or
`X-Original-Method`, which the gateway has to set.
"""

from urllib.parse import quote

from identity.authentication.bearer import is_bound
from identity.dataclass import dataclass
from identity.directory.access import granting
from identity.directory.clients.registry import ClientSnapshot
from identity.directory.users.snapshot import UserSnapshot
from identity.errors import BearerError, Headers, InvalidRequest, InvalidToken
from identity.http import describing
from identity.http.messages import CHALLENGED, Request, Response
from identity.service.wiring import Services
from identity.tokens.live import Live
from identity.tokens.subjects import is_pairwise

REMEMBERED = 256  # ways to ask; a gateway has one a route
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")


@dataclass(frozen=True, slots=True)
class _Needed:
    scopes: tuple[str, ...]
    audiences: frozenset[str]
    address: str | None


@dataclass(frozen=True, slots=True)
class _Answer:
    """Made once a token, as long as its user and client stay what they are."""

    user: UserSnapshot | None
    client: ClientSnapshot
    scopes: frozenset[str]
    audience: tuple[str, ...]
    response: Response


class ForwardAuth:
    def __init__(self, services: Services) -> None:
        self._bearer = services.bearer
        self._default = frozenset({services.settings.audience})
        self._asked: dict[bytes, _Needed] = {}

    async def __call__(self, request: Request) -> Response:
        query = request.scope["query_string"]
        needed = self._asked.get(query) or self._read(query, request)
        try:
            return await self._admit(request, needed)
        except BearerError as error:
            if needed.address is None:  # no proof could be of what it was asked for
                request.scope.pop(CHALLENGED, None)
            error.scope = " ".join(needed.scopes) or None
            error.metadata = None  # ours says nothing of what is behind the gateway
            raise

    async def _admit(self, request: Request, needed: _Needed) -> Response:
        passed_on = None
        try:
            if is_bound(request):
                passed_on = _passed_on(request, needed)
            live = await self._bearer(request, of_any_audience=True, passed_on=passed_on)
        except InvalidRequest as error:  # to a gateway 400 is a failure of its own
            raise InvalidToken(error.detail) from None
        answer = self._answer(live)
        if not answer.scopes.issuperset(needed.scopes):
            # Which says so, and notes it.
            live = await self._bearer(
                request, *needed.scopes, of_any_audience=True, passed_on=passed_on
            )
            answer = self._answer(live)
        if needed.audiences.isdisjoint(answer.audience):
            raise InvalidToken("the token is for another audience")
        return answer.response

    def _read(self, query: bytes, request: Request) -> _Needed:
        parameters = request.query
        needed = _Needed(
            granting.parse(parameters.get("scope", "")),
            frozenset(parameters.get("audience", "").split()) or self._default,
            parameters.get("address"),
        )
        if len(self._asked) < REMEMBERED:
            self._asked[query] = needed
        return needed

    def _answer(self, live: Live) -> _Answer:
        made: _Answer | None = live.known.forwarded
        if made is None or made.user is not live.user or made.client is not live.client:
            made = _Answer(
                live.user, live.client, frozenset(live.scopes), live.known.audience,
                Response(200, _told(live), b""),
            )  # fmt: skip
            live.known.forwarded = made
        return made


def _passed_on(request: Request, needed: _Needed) -> tuple[str, str]:
    """Method and address of the request that the gateway asks about."""
    path = request.header(b"x-forwarded-uri") or request.header(b"x-original-uri")
    method = request.header(b"x-forwarded-method") or request.header(b"x-original-method")
    if needed.address is None or path is None or method is None:
        raise InvalidToken(
            "tokens that are bound to a key cannot be used here",
            audit="the gateway does not say what it was asked for: address, X-Forwarded-Uri, "
            "X-Forwarded-Method",
        )
    where = path.partition(b"?")[0].decode("latin-1")
    return method.decode("latin-1"), needed.address.rstrip("/") + where


def _told(live: Live) -> Headers:
    """Every header every time, if empty: a gateway that copies them then leaves none of the
    client's own standing. Lists are separated by spaces."""
    user = live.user
    shown = None if is_pairwise(live.client) else user
    return [
        (b"x-user", _safe(shown.username) if shown else b""),
        (b"x-subject", _safe(live.claims.subject)),
        (b"x-subject-type", b"user" if user else b"client"),
        (b"x-client", _safe(live.client.id)),
        (b"x-scopes", b" ".join(map(_safe, live.scopes))),
        (b"x-roles", b" ".join(map(_safe, shown.roles)) if shown else b""),
        (b"x-session", _safe(live.claims.session or "")),
    ]


def _safe(text: str) -> bytes:
    """Percent-encoded UTF-8 (RFC 3986 §2.1) but for what a header may hold as it is; so no name
    can end a header or a list."""
    return quote(text, safe=_PLAIN).encode("ascii")


_TOLD = {
    "X-User": "Username; empty where a client acts for itself.",
    "X-Subject": "The token's `sub`.",
    "X-Subject-Type": "Whose that is: `user`, or `client` where one acts for itself.",
    "X-Client": "The token's `client_id`.",
    "X-Scopes": "What the token may do now, separated by spaces.",
    "X-Roles": "The user's roles, separated by spaces.",
    "X-Session": "The token's `sid`, or empty.",
}


def words() -> describing.Node:
    return {
        "tags": ["OAuth"],
        "operationId": "forward_auth",
        "summary": "May this request pass, and as whom?",
        "description": "For gateways (nginx `auth_request`, Traefik `forwardAuth`, Caddy "
        "`forward_auth`). Values of the headers are percent-encoded UTF-8 where they are not "
        "plain ASCII.",
        "security": [{"OAuth2": []}],
        "parameters": [
            describing.query("scope", {"type": "string"}, "Scopes needed, separated by spaces."),
            describing.query(
                "audience",
                {"type": "string"},
                "Audiences of which the token must be for one, separated by spaces. By default "
                "the service's own default audience.",
            ),
            describing.query(
                "address",
                {"type": "string", "format": "uri"},
                "Where clients reach the upstream, for tokens that are bound to a key (RFC 9449); "
                "its path follows in `X-Forwarded-Uri` or `X-Original-URI`, the method in "
                "`X-Forwarded-Method` or `X-Original-Method`.",
            ),
        ],
        "responses": {
            "200": {
                "description": "It may; the headers say as whom.",
                "headers": {
                    name: {"description": meaning, "schema": {"type": "string"}}
                    for name, meaning in _TOLD.items()
                },
            },
            **describing.problem(400, "The query is malformed."),
            **describing.problem(
                401, "No token, or one that is not good here; see `WWW-Authenticate`."
            ),
            **describing.problem(403, "The token lacks a scope; see `WWW-Authenticate`."),
            **describing.unavailable(),
        },
    }
