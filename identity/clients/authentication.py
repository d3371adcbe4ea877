"""Who is asking: client authentication at the OAuth endpoints (RFC 6749 §2.3)."""

from hmac import compare_digest

from identity import audit
from identity.audit import AuditQueue
from identity.clients.registry import Clients, ClientSnapshot
from identity.clients.table import FIRST_PARTY
from identity.clock import now
from identity.errors import InvalidClient, InvalidRequest
from identity.forms import parse_basic
from identity.opaque import digest

METHODS = ("client_secret_basic", "client_secret_post", "none")


class ClientAuthentication:
    """The caller has awaited `feed.catch_up()`."""

    def __init__(self, clients: Clients, queue: AuditQueue, *, default_client: bool) -> None:
        self._clients = clients
        self._queue = queue
        self._default = default_client

    async def __call__(self, authorization: bytes | None, form: dict[str, str]) -> ClientSnapshot:
        """The client, authenticated where it has secrets to do so with.

        A request that names none is served by the built-in public client, if that is switched
        on. Raises `InvalidRequest` for two methods at once, `InvalidClient`.
        """
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
            self._check(client, secret)
        audit.act_as("client", client.id)
        return client

    def _check(self, client: ClientSnapshot, secret: str | None) -> None:
        if secret is None:
            raise self._refused(client.id, "no secret given")
        given, moment = digest(secret), now()
        matches = [
            expires is None or expires > moment
            for known, expires in client.secrets
            if compare_digest(known, given)
        ]
        if not any(matches):
            raise self._refused(client.id, "expired secret" if matches else "wrong secret")

    def _refused(self, client_id: str, why: str) -> InvalidClient:
        self._queue.put(
            "client.authentication", outcome="refused", client_id=client_id[:100], why=why
        )
        return InvalidClient(audit=why)


def _credentials(
    authorization: bytes | None, form: dict[str, str]
) -> tuple[str | None, str | None]:
    """The client's id and secret by the one method used (RFC 6749 §2.3: not more than one)."""
    posted_id, posted_secret = form.get("client_id"), form.get("client_secret")
    if authorization is None:
        if posted_secret is not None and posted_id is None:
            raise InvalidRequest("client_secret came without client_id")
        return posted_id, posted_secret
    client_id, secret = parse_basic(authorization)
    if posted_secret is not None:
        raise InvalidRequest("the client authenticates in two ways at once")
    if posted_id is not None and posted_id != client_id:
        raise InvalidRequest("client_id differs from the authenticated client")
    return client_id, secret
