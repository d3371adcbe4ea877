"""Access tokens at this service's own endpoints, by the scheme Bearer (RFC 6750) or, where they are
bound to a key, by DPoP and a proof of that key (RFC 9449 §7). One that is bound to a certificate
has to come with that, by either scheme (RFC 8705 §3)."""

from collections.abc import Iterable, Mapping, Sequence

from identity.authentication import readers
from identity.authentication.certificates import Certificates
from identity.authentication.dpop import DPoP
from identity.errors import BearerError, InsufficientScope, InvalidToken, MissingToken
from identity.http.messages import CHALLENGED, Request
from identity.records import audit
from identity.records.audit import AuditQueue
from identity.tokens.live import Live, LiveTokens
from identity.verifier.resource import ProtectedResource


def is_token(authorization: bytes) -> bool:
    """Whether an Authorization header holds an access token, rather than a client's secret."""
    return authorization[:7].lower() == b"bearer " or authorization[:5].lower() == b"dpop "


def is_bound(request: Request) -> bool:
    """Whether a request brings a token by the scheme DPoP. Raises `InvalidRequest`."""
    return (request.header(b"authorization") or b"")[:5].lower() == b"dpop "


class BearerAuthentication:
    """`audiences`: this service's own. A token for another resource does nothing here (RFC 8725
    §3.9): whoever it was sent to could else act as its user."""

    def __init__(
        self,
        live: LiveTokens,
        dpop: DPoP,
        queue: AuditQueue,
        audiences: Iterable[str],
        issuer: str,
    ) -> None:
        self._metadata = ProtectedResource(issuer, (issuer,)).metadata_address
        self._live = live
        self._dpop = dpop
        self._queue = queue
        self._audiences = frozenset(audiences)

    async def __call__(
        self,
        request: Request,
        *scopes: str,
        of_any_audience: bool = False,
        passed_on: tuple[str, str] | None = None,
    ) -> Live:
        """The live token of a request, holding every one of `scopes`.

        `of_any_audience`: the caller looks at that. `passed_on`: the method and address that a
        gateway was asked for. Raises `InvalidRequest` for an ambiguous header, else what is of
        class `BearerError`. Whatever is wrong later, the scheme that was used is challenged.
        """
        try:
            scheme, _, rest = (request.header(b"authorization") or b"").partition(b" ")
            scheme, token = scheme.lower(), rest.strip().decode("latin-1")
            if scheme == b"bearer":
                live = await self._live.find(token)
                if live is not None and live.known.bound is not None:
                    if "jkt" in live.known.bound:
                        request.scope[CHALLENGED] = self._dpop.algorithms
                        raise InvalidToken("the token is bound to a key: prove that one")
                    _check_certificate(request, live.known.bound)
                return self._admit(live, scopes, of_any_audience)
            request.scope[CHALLENGED] = self._dpop.algorithms
            if scheme != b"dpop":
                raise MissingToken(scope=" ".join(scopes) or None)
            live = self._admit(await self._live.find(token), scopes, of_any_audience)
            proof = await self._dpop.at_resource(request, live.client, token, passed_on)
            bound = live.known.bound or {}
            if bound.get("jkt") != proof.jkt:
                raise InvalidToken("the token is not bound to the key of the proof")
            _check_certificate(request, bound)
            await self._dpop.spend_at_resource(proof)
            return live
        except BearerError as refusal:
            raise self.ours(refusal) from None

    def ours(self, refusal: BearerError) -> BearerError:
        """`refusal` at an address of our own."""
        refusal.metadata = self._metadata
        return refusal

    def _admit(self, live: Live | None, scopes: Sequence[str], of_any_audience: bool) -> Live:
        if live is None:
            raise InvalidToken(
                "the token is expired, revoked or malformed", scope=" ".join(scopes) or None
            )
        readers.belongs_to(live.client)
        if not of_any_audience and self._audiences.isdisjoint(live.known.audience):
            raise InvalidToken("the token is for another audience", scope=" ".join(scopes) or None)
        if live.user is not None:
            audit.act_as("user", live.user.id)
        else:
            audit.act_as("client", live.client.id)
        if scopes:
            held = live.scopes
            missing = [scope for scope in scopes if scope not in held]
            if missing:
                self._queue.put("access", outcome="refused", missing=" ".join(missing))
                raise InsufficientScope(
                    f"the token lacks the scope {' '.join(missing)}", scope=" ".join(scopes)
                )
        return live


def _check_certificate(request: Request, bound: Mapping[str, str]) -> None:
    """Raises `InvalidToken`, `InvalidRequest`."""
    wanted = bound.get("x5t#S256")
    if wanted is None:
        return
    certificate = Certificates.of(request)
    if certificate is None or certificate.x5t != wanted:
        raise InvalidToken("the token is bound to a certificate: the request came with another "
                           "or none")  # fmt: skip
