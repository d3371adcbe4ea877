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
        client_id, secret = _credentials(authorization, form)
        if client_id is None:
            if not self._default:
                raise InvalidClient("the request names no client")
            client_id = FIRST_PARTY
        if client_id == FIRST_PARTY and not self._default:
            raise self._refused(client_id, "the built-in client is switched off")
        if "\0" in client_id:
            raise self._refused(client_id, "malformed")
        client = await self._clients.get(client_id)
        if client is None or not client.active:
            # As much work as for a client that exists.
            compare_digest(digest(secret or ""), digest(client_id))
            raise self._refused(client_id, "disabled" if client else "unknown")
        if client.confidential or secret is not None:
            expires = self._check(client, secret)
            if header is not None:
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

    def _check(self, client: ClientSnapshot, secret: str | None) -> float | None:
        """When the secret expires, None for never."""
        if secret is None:
            raise self._refused(client.id, "no secret given")
        if not client.confidential:
            words = "the client is public and has no secret: send its client_id alone"
            raise self._refused(client.id, "public client sent a secret", words)
        given, moment = digest(secret), now()
        matches = [expires for known, expires in client.secrets if compare_digest(known, given)]
        for expires in matches:
            if expires is None or expires > moment:
                return expires
        raise self._refused(client.id, "expired secret" if matches else "wrong secret")

    def _refused(self, client_id: str, why: str, public: str | None = None) -> InvalidClient:
        self._queue.put(
            "client.authentication", outcome="refused", client_id=client_id[:100], why=why
        )
        return InvalidClient(public, audit=why)


def _credentials(
    authorization: bytes | None, form: dict[str, str]
) -> tuple[str | None, str | None]:
    """The client's id and secret by the one method used (RFC 6749 §2.3: not more than one)."""
    posted_id, posted_secret = form.get("client_id"), form.get("client_secret")
    if authorization is None or _is_blank(authorization):
        if posted_secret is not None and posted_id is None:
            raise InvalidRequest("client_secret came without client_id")
        return posted_id, posted_secret
    client_id, secret = parse_basic(authorization)
    if posted_secret is not None:
        raise InvalidRequest("the client authenticates in two ways at once")
    if posted_id is not None and posted_id != client_id:
        raise InvalidRequest("client_id differs from the authenticated client")
    return client_id, secret or None  # an empty secret is none (RFC 6749 §2.3.1)


def _is_blank(authorization: bytes) -> bool:
    """Basic credentials of nobody, without a secret: what the Authorize button of Swagger UI sends
    where its client fields were left empty."""
    scheme, _, credentials = authorization.partition(b" ")
    return scheme.lower() == b"basic" and credentials.strip(b" ") == b"Og=="  # ":"
