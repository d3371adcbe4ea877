"""Asks a verifier about the same tokens again and again, and keeps what it said and when."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

from identity.verifier import IssuerUnavailable, SyncVerifier, TokenRefused

EVERY = 0.01  # seconds


@dataclass(frozen=True)
class Said:
    """`asked` and `at` are monotonic times of question and answer; `error` is None where the token
    was taken."""

    asked: float
    at: float
    error: type[TokenRefused] | None

    @property
    def unavailable(self) -> bool:
        """503: it may well be good."""
        return self.error is not None and issubclass(self.error, IssuerUnavailable)


@dataclass
class Watch:
    """`answers` by the names of the tokens, each token asked about by a thread of its own."""

    verifier: SyncVerifier
    tokens: dict[str, str]
    answers: dict[str, list[Said]] = field(default_factory=dict)

    def taken_after(self, name: str, moment: float) -> list[float]:
        """Seconds behind `moment` at which the token was asked about, and taken."""
        return [
            each.asked - moment
            for each in self.answers[name]
            if each.error is None and each.asked > moment
        ]

    def refusals(self, name: str) -> list[Said]:
        return [each for each in self.answers[name] if each.error is not None]

    def last(self, name: str) -> type[TokenRefused] | None:
        return self.answers[name][-1].error

    def ask(self, name: str) -> None:
        asked = time.monotonic()
        try:
            self.verifier.verify(self.tokens[name])
        except TokenRefused as refused:
            error: type[TokenRefused] | None = type(refused)
        else:
            error = None
        self.answers[name].append(Said(asked, time.monotonic(), error))


@contextmanager
def watching(verifier: SyncVerifier, **tokens: str) -> Iterator[Watch]:
    watch = Watch(verifier, tokens, {name: [] for name in tokens})
    enough = Event()

    def keep_asking(name: str) -> None:
        while not enough.is_set():
            watch.ask(name)
            time.sleep(EVERY)

    threads = [Thread(target=keep_asking, args=(name,), daemon=True) for name in tokens]
    for name in tokens:
        watch.ask(name)
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        enough.set()
        for thread in threads:
            thread.join(20)
