"""Token Status Lists (draft-ietf-oauth-status-list-21): revocation by nothing but cached GETs."""

from __future__ import annotations

import asyncio
import logging
import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from identity.verifier.errors import IssuerUnavailable
from identity.verifier.gate.encoding import b64url_decode, json_object
from identity.verifier.issuer.fetching import MAX_LIST_BYTES, FetchFailed
from identity.verifier.issuer.issuer import Issuer
from identity.verifier.issuer.keyset import KeySet
from identity.verifier.revocations.denylist import Subject, Verdict
from identity.verifier.revocations.sources import Source

_log = logging.getLogger("identity.verifier")

MEDIA_TYPE: Final = "application/statuslist+jwt"
_TYPES: Final = frozenset({"statuslist+jwt", "application/statuslist+jwt"})
_USUAL_TTL, _LEAST_TTL = 60.0, 1.0
_MAX_LISTS: Final = 1024
_UNUSED_FOR: Final = 300.0
_FIRST_RETRY, _LAST_RETRY = 0.5, 30.0


@dataclass(slots=True)
class StatusList:
    """The statuses (§4): `bits` a token, the first in the least significant bits of a byte."""

    octets: bytes
    bits: int
    ttl: float
    expires_at: float | None = None

    def get(self, index: int) -> int | None:
        """The status at `index`, None beyond the end."""
        place, shift = divmod(index * self.bits, 8)
        if place >= len(self.octets):
            return None
        return (self.octets[place] >> shift) & ((1 << self.bits) - 1)


@dataclass(slots=True)
class _Held:
    """A list as it is kept; times but `expires_at` are monotonic."""

    content: StatusList | None = None
    etag: str | None = None
    asked_at: float = float("-inf")
    used_at: float = 0.0
    failed_at: float = float("-inf")
    retry: float = 0.0
    flight: asyncio.Task[None] | None = None


