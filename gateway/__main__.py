"""`python -m gateway`: one gateway process, until SIGTERM or Ctrl-C."""

import argparse
import asyncio
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Final, NoReturn

import structlog
import uvicorn
from fastapi import FastAPI
from setproctitle import setproctitle

from gateway.auth import Key, first_key
from gateway.config import GatewaySettings, is_loopback
from gateway.main import create_app
from shared import telemetry
from shared.adapters.bell import Bell
from shared.adapters.connections import ServerTooOld, refuse_old_server
from shared.adapters.redis_store import RedisJobStore
from shared.memory import keep_what_is_freed
from shared.settings import SettingsError, SharedSettings, read

_BACKLOG: Final = 2048
_MOST_FILES: Final = 65_536
_KEEP_ALIVE_S: Final = 75
_TICK_S: Final = 1.0
"""How often the time in answers is set."""


class Refused(Exception):
    """The gateway cannot start as it was asked to; the message is one sentence for whoever started it."""


class Server(uvicorn.Server):
    """Lets those who wait go as soon as it is told to stop, so that stopping takes no longer than the work at hand."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._darkroom = app
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told = asyncio.Event()

    async def main_loop(self) -> None:
        """See `uvicorn.Server`, which looks ten times a second whether it was told to stop; this waits to be told."""
        self._loop = asyncio.get_running_loop()
        # Every tenth of its own ticks sets the time in answers; ours all do.
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), _TICK_S)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See `uvicorn.Server`; called by the signal, between two steps of the loop."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._told.set)
        waiters = getattr(self._darkroom.state, "waiters", None)
        if waiters is not None:
            waiters.dismiss()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve. Exits with 2 and one sentence where settings, address or Redis cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m gateway", description="Serve Darkroom over HTTP.")
    parser.add_argument("--fd", type=int, metavar="N", help="serve on the inherited listening socket N")
    parser.add_argument("--check", action="store_true", help="only see whether settings and Redis can be used")
    asked = parser.parse_args(arguments)
    try:
        settings, shared, key = _read_settings()
        _check_redis(shared.redis_url)
        if asked.check:
            return
        listener = _listener(settings, asked.fd, key)
    except Refused as refused:
        sys.stderr.write(f"darkroom gateway: {refused}\n")
        sys.exit(2)
    setproctitle("darkroom gateway")
    telemetry.configure()
    # It warns of every byte of a malformed body, and so would let callers fill the log.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    _raise_file_limit()
    store = RedisJobStore.from_url(shared.redis_url, connections=settings.redis_connections, bell=Bell())
    app = create_app(settings, store=store, key=key)
    keep_what_is_freed()
    # Collections pass over what was made until now. A worker does not do this: it would write to every page that it
    # shares with the process that forked it.
    gc.collect()
    gc.freeze()
    _serve(app, settings, listener)


def _read_settings() -> tuple[GatewaySettings, SharedSettings, Key | None]:
    try:
        settings = read(GatewaySettings)
        return settings, read(SharedSettings), first_key(settings)
    except SettingsError as error:
        raise Refused(str(error)) from error


def _listener(settings: GatewaySettings, fd: int | None, key: Key | None) -> socket.socket:
    if fd is None:
        _refuse_foreign(settings.host, key)
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        try:
            return socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise Refused(f"Cannot listen on {settings.host} port {settings.port}: {error.strerror}.") from error
    try:
        listener = socket.socket(fileno=fd)
        listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except (OSError, ValueError) as error:
        raise Refused(f"File descriptor {fd} is no socket.") from error
    if not listening:
        raise Refused(f"File descriptor {fd} is a socket that does not listen.")
    if listener.family != socket.AF_UNIX:
        _refuse_foreign(str(listener.getsockname()[0]), key)
    return listener


def _refuse_foreign(host: str, key: Key | None) -> None:
    if key is None and not is_loopback(host):
        raise Refused(f"Without a key (X_API_KEY or X_API_KEY_FILE) Darkroom listens on loopback only, not on {host}.")


def _check_redis(url: str) -> None:
    try:
        refuse_old_server(url)
    except ServerTooOld as error:
        raise Refused(str(error)) from error


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _serve(app: FastAPI, settings: GatewaySettings, listener: socket.socket) -> None:
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.drain_s,
    )
    # Uvicorn drains and then raises the signal again; a gateway that was told to stop and did so has not failed.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    structlog.get_logger(__name__).info("listening", address=str(listener.getsockname()))
    Server(config, app).run(sockets=[listener])


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


if __name__ == "__main__":
    main()
