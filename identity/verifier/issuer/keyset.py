"""The issuer's public keys: fetched ahead, kept through an outage, asked for once when unknown."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

from identity.verifier.errors import IssuerUnavailable
from identity.verifier.gate.algorithms import ALGORITHMS
from identity.verifier.gate.encoding import json_object
from identity.verifier.gate.reading import VerificationKey
from identity.verifier.issuer.fetching import FetchFailed
from identity.verifier.issuer.issuer import Issuer

_log = logging.getLogger("identity.verifier")

_LEAST_AGE, _USUAL_AGE, _MOST_AGE = 10.0, 300.0, 86400.0
_FIRST_RETRY, _LAST_RETRY = 1.0, 30.0
_MAX_KEYS = 64


class KeySet:
    """`find` is the gate's look-up: no network, no lock.

    `honoured` is for how many seconds after the issuer last answered its keys are still used;
    `cooldown` the least time between two fetches for the sake of unknown keys.
    """

    def __init__(
        self, issuer: Issuer, algorithms: frozenset[str], honoured: float, cooldown: float
    ) -> None:
        self._issuer = issuer
        self._clock = issuer.clock
        self._monotonic = issuer.clock.monotonic
        self._algorithms = algorithms
        self._honoured = honoured
        self._cooldown = cooldown
        self.current: dict[str, VerificationKey] = {}
        """By `kid`; replaced whole. A key that stays the same stays the same object."""
        self.kids: frozenset[str] = frozenset()
        """All that are in the key set, of algorithms that are not ours, too."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when `kids` has changed."""
        self._read_from: dict[str, dict[str, Any]] = {}
        self._etag: str | None = None
        self._max_age = _USUAL_AGE
        self._due = float("-inf")
        self._retry = _FIRST_RETRY
        self._asked_for_unknown = float("-inf")
        self._flight: asyncio.Task[None] | None = None
        self.failure: str | None = "they have not been fetched yet"
        """Why the last fetch gave nothing; None when it did."""
        self.good_until = float("-inf")
        """Monotonic time until which these keys are honoured."""

    def find(self, kid: str) -> VerificationKey | None:
        """`IssuerUnavailable` where the keys have never come or are too old to be honoured."""
        if self._monotonic() >= self.good_until:
            raise IssuerUnavailable(f"no keys of the issuer: {self.failure}")
        return self.current.get(kid)

    def may_ask(self) -> bool:
        """Whether an unknown key is worth asking for: a fetch is under way, or none was made on
        such an account within the cooldown."""
        if self._flight is not None:
            return True
        return self._clock.monotonic() - self._asked_for_unknown >= self._cooldown

    async def ask_for_unknown(self) -> None:
        """One fetch for all who ask at once; nothing within the cooldown. Never raises."""
        if self._flight is None:
            if not self.may_ask():
                return
            self._asked_for_unknown = self._clock.monotonic()
        await self.refresh()

    async def refresh(self) -> None:
        """Fetch now, or wait for the fetch that is under way. A failure is in `failure`."""
        flight = self._flight
        if flight is None:
            flight = self._flight = asyncio.create_task(self._refresh())
            flight.add_done_callback(self._landed)
        await asyncio.shield(flight)

    async def keep_fresh(self) -> None:
        """Refresh whenever it is due, for ever."""
        while True:
            wait = self._due - self._clock.monotonic()
            if wait <= 0:
                await self.refresh()
            else:
                # In short naps, for a machine that sleeps stops this wait but not the clock.
                await self._clock.sleep(min(wait, 60.0))

    async def close(self) -> None:
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.gather(self._flight, return_exceptions=True)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flight = None

    async def _refresh(self) -> None:
        sent = self._clock.monotonic()
        try:
            await self._fetch()
        except FetchFailed as problem:
            if self.failure is None:
                _log.warning("the issuer's keys cannot be fetched: %s", problem)
            self.failure = str(problem)
            self._issuer.forget()
            # Some sooner than others, for all of them have lost the same issuer.
            self._due = self._clock.monotonic() + self._retry * random.uniform(0.5, 1.0)  # noqa: S311
            self._retry = min(self._retry * 2, _LAST_RETRY)
            return
        self.failure = None
        self._retry = _FIRST_RETRY
        self.good_until = sent + self._honoured
        # Before others' copies run out, and not all verifiers in the same second.
        self._due = sent + self._max_age * random.uniform(0.75, 0.95)  # noqa: S311

    async def _fetch(self) -> None:
        address = await self._issuer.endpoint("jwks_uri")
        if address is None:
            raise FetchFailed("the issuer's metadata have no jwks_uri")
        headers = {"accept": "application/jwk-set+json, application/json"}
        if self._etag is not None:
            headers["if-none-match"] = self._etag
        answer = await self._issuer.fetcher.fetch("GET", address, headers=headers)
        if answer.status == 304 and self._etag is None:
            raise FetchFailed("the key set is not there, and said to be unchanged")
        age = answer.max_age()
        self._max_age = _USUAL_AGE if age is None else min(max(age, _LEAST_AGE), _MOST_AGE)
        if answer.status != 304:
            self._take(answer.body)
            self._etag = answer.headers.get("etag")

    def _take(self, body: bytes) -> None:
        try:
            jwks = json_object(body).get("keys")
        except ValueError as problem:
            raise FetchFailed(f"the key set is {problem}") from None
        if not isinstance(jwks, list) or len(jwks) > _MAX_KEYS:
            raise FetchFailed(f"the key set has no list of at most {_MAX_KEYS} keys")
        keys: dict[str, VerificationKey] = {}
        read_from: dict[str, dict[str, Any]] = {}
        twice = set()
        for jwk in jwks:
            key = self._read(jwk)
            if key is None:
                continue
            if key.kid in keys:
                twice.add(key.kid)
            keys[key.kid] = key
            read_from[key.kid] = jwk
        for kid in twice:  # which of them a token means cannot be told
            del keys[kid], read_from[kid]
        self.current, self._read_from = keys, read_from
        kids = (jwk.get("kid") for jwk in jwks if isinstance(jwk, dict))
        before, self.kids = self.kids, frozenset(kid for kid in kids if isinstance(kid, str))
        if self.kids != before:
            self.on_change()

    def _read(self, jwk: Any) -> VerificationKey | None:
        """None for a key that is not ours to use: another algorithm, use or form."""
        if not isinstance(jwk, dict):
            return None
        kid, alg = jwk.get("kid"), jwk.get("alg")
        if not isinstance(kid, str) or not isinstance(alg, str) or alg not in self._algorithms:
            return None
        if self._read_from.get(kid) == jwk:  # building an RSA key costs a hundred signatures
            return self.current[kid]
        try:
            return VerificationKey(kid, alg, ALGORITHMS[alg].verifier(jwk))
        except ValueError as problem:
            _log.warning("a key of the issuer is left out: %s", problem)
            return None
