"""The cookies of people's browsers: few, small, opaque (RFC 6265).

With https their names begin with `__Host-`, so that no other host of the domain can set them. A
browser believes that prefix only together with https, so on loopback it is left out.
"""

from identity.dataclass import dataclass
from identity.http.messages import Request

Header = tuple[bytes, bytes]
SESSION = "identity"
"""Who is signed in."""
BROWSER = "identity-browser"
"""Which browser this is, for marks; it says nothing of a person."""
DEVICE = "identity-device"
"""The same, for years: by it somebody's new browser is told from one that they have used."""


@dataclass(frozen=True)
class Cookies:
    secure: bool

    def name(self, cookie: str) -> str:
        return f"__Host-{cookie}" if self.secure else cookie

    def read(self, request: Request, cookie: str) -> str | None:
        """Its value. Of several the first, which is the one with the longest path."""
        wanted = self.name(cookie).encode()
        for header, value in request.scope["headers"]:
            if header != b"cookie":
                continue
            for pair in value.split(b";"):
                name, equals, said = pair.strip(b" \t").partition(b"=")
                if equals and name == wanted:
                    return str(said, "latin-1")
        return None

    def set(self, cookie: str, value: str, max_age: int | None = None) -> Header:
        """`max_age`: seconds; None as long as the browser runs."""
        lasting = f"; Max-Age={max_age}" if max_age is not None else ""
        return self._line(f"{self.name(cookie)}={value}{lasting}")

    def clear(self, cookie: str) -> Header:
        return self._line(f"{self.name(cookie)}=; Max-Age=0")

    def _line(self, pair: str) -> Header:
        secure = "; Secure" if self.secure else ""
        return (b"set-cookie", f"{pair}; Path=/; HttpOnly; SameSite=Lax{secure}".encode("latin-1"))
