"""Asking the issuer about one token (RFC 7662), where knowledge of one's own does not do."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from identity.verifier.errors import IssuerUnavailable
from identity.verifier.issuer.breaker import Breaker
from identity.verifier.issuer.fetching import FetchFailed
from identity.verifier.issuer.issuer import Issuer
from identity.verifier.revocations.denylist import Subject

_REMEMBERED: Final = 10_000


class Introspector:
    """`ttl` is for how many seconds an answer serves again; answers go by `jti`, for one
    signature has several spellings."""

    def __init__(self, issuer: Issuer, ttl: float) -> None:
        self._issuer = issuer
        self._clock = issuer.clock
        self._ttl = ttl
        self._answers: dict[str, tuple[bool, float]] = {}
        self._flights: dict[str, asyncio.Task[bool]] = {}
        self.breaker = Breaker(issuer.clock.monotonic)

    @property
    def able(self) -> bool:
        """Whether this verifier has credentials to ask with."""
        return bool(self._issuer.credentials)

    def recall(self, token: Subject, at: float) -> bool | None:
        """What was answered within the last `ttl`; None where nothing was."""
        answer = self._answers.get(token.token)
        if answer is None or at >= answer[1]:
            return None
        return answer[0]

    async def ask(self, text: str, token: Subject) -> bool:
        """Whether the issuer says `active`. `IssuerUnavailable` where it says nothing.

        Who asks about a token that is being asked about waits for that answer.
        """
        flight = self._flights.get(token.token)
        if flight is None:
            if not self.breaker.enter():
                after = max(self.breaker.retry_after, 0.1)
                raise IssuerUnavailable("the issuer has failed too often", retry_after=after)
            flight = asyncio.create_task(self._ask(text, token))
            self._flights[token.token] = flight
            flight.add_done_callback(lambda done: self._landed(token.token, done))
        return await asyncio.shield(flight)

    async def close(self) -> None:
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _landed(self, jti: str, flight: asyncio.Task[bool]) -> None:
        self._flights.pop(jti, None)
        if flight.cancelled():
            self.breaker.abandoned()
        else:
            flight.exception()  # seen, even where nobody waits any more

    async def _ask(self, text: str, token: Subject) -> bool:
        asked_at = self._clock.monotonic()
        try:
            active = await self._post(text, token)
        except FetchFailed as problem:
            self.breaker.failed()
            after = problem.retry_after or 1.0
            raise IssuerUnavailable(f"introspection: {problem}", retry_after=after) from problem
        self.breaker.succeeded()
        self._remember(token.token, active, asked_at)
        return active

    def _remember(self, jti: str, active: bool, asked_at: float) -> None:
        # `exp` needs no care here: whoever recalls an answer has looked at it first.
        if len(self._answers) >= _REMEMBERED:
            at = self._clock.monotonic()
            self._answers = {k: v for k, v in self._answers.items() if v[1] > at}
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
        self._answers[jti] = (active, asked_at + self._ttl)

    async def _post(self, text: str, token: Subject) -> bool:
        address = await self._issuer.endpoint("introspection_endpoint")
        if address is None:
            raise FetchFailed("the issuer's metadata have no introspection_endpoint")
        try:
            headers = await self._issuer.credentials.headers()
        except Exception as problem:  # whatever the token supplier raises
            raise FetchFailed(f"no credentials: {problem!r}") from problem
        answer = await self._issuer.fetcher.fetch(
            "POST",
            address,
            headers=headers | {"accept": "application/json"},
            form={"token": text, "token_type_hint": "access_token"},
        )
        try:
            document = json.loads(answer.body)
            active = document["active"]
        except (ValueError, TypeError, KeyError):
            raise FetchFailed("the answer is not RFC 7662's") from None
        if type(active) is not bool or document.get("jti", token.token) != token.token:
            raise FetchFailed("the answer is not about this token")
        return active