class StatusLists(Source):
    """Lists are fetched when a token first names them and again before their `ttl` is over, for
    as long as somebody uses them. `max_staleness` shortens the `ttl`."""

    def __init__(self, issuer: Issuer, keys: KeySet, max_staleness: float | None, leeway: float):
        super().__init__(issuer.clock)
        self._issuer = issuer
        self._keys = keys
        self._bound = max_staleness
        self._leeway = leeway
        self._held: dict[str, _Held] = {}
        self._due = asyncio.Event()

    def judge(self, token: Subject, at: float) -> Verdict:
        verdict = self.denylist.judge(token)
        if verdict is not Verdict.ALIVE:
            return verdict
        if token.status is None:
            return Verdict.STALE
        uri, index = token.status
        held = self._held.get(uri)
        if held is None:
            return Verdict.UNREAD
        held.used_at = at
        content = held.content
        if content is None or at >= held.asked_at + self._lifetime(content):
            return self._unread(held, at)
        if content.expires_at is not None and self.clock.now() >= content.expires_at + self._leeway:
            return self._unread(held, at)
        status = content.get(index)
        if status is None and at > held.asked_at + 1.0:
            return self._unread(held, at)  # the list may have grown since
        # Beyond the end of the newest list (§8.3), or anything but valid: not good.
        return Verdict.ALIVE if status == 0 else Verdict.DEAD

    def _unread(self, held: _Held, at: float) -> Verdict:
        return Verdict.STALE if at < held.failed_at + held.retry else Verdict.UNREAD

    def _lifetime(self, content: StatusList) -> float:
        return content.ttl if self._bound is None else min(content.ttl, self._bound)

    @property
    def staleness(self) -> float:
        """Of the oldest list in use."""
        at = self.clock.monotonic()
        ages = [at - h.asked_at for h in self._held.values() if at - h.used_at < _UNUSED_FOR]
        return max(ages, default=float("inf"))

    async def learn(self, token: Subject) -> None:
        if token.status is None:
            return
        held = self._held.get(token.status[0])
        if held is None:
            self._make_room()
            held = self._held[token.status[0]] = _Held(used_at=self.clock.monotonic())
        await self._refresh(token.status[0], held)

    async def run(self) -> None:
        """Refresh what is in use, in the second half of its lifetime, some sooner than others."""
        while True:
            self._due.clear()
            at = self.clock.monotonic()
            soonest = at + 60.0
            for uri, held in list(self._held.items()):
                if held.content is None or at - held.used_at > _UNUSED_FOR:
                    continue
                lifetime = self._lifetime(held.content)
                due = held.asked_at + lifetime * random.uniform(0.5, 0.7)  # noqa: S311
                due = max(due, held.failed_at + held.retry)
                if due <= at:
                    await self._refresh(uri, held)
                else:
                    soonest = min(soonest, due)
            nap = asyncio.create_task(self.clock.sleep(max(0.05, soonest - self.clock.monotonic())))
            woken = asyncio.create_task(self._due.wait())
            try:
                await asyncio.wait({nap, woken}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                nap.cancel()
                woken.cancel()

    def _make_room(self) -> None:
        if len(self._held) >= _MAX_LISTS:
            oldest = min(self._held, key=lambda uri: self._held[uri].used_at)
            del self._held[oldest]

    async def _refresh(self, uri: str, held: _Held) -> None:
        """One fetch a list at a time, shared by all who wait for it."""
        if held.flight is None:
            held.flight = asyncio.create_task(self._fetch(uri, held))
            held.flight.add_done_callback(lambda _: setattr(held, "flight", None))
        await asyncio.shield(held.flight)

    async def _fetch(self, uri: str, held: _Held) -> None:
        asked_at = self.clock.monotonic()
        headers = {"accept": MEDIA_TYPE}
        if held.etag is not None and held.content is not None:
            headers["if-none-match"] = held.etag
        try:
            answer = await self._issuer.fetcher.fetch(
                "GET", uri, headers=headers, follow=True, limit=MAX_LIST_BYTES
            )
            if answer.status != 304:
                held.content = await self._open(uri, answer.body)
                held.etag = answer.headers.get("etag")
            elif held.content is None:
                raise FetchFailed("the list is not there, and said to be unchanged")
        except (FetchFailed, IssuerUnavailable, ValueError) as problem:
            _log.warning("the status list %s cannot be read: %s", uri, problem)
            held.failed_at = self.clock.monotonic()
            held.retry = min(max(held.retry * 2, _FIRST_RETRY), _LAST_RETRY)
            held.etag = None
            return
        held.asked_at = asked_at
        held.retry = 0.0
        self._due.set()

    async def _open(self, uri: str, body: bytes) -> StatusList:
        kid = header_of(body).get("kid")
        if not isinstance(kid, str):
            raise ValueError("it names no key")
        if kid not in self._keys.current:
            await self._keys.ask_for_unknown()
        claims = verified(body, self._keys)
        return read(claims, uri, self._issuer.url, self.clock.now() - self._leeway)


def header_of(token: bytes) -> dict[str, Any]:
    return json_object(b64url_decode(token.strip().partition(b".")[0]))


def verified(token: bytes, keys: KeySet) -> dict[str, Any]:
    """The claims of a Status List Token signed by the issuer (§5.1); ValueError otherwise."""
    signed, _, signature = token.strip().rpartition(b".")
    if signed.count(b".") != 1:
        raise ValueError("it is not a JWT")
    header = header_of(token)
    typ, kid = header.get("typ"), header.get("kid")
    if "crit" in header or not isinstance(typ, str) or typ.lower() not in _TYPES:
        raise ValueError("it is not a status list token")
    key = keys.find(kid) if isinstance(kid, str) else None
    if key is None or key.alg != header.get("alg"):
        raise ValueError("it is not signed with a key of the issuer")
    try:
        good = key.verify(signed, b64url_decode(signature))
    except Exception:  # whatever a backend raises
        good = False
    if good is not True:
        raise ValueError("its signature is not the key's")
    return json_object(b64url_decode(signed.partition(b".")[2]))


def read(claims: Mapping[str, Any], uri: str, issuer: str, now: float) -> StatusList:
    """The list within verified claims, by §8.3; `now` is less the leeway."""
    if claims.get("sub") != uri:
        raise ValueError("it is of another address")
    if claims.get("iss", issuer) != issuer:
        raise ValueError("it is of another issuer")
    expires_at, ttl = claims.get("exp"), claims.get("ttl", _USUAL_TTL)
    if not _is_number(claims.get("iat")) or not _is_number(ttl):
        raise ValueError("it has no times")
    if expires_at is not None and (not _is_number(expires_at) or expires_at <= now):
        raise ValueError("it has expired")
    content = claims.get("status_list")
    if not isinstance(content, dict):
        raise ValueError("it has no list")
    bits, packed = content.get("bits"), content.get("lst")
    if bits not in (1, 2, 4, 8) or type(bits) is not int or not isinstance(packed, str):
        raise ValueError("its list is malformed")
    unpack = zlib.decompressobj()
    try:
        octets = unpack.decompress(b64url_decode(packed.encode()), MAX_LIST_BYTES)
    except zlib.error:
        raise ValueError("its list does not decompress") from None
    if not unpack.eof or unpack.unused_data:
        raise ValueError("its list is cut off or too long")
    return StatusList(octets, bits, max(float(ttl), _LEAST_TTL), expires_at)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
