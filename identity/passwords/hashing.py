"""Storing and checking passwords: CPU-bound, so callers run these methods in the hashing pool.

New hashes are bcrypt over HMAC-SHA-256 (`bcrypt_sha256`), which reads the whole password where
bcrypt alone reads 72 bytes. Older and foreign hashes (see schemes.py) verify once more, and are
due for a rehash as soon as they do.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from identity.passwords.preparing import prepare
from identity.passwords.schemes import CURRENT, Recognised, recognise


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
        self._seconds = 0.0  # CPU time of the latest verification at the current cost
        # A hash of no password: made up rather than computed, which would cost the start 0.25 s.
        self._nobody = f"$bcrypt-sha256$v=2,t=2b,r={rounds}${'.' * 22}${'.' * 31}"

    def hash(self, password: str) -> str:
        """What to store. ValueError where `prepare` refuses the password."""
        encoded: str = self._current().hash(prepare(password))
        return encoded

    def verify(self, password: str, encoded: str) -> Verdict:
        """Whether `password` made `encoded`. Any text may come on either side; nothing raises.

        A wrong password takes at least as long as one for a hash of today, whatever `encoded`
        is, so that the time does not tell who was imported, or exists at all.
        """
        try:
            prepared = prepare(password)
        except ValueError:
            return WRONG  # at once, for known and unknown users alike
        known = recognise(encoded)
        if known is not None and known.scheme is CURRENT:
            return self._verify_current(prepared, known.encoded)
        clock = time.perf_counter if known and known.scheme.own_threads else time.thread_time
        started = clock()
        if known is not None and any(self._matches(p, known) for p in {prepared, password}):
            return Verdict(ok=True, rehash=True)
        self._spend(self._verification_seconds() - (clock() - started))
        return WRONG

    def dummy(self, password: str) -> None:
        """Take exactly as long as `verify` with a wrong password: for users unknown or disabled."""
        self.verify(password, self._nobody)

    def identify(self, encoded: str) -> str | None:
        """The scheme of a hash that may be imported; None when it must be refused.

        Refused is what schemes.py does not recognise, and what its library cannot parse.
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

    def _verify_current(self, prepared: str, encoded: str) -> Verdict:
        context = self._current()
        started = time.thread_time()
        try:
            ok = bool(context.verify(prepared, encoded))
            due = bool(context.needs_update(encoded))
        except Exception:  # the right shape around what bcrypt refuses
            ok, due = False, True
        spent = time.thread_time() - started
        if ok:
            return Verdict(ok=True, rehash=due)
        if due:
            self._spend(self._verification_seconds() - spent)
        else:
            self._seconds = spent
        return WRONG

    def _matches(self, password: str, known: Recognised) -> bool:
        """For foreign schemes. `password` also comes unprepared: others may not have used NFC."""
        secret = password.encode()
        if known.scheme.first_72_bytes:
            secret = secret[:72]  # as the library that made the hash cut it
        try:
            if known.scheme.handler:
                return bool(_handler(known.scheme.handler).verify(secret, known.encoded))
            return known.scheme.check is not None and known.scheme.check(secret, known.found)
        except Exception:  # passlib's handlers raise what they like on damaged hashes
            return False

    def _verification_seconds(self) -> float:
        if not self._seconds:
            self._verify_current("", self._nobody)
        return self._seconds

    @staticmethod
    def _spend(seconds: float) -> None:
        """CPU time rather than sleep: a busy machine must slow both paths alike."""
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            hashlib.pbkdf2_hmac("sha256", b"", b"", 1_000)


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
