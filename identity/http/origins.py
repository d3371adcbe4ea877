"""Where a browser's request comes from, as far as the browser says, and where it is sent next."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from identity.http.messages import Request, Response


def origin_of(address: str) -> str:
    """As browsers send it (RFC 6454 §6.2). `address`: an http(s) URL."""
    parts = urlsplit(address)
    usual = {"https": 443, "http": 80}[parts.scheme]
    port = f":{parts.port}" if parts.port and parts.port != usual else ""
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def from_elsewhere(request: Request, own: str) -> bool | None:
    """Whether a page of another origin has sent it; None where nothing says. `own`: our origin."""
    site = request.header(b"sec-fetch-site")
    if site is not None:
        return site not in (b"same-origin", b"none")
    origin = request.header(b"origin")
    return None if origin is None else origin.decode("latin-1") != own


def see_other(location: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> Response:
    """`location` in ASCII."""
    return Response(303, [(b"location", location.encode("ascii")), *headers], b"")
