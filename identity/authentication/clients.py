"""Who is asking: client authentication at the OAuth endpoints (RFC 6749 §2.3)."""

from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Final, NamedTuple

from identity.authentication import assertions, readers
from identity.authentication.assertions import ASSERTION_TYPE, Assertions
from identity.authentication.certificates import Certificates
from identity.authentication.foreign import Refused, Unverified
from identity.clock import now
from identity.directory.clients.registry import Clients, ClientSnapshot
from identity.directory.clients.secrets_used import Secret, SecretsUsed
from identity.directory.clients.table import FIRST_PARTY
from identity.errors import InvalidClient, InvalidRequest, UnauthorizedClient
from identity.http.forms import parse_basic
from identity.http.messages import Request
from identity.opaque import digest
from identity.records import audit
from identity.records.audit import AuditQueue

PROVEN = 2_000
"""Headers remembered."""
_ASSERTED = frozenset({"client_assertion", "client_assertion_type"})
_POSTED = _ASSERTED | {"client_id", "client_secret"}

UNNAMED = "the request names no client"
NOBODY = " "
"""No client's id, and no secret's digest."""
METHODS: Final = (
    "client_secret_basic", "client_secret_post", "private_key_jwt", "workload_identity",
    "tls_client_auth", "self_signed_tls_client_auth", "none",
)  # fmt: skip
BY_CERTIFICATE = frozenset({"tls_client_auth", "self_signed_tls_client_auth"})


UNNAMED_GRANTS = frozenset({"password", "refresh_token"})
"""Those for which the built-in client serves who names none. A code belongs to the client that
asked for it, by name (RFC 6749 §4.1.3)."""


def check_may(client: ClientSnapshot, form: Mapping[str, str], grant: str) -> None:
    """Raises what a client hears that may not use a grant. Who has named none was taken for the
    built-in one, and hears what is missing (RFC 6749 §5.2)."""
    may = client.may_use(grant)
    if client.id == FIRST_PARTY and "client_id" not in form:
        if not may or grant not in UNNAMED_GRANTS:
            raise InvalidClient(UNNAMED)
    elif not may:
        raise UnauthorizedClient(f"the client may not use the grant {grant}")


class ClientAuthentication:
    """The caller has awaited `feed.catch_up()`.

    Siblings send the same header with every request. One that has proved a client is known again
    by its digest, for as long as the client is remembered unchanged.
    """

    def __init__(
        self,
        clients: Clients,
        queue: AuditQueue,
        assertions: Assertions,
        certificates: Certificates,
        secrets_used: SecretsUsed,
        *,
        default_client: bool,
    ) -> None:
        self._clients = clients
        self._queue = queue
        self._assertions = assertions
        self._certificates = certificates
        self._used = secrets_used
        self._default = default_client
        self._proven: dict[bytes, tuple[ClientSnapshot, _Matched]] = {}

    async def __call__(self, request: Request, form: dict[str, str]) -> ClientSnapshot:
        """The client, authenticated where it has something to do so with.

        A request that names none is served by the built-in public client, if that is switched
        on. Raises `InvalidRequest` for two methods at once, `InvalidClient`.
        """
        header, authorization = None, request.header(b"authorization")
        if authorization is not None and form.keys().isdisjoint(_POSTED):
            header = sha256(authorization).digest()
            if client := self._known_again(header):
                readers.belongs_to(client)
                audit.act_as("client", client.id)
                return client
        given = self._given(authorization, form)
        client_id = given.client_id
        if client_id is None:
            if not self._default:
                raise InvalidClient(UNNAMED)
            client_id = FIRST_PARTY
        if client_id == FIRST_PARTY and not self._default:
            raise self._refused(client_id, Refused("the built-in client is switched off"))
        client = self._clients.at_hand(client_id)
        looked_up = client is None
        if client is None:
            client = await self._clients.get(client_id)
        if client is not None:
            readers.belongs_to(client)
        try:
            matched = await self._prove(client, given, request)
        except Refused as refusal:
            if not looked_up:
                # What is remembered exists: without this the time would say so.
                await self._clients.look_up(NOBODY)
            raise self._refused(client_id, refusal, known=client is not None) from None
        assert client is not None
        if matched is not None:
            self._used.note(matched.secret)
            if header is not None:
                self._remember(header, client, matched)
        audit.act_as("client", client.id)
        return client

    async def still(self, client: ClientSnapshot) -> ClientSnapshot:
        """Who has authenticated a moment ago, as they are now: an assertion proves only once.
        Raises `InvalidClient` where they are gone or disabled since."""
        found = await self._clients.get(client.id)
        if found is None or not found.active:
            why = "unknown" if found is None else "disabled"
            raise self._refused(client.id, Refused(why), known=found is not None)
        return found

    def _given(self, authorization: bytes | None, form: dict[str, str]) -> "_Credentials":
        if form.keys().isdisjoint(_ASSERTED):
            return _credentials(authorization, form)
        text = _assertion(authorization, form)
        named = form.get("client_id")
        try:
            assertion = assertions.read(text)
        except Refused as refusal:
            raise self._refused(named or "", refusal) from None
        return _Credentials(named or assertion.subject, assertion=assertion)

    async def _prove(
        self, client: ClientSnapshot | None, given: "_Credentials", request: Request
    ) -> "_Matched | None":
        """By which secret, None for another way. Raises `Refused`."""
        assertion = given.assertion
        if assertion is None and (given.secret is not None or not _has_certificate(client)):
            return self._check(client, given.secret, given.method)
        if client is None:
            raise Refused("unknown")
        if not client.active:
            raise Refused("disabled")
        if assertion is not None:
            await self._assertions.prove(client, assertion)
        else:
            await self._certificates.prove(client, request)
        return None

    def _known_again(self, header: bytes) -> ClientSnapshot | None:
        known = self._proven.get(header)
        if known is None:
            return None
        client, matched = known
        if self._clients.at_hand(client.id) is not client:
            return None
        if matched.expires is not None and matched.expires <= now():
            return None
        self._used.note(matched.secret)
        return client

    def _remember(self, header: bytes, client: ClientSnapshot, matched: "_Matched") -> None:
        if len(self._proven) >= PROVEN:
            del self._proven[next(iter(self._proven))]
        self._proven[header] = (client, matched)

    def _check(
        self, client: ClientSnapshot | None, secret: str | None, method: str | None
    ) -> "_Matched | None":
        """None for a public client. As much work for a client that is not there."""
        given, moment = digest(secret or ""), now()
        secrets = client.secrets if client is not None else ((NOBODY, None),)
        matches = [expires for known, expires in secrets if compare_digest(known, given)]
        if client is None:
            raise Refused("unknown")
        if not client.active:
            raise Refused("disabled")
        if secret is None:
            if not client.confidential:
                return None
            raise Refused("no secret given")
        if not client.confidential:
            words = "the client is public and has no secret: send its client_id alone"
            raise Refused("public client sent a secret", public=words)
        for expires in matches:
            if expires is None or expires > moment:
                _check_method(client, method)
                return _Matched((client.id, given), expires)
        raise Refused("expired secret" if matches else "wrong secret")

    def _refused(self, client_id: str, refusal: Refused, *, known: bool = False) -> InvalidClient:
        more = {"more": refusal.more[:300]} if refusal.more else {}
        self._queue.refused(
            "client.authentication", {"why": refusal.why},
            client_id=client_id[:100], known_client=known, **more,
        )  # fmt: skip
        return InvalidClient(refusal.public, audit=str(refusal))


