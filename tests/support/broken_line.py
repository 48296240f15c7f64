"""A line to a server that breaks when the answer comes: what was asked for is done, and the caller never hears."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_CHUNK = 65_536


class BrokenLine:
    """Passes connections on to `server`. Of the next `breaks` answers not a byte gets through."""

    def __init__(self, server: str) -> None:
        parts = urlsplit(server)
        self._server = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.breaks = 0
        self.broke = 0

    def serve(self) -> None:
        """Take callers until closed."""
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            self._open |= {caller, server}
            threading.Thread(target=self._ask, args=(caller, server), daemon=True).start()
            threading.Thread(target=self._answer, args=(caller, server), daemon=True).start()

    def close(self) -> None:
        """Break everything."""
        # Closing alone does not wake who is accepting.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in list(self._open):
            _hang_up(end)

    def _ask(self, caller: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := caller.recv(_CHUNK):
                server.sendall(data)
        _hang_up(server)

    def _answer(self, caller: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(_CHUNK):
                if self._breaks():
                    break
                caller.sendall(data)
        _hang_up(caller)

    def _breaks(self) -> bool:
        with self._lock:
            if not self.breaks:
                return False
            self.breaks -= 1
            self.broke += 1
            return True


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def broken_line(server: str) -> Iterator[BrokenLine]:
    """Such a line, whole until `breaks` is set."""
    line = BrokenLine(server)
    thread = threading.Thread(target=line.serve)
    thread.start()
    try:
        yield line
    finally:
        line.close()
        thread.join(10)
        assert not thread.is_alive()
