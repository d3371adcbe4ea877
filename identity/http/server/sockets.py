"""The sockets that processes behind one port listen on."""

import socket
import sys
from typing import Any

Sockets = list[socket.socket]
SPREAD = sys.platform == "linux"
"""Whether the kernel spreads connections evenly over sockets that share a port."""


def hold(host: str, port: int, *, shared: bool) -> Sockets:
    """Sockets bound to `port`, which do not listen yet. Raises OSError.

    `shared`: several processes serve there, each on its `own` of them. Port 0 picks a free one.
    """
    places = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    held: Sockets = []
    for family, _, _, _, place in dict.fromkeys(places):
        if port == 0 and held:
            place = (place[0], held[0].getsockname()[1], *place[2:])
        # Without SO_REUSEPORT first, which would let a second service in beside a running one.
        first = _bound(family, place, shared=False)
        if shared and SPREAD:
            place = first.getsockname()
            first.close()
            first = _bound(family, place, shared=True)
        held.append(first)
    return held


def own(held: Sockets) -> Sockets:
    """This process's sockets in the places that its parent holds. What listens ends with it: the
    kernel would give a part of all connections to a socket behind which nobody is. Elsewhere than
    on Linux all processes accept from the same ones."""
    if not SPREAD:
        return held
    sockets = [_bound(each.family, each.getsockname(), shared=True) for each in held]
    for each in held:
        each.close()
    return sockets


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
