"""The connections over which requests go, and a way to end all that is under way on them."""

import socket
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, Final, TypeVar
from weakref import WeakSet

import httpx2

from darkroom.errors import ConnectionFailed
from darkroom.exchanges import Exchange, Request
from darkroom.transport import arguments, translated

T = TypeVar("T")

_OPENED: Final = ".complete"


class Lines:
    """Carries exchanges over `http`, for any number of threads. `own` tells that nobody else uses its connections."""

    def __init__(self, http: httpx2.Client, timeout_s: float, *, own: bool = False) -> None:
        self._http = http
        self._timeout_s = timeout_s
        self._extensions = {"trace": self._opened} if own else {}
        self._cut = threading.Event()
        self._guard = threading.Lock()
        self._sockets: WeakSet[socket.socket] = WeakSet()

    def carry(self, exchange: Exchange[T]) -> T:
        """What the exchange comes to.

        Raises: what it raises; CancelledError once cut.
        """
        try:
            request = next(exchange)
            while True:
                try:
                    response = self._send(request)
                except ConnectionFailed as error:
                    request = exchange.throw(error)
                else:
                    request = exchange.send(response)
        except StopIteration as stop:
            outcome: T = stop.value
            return outcome

    def cut(self) -> None:
        """End all that is under way, from any thread; nothing is sent from now on.

        Over connections that others use too an answer under way is still waited for.
        """
        with self._guard:
            self._cut.set()
            for opened in self._sockets:
                _shut(opened)

    def _send(self, request: Request) -> httpx2.Response:
        if self._cut.wait(request.after_s):
            raise CancelledError
        with translated(self._http.base_url):
            return self._http.request(**arguments(request, self._timeout_s), extensions=self._extensions)

    def _opened(self, event: str, told: Mapping[str, Any]) -> None:
        # Closing a socket does not wake the thread that reads from it, and shutting it down does: they must be known.
        stream: Any = told.get("return_value")
        if not event.endswith(_OPENED) or not hasattr(stream, "get_extra_info"):
            return
        opened = stream.get_extra_info("socket")
        if isinstance(opened, socket.socket):
            with self._guard:
                self._sockets.add(opened)
                if self._cut.is_set():
                    _shut(opened)


def _shut(opened: socket.socket) -> None:
    with suppress(OSError):
        # Of a TLS socket too only the connection: its own way would take the cipher from the thread that reads.
        socket.socket.shutdown(opened, socket.SHUT_RDWR)
