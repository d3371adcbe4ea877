"""Whoever has given the right password and still owes a second factor is not signed in.

Nothing is kept of them: the page that asks for the code carries a seal, which says which login name
gave the right password and when. It is good for a few minutes, in the browser that gave it, and as
long as the password stays what it was.
"""

import hmac
import re
from datetime import timedelta

from identity.authentication.password import Account
from identity.clock import now
from identity.keys.master import MasterKey
from identity.opaque import digest
from identity.verifier.gate.encoding import b64url_encode

LIFE = timedelta(minutes=10)
_SEAL = re.compile(r"([0-9a-f]{1,12})\.([A-Za-z0-9_-]{43})")


class Halfway:
    def __init__(self, master: MasterKey) -> None:
        self._keys = master.derive_all("halfway")

    def seal(self, account: Account, login: str, browser: str) -> str:
        """`login`: the name as it was typed. `browser`: the value of its cookie."""
        return _sealed(self._keys[0], int(now()), account, login, browser)

    def holds(self, text: str, account: Account, login: str, browser: str | None) -> bool:
        """Whether this browser has lately given the right password of `account`."""
        found = _SEAL.fullmatch(text)
        if found is None or browser is None:
            return False
        at = int(found[1], 16)
        if not 0 <= int(now()) - at <= LIFE.total_seconds():
            return False
        again = (_sealed(key, at, account, login, browser) for key in self._keys)
        return any(hmac.compare_digest(each, text) for each in again)


def _sealed(key: bytes, at: int, account: Account, login: str, browser: str) -> str:
    said = (account.id, account.password_hash or "", digest(login), digest(browser))
    sealed = hmac.digest(key, "\n".join((f"{at:x}", *said)).encode(), "sha256")
    return f"{at:x}.{b64url_encode(sealed).decode()}"
