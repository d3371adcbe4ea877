"""Who is asking: client authentication at the OAuth endpoints (RFC 6749 §2.3)."""

from hashlib import sha256
from hmac import compare_digest

from identity.clock import now
from identity.directory.clients.registry import Clients, ClientSnapshot
from identity.directory.clients.table import FIRST_PARTY
from identity.errors import InvalidClient, InvalidRequest
from identity.http.forms import parse_basic
from identity.opaque import digest
from identity.records import audit
from identity.records.audit import AuditQueue

PROVEN = 2_000
"""Headers remembered."""
_POSTED = frozenset({"client_id", "client_secret"})

NOBODY = " "
"""No client's id, and no secret's digest."""
METHODS = ("client_secret_basic", "client_secret_post", "none")


class ClientAuthentication:
    """The caller has awaited `feed.catch_up()`.

    Siblings send the same header with every request. One that has proved a client is known again
    by its digest, for as long as the client is remembered unchanged.
    """

    def __init__(self, clients: Clients, queue: AuditQueue, *, default_client: bool) -> None:
        self._clients = clients
        self._queue = queue
        self._default = default_client
        self._proven: dict[bytes, tuple[ClientSnapshot, float | None]] = {}

    async def __call__(self, authorization: bytes | None, form: dict[str, str]) -> ClientSnapshot:
        """The client, authenticated where it has secrets to do so with.

        A request that names none is served by the built-in public client, if that is switched
        on. Raises `InvalidRequest` for two methods at once, `InvalidClient`.
        """
        header = None
        if authorization is not None and form.keys().isdisjoint(_POSTED):
            header = sha256(authorization).digest()
            if client := self._known_again(header):
                audit.act_as("client", client.id)
                return client
        client_id, secret, method = _credentials(authorization, form)
        if client_id is None:
            if not self._default:
                raise InvalidClient("the request names no client")
            client_id = FIRST_PARTY
        if client_id == FIRST_PARTY and not self._default:
            raise self._refused(client_id, _Refused("the built-in client is switched off"))
        client = self._clients.at_hand(client_id)
        looked_up = client is None
        if client is None:
            client = await self._clients.get(client_id)
        try:
            expires = self._check(client, secret, method)
        except _Refused as refusal:
            if not looked_up:
                # What is remembered exists: without this the time would say so.
                await self._clients.look_up(NOBODY)
            raise self._refused(client_id, refusal, known=client is not None) from None
        assert client is not None
        if header is not None and client.confidential:
            self._remember(header, client, expires)
        audit.act_as("client", client.id)
        return client

    def _known_again(self, header: bytes) -> ClientSnapshot | None:
        client, expires = self._proven.get(header, (None, None))
        if client is None or self._clients.at_hand(client.id) is not client:
            return None
        return client if expires is None or expires > now() else None

    def _remember(self, header: bytes, client: ClientSnapshot, expires: float | None) -> None:
        if len(self._proven) >= PROVEN:
            del self._proven[next(iter(self._proven))]
        self._proven[header] = (client, expires)

    def _check(
        self, client: ClientSnapshot | None, secret: str | None, method: str
    ) -> float | None:
        """When the secret expires, None for never. As much work for a client that is not there."""
        given, moment = digest(secret or ""), now()
        secrets = client.secrets if client is not None else ((NOBODY, None),)
        matches = [expires for known, expires in secrets if compare_digest(known, given)]
        if client is None:
            raise _Refused("unknown")
        if not client.active:
            raise _Refused("disabled")
        if secret is None:
            if not client.confidential:
                return None
            raise _Refused("no secret given")
        if not client.confidential:
            words = "the client is public and has no secret: send its client_id alone"
            raise _Refused("public client sent a secret", words)
        for expires in matches:
            if expires is None or expires > moment:
                _check_method(client, method)
                return expires
        raise _Refused("expired secret" if matches else "wrong secret")

    def _refused(
        self, client_id: str, refusal: "_Refused", *, known: bool = False
    ) -> InvalidClient:
        why = str(refusal)
        self._queue.refused(
            "client.authentication", {"why": why}, client_id=client_id[:100], known_client=known
        )
        return InvalidClient(refusal.public, audit=why)


class _Refused(Exception):
    """Says why, for the audit alone; `public` is what the client hears in place of nothing."""

    def __init__(self, why: str, public: str | None = None) -> None:
        super().__init__(why)
        self.public = public


def _check_method(client: ClientSnapshot, method: str) -> None:
    """One that has proved itself hears by which method it was to do so."""
    registered = client.settings.token_endpoint_auth_method
    if registered not in (None, method):
        words = f"the client is registered to authenticate by {registered}"
        raise _Refused(f"by {method} instead of {registered}", words)


def _credentials(
    authorization: bytes | None, form: dict[str, str]
) -> tuple[str | None, str | None, str]:
    """The client's id and secret, and the one method used (RFC 6749 §2.3: not more than one)."""
    posted_id, posted_secret = form.get("client_id"), form.get("client_secret")
    if authorization is None or _is_blank(authorization):
        if posted_secret is not None and posted_id is None:
            raise InvalidRequest("client_secret came without client_id")
        return posted_id, posted_secret, "client_secret_post" if posted_secret else "none"
    client_id, secret = parse_basic(authorization)
    if posted_secret is not None:
        raise InvalidRequest("the client authenticates in two ways at once")
    if posted_id is not None and posted_id != client_id:
        raise InvalidRequest("client_id differs from the authenticated client")
    # An empty secret is none (RFC 6749 §2.3.1).
    return client_id, secret or None, "client_secret_basic"


def _is_blank(authorization: bytes) -> bool:
    """Basic credentials of nobody, without a secret: what the Authorize button of Swagger UI sends
    where its client fields were left empty."""
    scheme, _, credentials = authorization.partition(b" ")
    return scheme.lower() == b"basic" and credentials.strip(b" ") == b"Og=="  # ":"
