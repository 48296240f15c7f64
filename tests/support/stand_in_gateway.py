"""Run as a program: `--fd N` serves the inherited socket N and is always ready; it says its number to whoever asks.

`--check` finds nothing wrong.
"""

import os
import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until SIGTERM."""
    if "--check" in sys.argv:
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
    server = HTTPServer(listener.getsockname(), _Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.serve_forever(poll_interval=60)


if __name__ == "__main__":
    main()
