"""What tokens are bound to: whoever sends one proves as well that they hold this (RFC 7800)."""

from typing import Final, NamedTuple

_CERTIFICATE = "x5t#S256="


class Binding(NamedTuple):
    """Thumbprints of what a request has proved to hold, or of what tokens are bound to. None:
    of nothing."""

    jkt: str | None = None
    """Of a key, by DPoP (RFC 9449 §6.1)."""
    x5t: str | None = None
    """Of a certificate, by TLS (RFC 8705 §3.1)."""

    @property
    def cnf(self) -> dict[str, str] | None:
        """As a token says it."""
        if self == UNBOUND:
            return None
        said = {"jkt": self.jkt, "x5t#S256": self.x5t}
        return {name: digest for name, digest in said.items() if digest is not None}

    @property
    def text(self) -> str | None:
        """As the column `jkt` of a session or family has it: a key stands alone there, as it did
        before there was anything else; a version that knows of nothing else refuses the rest."""
        certificate = self.x5t and f"{_CERTIFICATE}{self.x5t}"
        return " ".join(filter(None, (self.jkt, certificate))) or None

    @classmethod
    def read(cls, text: str | None) -> "Binding":
        if not text:
            return UNBOUND
        words = text.split(" ")
        keys = [word for word in words if not word.startswith(_CERTIFICATE)]
        certificates = [
            word.removeprefix(_CERTIFICATE) for word in words if word.startswith(_CERTIFICATE)
        ]
        return cls(next(iter(keys), None), next(iter(certificates), None))


UNBOUND: Final = Binding()
