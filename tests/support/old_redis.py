"""A server that says it is an old Redis, on a real socket: those that are old cannot be had any more."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

VERSION = "6.0.16"


class _Talk(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while header := self.rfile.readline():
            words = []
            for _ in range(int(header[1:])):
                length = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(length + 2)[:-2].upper())
            self.wfile.write(self._answer(words[0]))

    def _answer(self, command: bytes) -> bytes:
        if command == b"HELLO":
            return b"%1\r\n+proto\r\n:3\r\n"
        if command == b"INFO":
            told = f"# Server\r\nredis_version:{VERSION}\r\n".encode()
            return b"$%d\r\n%s\r\n" % (len(told), told)
        return b"+OK\r\n"


@contextmanager
def old_redis() -> Iterator[str]:
    """Its address, while it runs."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Talk) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        server.shutdown()
        thread.join()
