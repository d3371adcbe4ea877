"""`Verifier`: tokens checked in memory, the issuer asked only where memory does not do."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from contextvars import Context
from types import TracebackType
from typing import Any, Final, Literal, Self

import httpx

from identity.verifier.certificates import CertificateSource
from identity.verifier.checking import Checking, OnStale
from identity.verifier.clocks import Clock, SystemClock
from identity.verifier.dpop import DPoP, Proving
from identity.verifier.errors import (
    Malformed,
)
from identity.verifier.gate.algorithms import ALGORITHMS
from identity.verifier.gate.claims import MAX_LEEWAY, VerifiedClaims
from identity.verifier.gate.gate import Gate
from identity.verifier.gate.proofs import Proofs
from identity.verifier.issuer.fetching import Credentials, Fetcher, TokenSupplier
from identity.verifier.issuer.introspecting import Introspector
from identity.verifier.issuer.issuer import Issuer
from identity.verifier.issuer.keyset import KeySet
from identity.verifier.known import KnownTokens
from identity.verifier.nonces import Nonces
from identity.verifier.resource import origin_of
from identity.verifier.revocations.denylist import Entry, Verdict
from identity.verifier.revocations.feed import Feed
from identity.verifier.revocations.sources import Mode, Source
from identity.verifier.revocations.statuslists import StatusLists
from identity.verifier.revocations.subscriber import Subscriber

VerifiedToken = VerifiedClaims
"""What `verify` returns: typed claims that only the gate can make."""

_STALENESS: Final = 5.0
_READY_WITHIN: Final = 5.0
_NUMBERS: Final = (
    "max_staleness", "introspection_ttl", "honour_keys_for", "key_cooldown", "cache_size",
    "http_timeout",
)  # fmt: skip


class Verifier:
    """Verifies the access tokens of `issuer` that are for `audience`, in one event loop.

    Use it as `async with Verifier(...)`, or let the first `verify` start it and `await close()`
    at the end. It starts while the issuer is down, and catches up.

    scopes          every token must have all of these; `verify(token, "a", "b")` asks for more
    algorithms      the signature algorithms to accept
    client_id, client_secret   authenticate to the issuer (`client_secret_basic`), or
    token           a bearer token with scope `introspect`, or a function that gets one
    revocations     "stream", "poll": a feed in memory; "status-list": lists fetched, without
                    credentials; "introspection": every token is asked about; None: a token is
                    good until it expires; "auto": "stream" with credentials, else "status-list"
    on_stale        what to do when knowledge is older than `max_staleness` seconds: "introspect"
                    (and refuse where that fails), "refuse", "accept"
    max_staleness   5 by default; of status lists their `ttl`, unless this is less
    introspection_ttl   seconds for which an introspected token is not asked about again
    honour_keys_for     seconds for which keys are used after the issuer was last heard of
    key_cooldown    least seconds between two fetches because of unknown keys
    leeway          seconds by which clocks may differ, at most 30
    cache_size      verified tokens that are remembered
    http_timeout    seconds for one request to the issuer
    address         where clients reach this service, for tokens that are bound to a key (RFC 9449):
                    the paths of requests follow it. By default the audience's scheme and host, if
                    that is an address; None: such tokens are refused, unless `dpop` says more
    nonce_keys      secrets of 32 octets or more, the newest first, that all processes of this
                    service share: proofs of such keys then need a nonce of ours
    certificates    how it is told which certificate a client has come with, for tokens that are
                    bound to one (RFC 8705): `FromProxies("10.0.0.7")` or `FromServer()`. Without
                    it such tokens are refused, unless `certificate` says more
    transport, clock    others than the network and the machine's, for tests
    """

    def __init__(
        self,
        issuer: str,
        audience: str | Collection[str],
        *,
        scopes: Collection[str] = (),
        algorithms: Collection[str] = tuple(ALGORITHMS),
        client_id: str | None = None,
        client_secret: str | None = None,
        token: TokenSupplier | str | None = None,
        revocations: Mode | Literal["auto"] | None = "auto",
        on_stale: OnStale = "introspect",
        max_staleness: float | None = None,
        introspection_ttl: float = 1.0,
        honour_keys_for: float = 86400.0,
        key_cooldown: float = 5.0,
        leeway: float = MAX_LEEWAY,
        cache_size: int = 10_000,
        http_timeout: float = 5.0,
        address: str | None = None,
        nonce_keys: Sequence[bytes] = (),
        certificates: CertificateSource | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        if on_stale not in ("introspect", "refuse", "accept"):
            raise ValueError(f"on_stale is introspect, refuse or accept, not {on_stale!r}")
        lists = {"scopes": scopes, "algorithms": algorithms, "nonce_keys": nonce_keys}
        for name, several in lists.items():
            if isinstance(several, str | bytes):
                raise ValueError(f"{name} are a list, not one of them")
        self.issuer = issuer
        self.audience = audience
        self.scopes = frozenset(scopes)
        self._on_stale = on_stale
        self._options: dict[str, Any] = {
            "algorithms": frozenset(algorithms),
            "max_staleness": max_staleness,
            "introspection_ttl": introspection_ttl,
            "honour_keys_for": honour_keys_for,
            "key_cooldown": key_cooldown,
            "leeway": leeway,
            "cache_size": cache_size,
            "http_timeout": http_timeout,
            "nonce_keys": tuple(nonce_keys),
        }
        for name in _NUMBERS:
            number = self._options[name]
            if number is not None and number < 0:
                raise ValueError(f"{name} is 0 or more, not {number}")
        self.certificates = certificates
        self.address = address.rstrip("/") if address else origin_of(audience)
        self._credentials = Credentials(client_id, client_secret, token)
        if revocations == "auto":
            revocations = "stream" if self._credentials else "status-list"
        if revocations not in ("stream", "poll", "status-list", "introspection", None):
            raise ValueError(f"revocations cannot be known by {revocations!r}")
        if revocations in ("stream", "poll", "introspection") and not self._credentials:
            raise ValueError(f"revocations={revocations!r} needs client_id and client_secret")
        self.revocations: Mode | None = revocations
        self._tasks: list[asyncio.Task[None]] = []
        self._starting: asyncio.Task[None] | None = None
        self._others: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._build(transport, clock or SystemClock())

    def _build(self, transport: httpx.AsyncBaseTransport | None, clock: Clock) -> None:
        options = self._options
        self._transport = transport
        self.clock = clock
        fetcher = Fetcher(transport, options["http_timeout"])
        at = self._issuer = Issuer(self.issuer, fetcher, self._credentials, clock)
        self._keys = KeySet(
            at, options["algorithms"], options["honour_keys_for"], options["key_cooldown"]
        )
        gate = Gate(
            self.issuer,
            self._keys.find,
            self.audience,
            options["algorithms"],
            options["leeway"],
            clock.now,
        )
        nonces = Nonces(options["nonce_keys"], clock.now) if options["nonce_keys"] else None
        self.proving = Proving(Proofs(clock=clock.now), nonces, clock.now)
        self._introspector = Introspector(at, options["introspection_ttl"])
        self.source, self._subscriber = self._knowledge(options["max_staleness"])
        self._checking = Checking(
            gate,
            self._keys,
            KnownTokens(options["cache_size"]),
            self.source,
            self._introspector,
            clock,
            scopes=self.scopes,
            on_stale=self._on_stale,
            hurry=self._hurry,
        )
        attached = getattr(transport, "attached", None)
        if attached is not None:  # an issuer within this process wants to know whom it serves
            attached(self)

    def _knowledge(self, max_staleness: float | None) -> tuple[Source, Subscriber | None]:
        mode, clock = self.revocations, self.clock
        if mode == "status-list":
            leeway: Any = self._options["leeway"]
            return StatusLists(self._issuer, self._keys, max_staleness, leeway), None
        if mode == "stream" or mode == "poll":
            feed = Feed(clock, _STALENESS if max_staleness is None else max_staleness)
            feed.on_key = self._key_revoked
            subscriber = Subscriber(self._issuer, feed, mode, lambda: self._keys.kids)
            self._keys.on_change = subscriber.keys_changed
            subscriber.on_live = self._introspector.breaker.succeeded  # it answers again
            return feed, subscriber
        return Source(clock, Verdict.UNSURE if mode else Verdict.ALIVE), None

    # --- Life ----------------------------------------------------------------------------------

    def connect_to(
        self, transport: httpx.AsyncBaseTransport | None, clock: Clock | None = None
    ) -> None:
        """Reach the issuer by another transport and live by another clock: for tests of a
        service that makes its verifier itself. RuntimeError once it has been started."""
        if self._starting is not None:
            raise RuntimeError("this verifier has been started already")
        self._build(transport, clock or self.clock)

    async def start(self) -> None:
        """Fetch keys, begin to learn of revocations, and wait up to five seconds for both."""
        if self._starting is None:
            self._loop = asyncio.get_running_loop()
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        await self._keys.refresh()
        self._spawn(self._keys.keep_fresh())
        self._spawn(self.source.run())
        if self._subscriber is None:
            return
        self._spawn(self._subscriber.run())
        if self._keys.failure is None:
            ready = asyncio.create_task(self.source.ready())
            await asyncio.wait({ready}, timeout=_READY_WITHIN)
            ready.cancel()

    async def _move(self) -> None:
        """A loop that ended without `close` took the background tasks with it: begin again."""
        if self._loop is not None and not self._loop.is_closed():
            raise RuntimeError("this verifier runs in another event loop; use SyncVerifier")
        self._tasks, self._starting = [], None
        self._build(self._transport, self.clock)
        await self.start()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        # Of nobody's context: it goes on when the request is over that brought it about.
        self._tasks.append(asyncio.create_task(work, context=Context()))

    async def close(self) -> None:
        """End what runs in the background and forget everything; it may be started again."""
        tasks = [*self._tasks, *self._others]
        if self._starting is not None:
            tasks.append(self._starting)
        self._tasks, self._starting = [], None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._keys.close()
        await self._introspector.close()
        await self._issuer.fetcher.close()
        self._build(self._transport, self.clock)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def dpop_algorithms(self) -> tuple[str, ...]:
        """Those of the proofs that requests may bring along; none without an address."""
        return self.proving.algorithms if self.address is not None else ()

    @property
    def staleness(self) -> float:
        """Seconds since everything that the issuer had revoked was known here; infinite before
        that. 0 where nothing has to be known: by introspection, or with `revocations=None`."""
        return self.source.staleness

    def learn(self, entry: Entry) -> None:
        """Take a revocation that came another way than from the issuer. From any thread."""
        self.source.apply(entry)

    def _key_revoked(self) -> None:
        """Its successor may be in use already: fetch it before tokens come that need it."""
        if self._starting is None or self._others:
            return
        try:
            refreshing = asyncio.get_running_loop().create_task(self._keys.refresh())
        except RuntimeError:  # told by another thread; an unknown key is asked for anyway
            return
        self._others.add(refreshing)
        refreshing.add_done_callback(self._others.discard)

    # --- Verifying -----------------------------------------------------------------------------

    async def verify(
        self,
        token: str | bytes,
        *scopes: str,
        dpop: DPoP | None = None,
        certificate: bytes | None = None,
    ) -> VerifiedToken:
        """The claims of `token`, or the `TokenRefused` that says why not.

        With `scopes` it must have all of these as well. `dpop`: the proof of a request that came
        with the scheme DPoP; a token that is bound to a key is good with it and never without, one
        that is not bound only without. `certificate`: DER of the one whose key the client has
        proved, by TLS, to hold; a token that is bound to it is good with no other. The issuer is
        asked only where `check` would return None.
        """
        if self._starting is None or not self._starting.done():
            await self.start()
        text = token if type(token) is str else _text(token)
        proof = None if dpop is None else self.proving.check(dpop, text)
        claims = self._checking.check(text, scopes, proof, certificate)
        if claims is None:
            if self._loop is not asyncio.get_running_loop():
                await self._move()
            claims = await self._checking.ask(text, scopes, proof, certificate)
        if proof is not None:
            self.proving.use(proof)
        return claims

    def check(
        self,
        token: str | bytes,
        *scopes: str,
        dpop: DPoP | None = None,
        certificate: bytes | None = None,
    ) -> VerifiedToken | None:
        """The same from memory alone, from any thread: None where the issuer must be asked."""
        text = token if type(token) is str else _text(token)
        proof = None if dpop is None else self.proving.check(dpop, text)
        claims = self._checking.check(text, scopes, proof, certificate)
        if proof is not None and claims is not None:
            self.proving.use(proof)
        return claims

    def _hurry(self) -> None:
        """From whichever thread a token is checked in."""
        if self._subscriber is not None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._subscriber.hurry)


def _text(token: object) -> str:
    """As the gate takes it: octets beyond ASCII stay beyond it."""
    if isinstance(token, str):
        return str(token)
    if not isinstance(token, bytes):
        raise Malformed("the token is not text")
    return token.decode("latin-1")
