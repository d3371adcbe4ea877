"""A TCP proxy that can be pointed elsewhere, and that breaks connections where a test says."""

import socket
import struct
from contextlib import suppress
from threading import Lock, Thread

SIZE = 1 << 16
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection


class Wire:
    """Listens on `url`; passes everything to `target`, a port, both ways."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.target: int | None = None
        self._open: set[socket.socket] = set()
        self._cuts: list[tuple[bytes, int]] = []
        self._lock = Lock()
        self.cut = 0
        """How many connections were cut in mid-event."""
        Thread(target=self._accept, daemon=True).start()

    def point_to(self, port: int | None) -> None:
        """Serve from there, with new connections: those that are open are reset."""
        self.target = port
        with self._lock:
            doomed, self._open = self._open, set()
        for each in doomed:
            _reset(each)

    def cut_behind(self, marker: bytes, octets: int) -> None:
        """Reset the connection once whose answer holds `marker`, after so many octets from its
        beginning on."""
        with self._lock:
            self._cuts.append((marker, octets))

    def close(self) -> None:
        self._listener.close()
        self.point_to(None)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self.target is None:
                    raise OSError
                server = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            Thread(target=self._pass, args=(client, server, False), daemon=True).start()
            Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, answering: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(SIZE):
                upto = self._place_to_cut(piece) if answering else None
                sink.sendall(piece[:upto])
                if upto is not None:
                    break
        with self._lock:
            self._open -= {source, sink}
        for each in (source, sink):
            _reset(each) if answering else _shut(each)

    def _place_to_cut(self, piece: bytes) -> int | None:
        with self._lock:
            for cut in self._cuts:
                found = piece.find(cut[0])
                if found >= 0:
                    self._cuts.remove(cut)
                    self.cut += 1
                    return found + cut[1]
        return None


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    _shut(end)
    end.close()
