"""Whom passkeys belong to: the relying party, which is a domain, and the origins that may use them
(WebAuthn 3 §5.11, §13.4.9)."""

from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from identity.dataclass import dataclass
from identity.directory.uris import origin_of
from identity.settings import Settings


@dataclass(frozen=True)
class RelyingParty:
    id: str
    origins: tuple[str, ...]
    """Our own, then the related ones."""
    why_not: Literal["address", "insecure"] | None
    """Why browsers refuse passkeys here: the issuer is an IP address, or has no https."""

    @property
    def possible(self) -> bool:
        return self.why_not is None

    @property
    def related(self) -> list[str]:
        """What `/.well-known/webauthn` says: apps are no origins of the web."""
        return [origin for origin in self.origins[1:] if origin.startswith("https:")]

    @classmethod
    def of(cls, settings: Settings) -> "RelyingParty":
        parts = urlsplit(settings.issuer)
        host = parts.hostname or ""
        chosen = settings.passkeys
        own = origin_of(settings.issuer) or settings.issuer
        others = tuple(origin for origin in chosen.related_origins if origin != own)
        why: Literal["address", "insecure"] | None = None
        if _is_address(host):
            why = "address"
        elif parts.scheme != "https" and host != "localhost" and not host.endswith(".localhost"):
            why = "insecure"
        return cls(chosen.rp_id or host, (own, *others), why)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