def _has_certificate(client: ClientSnapshot | None) -> bool:
    """Whether the client proves itself by one."""
    return client is not None and client.settings.token_endpoint_auth_method in BY_CERTIFICATE


def _check_method(client: ClientSnapshot, method: str | None) -> None:
    """One that has proved itself hears by which method it was to do so."""
    registered = client.settings.token_endpoint_auth_method
    if registered not in (None, method):
        words = f"the client is registered to authenticate by {registered}"
        raise Refused(f"by {method} instead of {registered}", public=words)


class _Matched(NamedTuple):
    """The secret that proved a client. `expires`: None for never."""

    secret: Secret
    expires: float | None


class _Credentials(NamedTuple):
    """What came to say and prove who asks. `method`: by which a secret comes."""

    client_id: str | None
    secret: str | None = None
    method: str | None = None
    assertion: Unverified | None = None


def _credentials(authorization: bytes | None, form: dict[str, str]) -> _Credentials:
    """The client's id and secret, and the one method used (RFC 6749 §2.3: not more than one)."""
    posted_id, posted_secret = form.get("client_id"), form.get("client_secret")
    if authorization is None or _is_blank(authorization):
        if posted_secret is not None and posted_id is None:
            raise InvalidRequest("client_secret came without client_id")
        return _Credentials(posted_id, posted_secret, "client_secret_post")
    client_id, secret = parse_basic(authorization)
    if posted_secret is not None:
        raise InvalidRequest("the client authenticates in two ways at once")
    if posted_id is not None and posted_id != client_id:
        raise InvalidRequest("client_id differs from the authenticated client")
    # An empty secret is none (RFC 6749 §2.3.1).
    return _Credentials(client_id, secret or None, "client_secret_basic")


def _assertion(authorization: bytes | None, form: dict[str, str]) -> str:
    """The one that came (RFC 7521 §4.2), alone."""
    if (authorization is not None and not _is_blank(authorization)) or "client_secret" in form:
        raise InvalidRequest("the client authenticates in two ways at once")
    text = form.get("client_assertion")
    if text is None:
        raise InvalidRequest("client_assertion_type came without client_assertion")
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        raise InvalidRequest(f"client_assertion_type must be {ASSERTION_TYPE}")
    return text


def _is_blank(authorization: bytes) -> bool:
    """Basic credentials of nobody, without a secret: what the Authorize button of Swagger UI sends
    where its client fields were left empty."""
    scheme, _, credentials = authorization.partition(b" ")
    return scheme.lower() == b"basic" and credentials.strip(b" ") == b"Og=="  # ":"
