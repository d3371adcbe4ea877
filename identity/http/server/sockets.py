"""The sockets that processes behind one port listen on."""

import socket
import sys
from typing import Any

Sockets = list[socket.socket]


def listen(host: str, port: int, count: int) -> list[Sockets]:
    """For each of `count` processes its own sockets on one port. Raises OSError.

    On Linux the kernel spreads connections evenly over sockets that share a port; elsewhere all
    processes accept from one socket. Port 0 picks a free port, the same for all.
    """
    spread = count > 1 and sys.platform == "linux"
    places = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    everyone: list[Sockets] = [[] for _ in range(count)]
    for family, _, _, _, place in dict.fromkeys(places):
        if port == 0 and everyone[0]:
            place = (place[0], everyone[0][0].getsockname()[1], *place[2:])
        # Without SO_REUSEPORT first, which would let a second service in beside a running one.
        first = _bound(family, place, shared=False)
        if not spread:
            for sockets in everyone:
                sockets.append(first)
            continue
        place = first.getsockname()
        first.close()
        for sockets in everyone:
            sockets.append(_bound(family, place, shared=True))
    return everyone


def _bound(family: int, place: Any, *, shared: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(place)
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(True)
    return listener
