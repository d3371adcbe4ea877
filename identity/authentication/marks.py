"""The sealed mark of an interaction: a request that came, when it was first seen, in which browser.

An anonymous visitor writes nothing here. Where a request has to wait for a person, it stays in the
address, and the mark goes along: a keyed digest over the request, the moment it was first seen,
what the person has done since, and a random cookie of their browser. Nobody else's can use it.
"""

import hmac
import re
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256

from identity.clock import now
from identity.dataclass import dataclass
from identity.keys.master import MasterKey
from identity.opaque import digest
from identity.verifier.gate.encoding import b64url_encode

LIFE = 3600
"""Seconds that a person may take."""
_MARK = re.compile(r"([0-9a-f]{1,12})\.([a-z_]{0,40})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Mark:
    first_seen: float
    """Unix time."""
    done: frozenset[str] = frozenset()
    """What the person did that no later look at their session would show: `chosen` an account."""

    def with_done(self, act: str) -> "Mark":
        return replace(self, done=self.done | {act})


class Marks:
    def __init__(self, master: MasterKey) -> None:
        self._keys = master.derive_all("mark")

    def seal(self, mark: Mark, request: bytes, browser: str) -> str:
        """`request`: its digest (`digest_of`). `browser`: the value of its cookie."""
        return self._sealed(
            self._keys[0], round(mark.first_seen * 1000), mark.done, request, browser
        )

    def open(self, text: str | None, request: bytes, browser: str | None) -> Mark | None:
        """The mark, None where it is none, too old, of another request or another browser's."""
        found = _MARK.fullmatch(text or "")
        if found is None or browser is None:
            return None
        seen, done = int(found[1], 16), frozenset(filter(None, found[2].split("_")))
        age = now() - seen / 1000
        if not -1 <= age <= LIFE:
            return None
        for key in self._keys:
            again = self._sealed(key, seen, done, request, browser)
            if hmac.compare_digest(again, found[0]):
                return Mark(seen / 1000, done)
        return None

    @staticmethod
    def _sealed(key: bytes, seen: int, done: Iterable[str], request: bytes, browser: str) -> str:
        plain = f"{seen:x}.{'_'.join(sorted(done))}"
        said = f"{plain}\n{digest(browser)}\n".encode() + request
        return f"{plain}.{b64url_encode(hmac.digest(key, said, 'sha256')).decode()}"


def digest_of(parameters: Iterable[tuple[str, str]]) -> bytes:
    """Of a request, whatever the order of its parameters."""
    hashed = sha256()
    for name, value in sorted(parameters):
        for part in (name.encode(), value.encode()):
            hashed.update(b"%d:" % len(part) + part)
    return hashed.digest()
