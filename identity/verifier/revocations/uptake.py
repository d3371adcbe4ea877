"""What a follower says of itself: who it is, and which keys of the issuer it has. The issuer signs
with a new key once all who say so have it."""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Callable, Collection
from typing import Final

MOST: Final = 64
_KID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Uptake:
    """`kids`: those of the key set that this process has; none before it came."""

    def __init__(self, kids: Callable[[], Collection[str]]) -> None:
        self._kids = kids
        host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:40]
        self.name = f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
        """Its host and process, for whoever looks for it, and what makes it one of its own."""
        self.said: str | None = None
        """What the issuer was told last, and has answered to."""

    @property
    def now(self) -> str | None:
        """What there is to say; None where nothing has come yet."""
        kids = sorted(kid for kid in self._kids() if _KID.fullmatch(kid))
        return " ".join(kids[:MOST]) or None

    def headers(self) -> dict[str, str]:
        now = self.now
        return {} if now is None else {"identity-follower": self.name, "identity-keys": now}
