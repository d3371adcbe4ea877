"""Storing and checking passwords: CPU-bound, so callers run these methods in the hashing pool.

New hashes are bcrypt over HMAC-SHA-256 (`bcrypt_sha256`), which reads the whole password where
bcrypt alone reads 72 bytes. Older and foreign hashes (`hashes.schemes`) verify once more, and are
due for a rehash as soon as they do.

The time of a refusal says nothing about the account. While all hashes are of today's kind, an
unknown user costs a comparison with nobody's hash. Where others are stored (an import, another
cost), every refusal takes the time of the dearest of them and a little more (`MARGIN`), up to
`DEAREST`: whatever was compared, and if anything was. What a kind costs is measured here, on this
machine, by a hash of the same settings, for passwords of about this length.
"""

import hashlib
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection
from threading import Lock
from typing import Any

from identity.authentication.passwords.preparing import prepare
from identity.dataclass import dataclass
from identity.directory.hashes.recognising import Recognised, recognise, specimen
from identity.directory.hashes.schemes import CURRENT

DEAREST = 1.0
"""Seconds of CPU time. A stored kind that costs more shows, rather than have every wrong password
cost so much; with today's kind alone it is what the rounds say."""
MARGIN = 1.25
"""How much longer a refusal takes than the dearest kind usually does, for that varies a little."""
_AT_FIRST, _LATEST = 3, 9
"""Measurements of a kind: those made before it is known, and how many count."""
_BLOCK = 64
"""Octets of a password: some kinds take more time for every block of one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    ok: bool
    rehash: bool
    """The password is right, but its hash is not what `hash` makes today."""


WRONG = Verdict(ok=False, rehash=False)


class PasswordHasher:
    """`rounds`: bcrypt's cost, the logarithm of its work (12 takes about a quarter second).

    Safe to share between threads. Passwords are given as they arrived: every method applies
    `prepare` itself. passlib is imported when the first password is hashed (70 ms), so that
    starting the service does not pay for it.
    """

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self._context: Any = None
        self._loading = Lock()
        self._spent: defaultdict[tuple[str, int], deque[float]] = defaultdict(
            lambda: deque(maxlen=_LATEST)
        )
        # A hash of no password: made up rather than computed, which would cost the start 0.25 s.
        self._nobody = f"$bcrypt-sha256$v=2,t=2b,r={rounds}${'.' * 22}${'.' * 31}"

    @property
    def kind(self) -> str:
        """`recognising.specimen` of what `hash` makes."""
        return self._nobody

    def hash(self, password: str) -> str:
        """What to store. ValueError where `prepare` refuses the password."""
        encoded: str = self._current().hash(prepare(password))
        return encoded

    def verify(self, password: str, encoded: str, kinds: Collection[str] = ()) -> Verdict:
        """Whether `password` made `encoded`. Any text may come on either side; nothing raises.

        `kinds`: `recognising.specimen` of all hashes that are stored. However long a wrong password
        takes, it takes as long for every `encoded`.
        """
        try:
            prepared = prepare(password)
        except ValueError:
            return WRONG  # at once, for known and unknown users alike
        known = recognise(encoded)
        least = self._least(password, prepared, kinds)
        verdict, spent = self._compare(password, prepared, known)
        if spent is None:
            known = recognise(self._nobody)
            spent = self._compare(password, prepared, known)[1] or 0.0
        if not verdict.ok:
            if known is None or not self._of_today(known):
                least = max(least, self._usual(self._nobody, password, prepared))
            _spend(least - spent)
        return verdict

    def dummy(self, password: str, kinds: Collection[str] = ()) -> None:
        """Take exactly as long as `verify` with a wrong password: for users unknown or disabled."""
        self.verify(password, self._nobody, kinds)

    def identify(self, encoded: str) -> str | None:
        """The scheme of a hash that may be imported; None when it must be refused.

        Refused is what `recognise` does not know, and what its library cannot parse.
        """
        known = recognise(encoded)
        if known is None:
            return None
        try:
            if known.scheme.handler:
                _handler(known.scheme.handler).needs_update(known.encoded)
        except Exception:
            return None
        return known.scheme.name

    def _current(self) -> Any:
        with self._loading:
            if self._context is None:
                from passlib.context import CryptContext

                context = CryptContext(["bcrypt_sha256"], bcrypt_sha256__rounds=self.rounds)
                context.handler().set_backend()  # its self-test is not for two threads at once
                self._context = context
            return self._context

    def _of_today(self, known: Recognised) -> bool:
        return known.scheme is CURRENT and int(known.found["cost"]) == self.rounds

    def _least(self, password: str, prepared: str, kinds: Collection[str]) -> float:
        """Seconds that a refusal must take; 0 where all hashes are of today's kind."""
        others = [
            kind
            for kind in kinds
            if (known := recognise(kind)) is not None and not self._of_today(known)
        ]
        if not others:
            return 0.0
        dearest = max(self._usual(kind, password, prepared) for kind in others)
        return MARGIN * max(min(dearest, DEAREST), self._usual(self._nobody, password, prepared))

    def _usual(self, kind: str, password: str, prepared: str) -> float:
        """Seconds that comparing with a hash of this kind usually takes; measured, if need be."""
        known = recognise(kind)
        assert known is not None
        blocks = len(password.encode()) // _BLOCK
        spent = self._spent[kind, blocks]
        if len(spent) < _AT_FIRST:
            made_up = "x" * (blocks * _BLOCK + _BLOCK // 2)
            for _ in range(_AT_FIRST):
                self._compare(made_up, made_up, known)
        if not spent:  # a specimen that nothing can be compared with
            return 0.0
        from statistics import median  # takes fractions and decimals along: nobody else needs it

        usual = min if known.scheme.own_threads else median
        return usual(tuple(spent)) * len(_spellings(password, prepared, known))

    def _compare(
        self, password: str, prepared: str, known: Recognised | None
    ) -> tuple[Verdict, float | None]:
        """The verdict, and the seconds it took; None where nothing could be compared."""
        if known is None:
            return WRONG, None
        clock = time.perf_counter if known.scheme.own_threads else time.thread_time
        spellings = _spellings(password, prepared, known)
        try:
            matches = self._loaded(known)
            started = clock()
            verdict = next((v for v in map(matches, spellings) if v.ok), WRONG)
        except Exception:  # passlib and bcrypt raise what they like on damaged hashes
            return WRONG, None
        spent = clock() - started
        if not verdict.ok and (kind := specimen(known.found.string)) is not None:
            usual = self._spent[kind, len(password.encode()) // _BLOCK]
            usual.append(spent / len(spellings))
            if known.scheme.own_threads:  # by the clock: what they waited for a core is no work
                spent = min(usual) * len(spellings)
        return verdict, spent

    def _loaded(self, known: Recognised) -> Callable[[str], Verdict]:
        """What compares passwords with this hash; its library is imported."""
        if known.scheme is CURRENT:
            context = self._current()

            def current(password: str) -> Verdict:
                if not context.verify(password, known.encoded):
                    return WRONG
                return Verdict(ok=True, rehash=bool(context.needs_update(known.encoded)))

            return current
        handler = _handler(known.scheme.handler) if known.scheme.handler else None

        def foreign(password: str) -> Verdict:
            secret = password.encode()
            if known.scheme.first_72_bytes:
                secret = secret[:72]  # as the library that made the hash cut it
            if handler is not None:
                right = bool(handler.verify(secret, known.encoded))
            else:
                check = known.scheme.check
                right = check is not None and check(secret, known.found)
            return Verdict(ok=True, rehash=True) if right else WRONG

        return foreign


def _spellings(password: str, prepared: str, known: Recognised) -> set[str]:
    """What is compared: others may not have prepared passwords as we do."""
    return {prepared} if known.scheme is CURRENT else {prepared, password}


def _spend(seconds: float) -> None:
    """CPU time rather than sleep: a busy machine must slow both paths alike."""
    until = time.thread_time() + seconds
    while (left := until - time.thread_time()) > 0:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 1_000 if left > 0.002 else 20)


_handlers: dict[str, Any] = {}
_handlers_lock = Lock()


def _handler(name: str) -> Any:
    with _handlers_lock:
        if name not in _handlers:
            from passlib.registry import get_crypt_handler

            handler = get_crypt_handler(name)
            load: Callable[[], None] | None = getattr(handler, "set_backend", None)
            if load:
                load()
            _handlers[name] = handler
        return _handlers[name]
