"""Parts of a system that are started by hand, and a Redis of their own."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import httpx2
import redis

from benchmarks.surroundings import ROOT, plain
from darkroom.embedded import find_server

_START_S: Final = 60.0
_STOP_S: Final = 20.0
_LOOK_S: Final = 0.02


class NotReady(Exception):
    """It did not get ready in time; the message is what it said."""


@contextmanager
def program(*arguments: str, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python <arguments>`, ended with the block; what it says is kept aside."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=plain(**environ),
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            yield process
        except NotReady as error:
            said.seek(0)
            raise NotReady(f"{error}: {said.read().decode(errors='replace')}") from None
        finally:
            _end(process)


@contextmanager
def private_redis(*, append_only: bool) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server of our own on a free port of the loopback, its data gone with the block, and its URL.

    With `append_only` it keeps what it is told as Darkroom's own does, else not at all.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="darkroom-") as folder:
        options = [
            *("--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--loglevel", "warning"),
            *("--appendonly", "yes" if append_only else "no", "--appendfsync", "everysec"),
            *("--maxmemory-policy", "noeviction"),
            *("--auto-aof-rewrite-min-size", "512mb", "--rdbcompression", "no"),
        ]
        process = subprocess.Popen([find_server(), *options], stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            with redis.Redis(port=port) as client:
                wait_for(lambda: _answers(client), process)
            yield process, f"redis://127.0.0.1:{port}/0"
        finally:
            _end(process)


def wait_for(there: Callable[[], bool], *processes: subprocess.Popen[bytes]) -> None:
    """Return as soon as it is there.

    Raises: NotReady when that takes too long, or one of the processes has ended.
    """
    end = time.monotonic() + _START_S
    while not there():
        ended = next((process for process in processes if process.poll() is not None), None)
        if ended is not None or time.monotonic() > end:
            raise NotReady(f"{(ended or processes[0]).args!r} is not ready")
        time.sleep(_LOOK_S)


def serves(url: str) -> Callable[[], bool]:
    """Whether this URL answers with a status of 200."""

    def there() -> bool:
        try:
            return httpx2.get(url, timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    return there


def listens(port: int) -> Callable[[], bool]:
    """Whether somebody listens on this port."""

    def there() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return there


def free_port() -> int:
    """A port of the loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.RedisError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        # The session is the program's own: what it left behind goes with it.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
