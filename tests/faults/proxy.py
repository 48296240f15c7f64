"""A line to a server that can be slowed, cut, broken and turned into a grave while bytes cross it.

In process: `with proxy("127.0.0.1", 6379) as line: ... line.black_hole() ... line.heal()`.
As a program: `python -m tests.faults.proxy HOST:PORT` says where it listens and then obeys a word a line:
`pass`, `latency MS`, `black-hole [to-server|to-client|both] [old]`, `reset`, `half-open`, `down`.
"""

import asyncio
import socket
import struct
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Any, Final, TypeAlias, TypeVar

T = TypeVar("T")

_CHUNK: Final = 65_536
_REMEMBERED: Final = 16_384
_BACKLOG: Final = 512
_AT_ONCE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends RST and not FIN."""


class Way(Flag):
    """Which of the two ways bytes go."""

    TO_SERVER = auto()
    TO_CLIENT = auto()
    BOTH = TO_SERVER | TO_CLIENT


@dataclass(slots=True, kw_only=True, eq=False)
class Connection:
    """One client's connection, and the one to the server that stands for it."""

    number: int
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    heard: bytes = b""
    """The beginning of what the client said: it tells what the connection is for."""
    orphaned: bool = False
    """The server's side is gone, and the client was not told."""
    missed: int = 0
    """Bytes that the client said since then."""


Which: TypeAlias = Callable[[Connection], bool]


def every(_: Connection) -> bool:
    """All connections."""
    return True


def saying(*words: bytes) -> Which:
    """Connections whose client said all of these words near its beginning, in any case."""
    return lambda connection: all(word.lower() in connection.heard.lower() for word in words)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hole:
    way: Way
    which: Which
    last: float
    """Connections with a greater number came after the hole and are spared."""


@dataclass(slots=True)
class Proxy:
    """Passes connections to `host`:`port` on. Methods may be called from any thread and have done it on return."""

    host: str
    to_port: int
    port: int = 0
    """Where it listens on the loopback; set once it runs, and kept."""
    latency_ms: float = 0
    """How much later bytes arrive, each way; may be set at any time."""
    taken: int = 0
    """How many connections it took so far."""
    _open: set[Connection] = field(default_factory=set)
    _hole: _Hole | None = None
    _server: asyncio.Server | None = None
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens, as an address of Redis."""
        return f"redis://127.0.0.1:{self.port}/0"

    def connections(self, which: Which = every) -> int:
        """How many such connections are open on the client's side."""
        return self._do(lambda: sum(map(which, self._open)))

    def heal(self) -> None:
        """Listen, delay nothing, hold nothing back: what a black hole swallowed arrives now, as TCP says it again."""
        self.latency_ms = 0
        self._dig(None)
        self.up()

    def black_hole(self, way: Way = Way.BOTH, *, which: Which = every, newcomers: bool = True) -> None:
        """Let nothing through that way until healed; without `newcomers`, later connections are spared.

        Nobody is told: connections are accepted and stay open. Bytes are late and never lost in between, so that no
        stream loses its middle; one whose client has given up delivers what it was asked to, after `heal`.
        """
        self._dig(_Hole(way=way, which=which, last=float("inf") if newcomers else self.taken))

    def reset(self, which: Which = every) -> int:
        """Break these connections on both sides with RST. How many they were."""
        return self._do(lambda: sum(map(_break, [one for one in self._open if which(one)])))

    def half_open(self, which: Which = every) -> int:
        """Take the server's side of these away for ever, and never tell the clients. How many they were."""

        def orphan() -> int:
            chosen = [one for one in self._open if which(one) and not one.orphaned]
            for connection in chosen:
                connection.orphaned = True
                connection.server.transport.abort()
            return len(chosen)

        return self._do(orphan)

    def down(self) -> None:
        """Refuse new connections and reset those there are, until `up` or `heal`."""
        self._await(self._unlisten())

    def up(self) -> None:
        """Listen, where it listened before."""
        self._await(self._listen())

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.up()

    def stop(self) -> None:
        """Break everything and end."""
        self._await(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        assert self._thread is not None
        self._thread.join(10)
        self._loop.close()

    def _do(self, call: Callable[[], T]) -> T:
        async def called() -> T:
            return call()

        return self._await(called())

    def _await(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def _dig(self, hole: _Hole | None) -> None:
        async def dig() -> None:
            async with self._changed:
                self._hole = hole
                self._changed.notify_all()

        self._await(dig())

    async def _listen(self) -> None:
        if self._server is None:
            listener = socket.create_server(("127.0.0.1", self.port), backlog=_BACKLOG)
            self.port = listener.getsockname()[1]
            self._server = await asyncio.start_server(self._take, sock=listener, backlog=_BACKLOG)

    async def _unlisten(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._open):
            _break(connection)

    async def _end(self) -> None:
        await self._unlisten()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, asking: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.taken += 1
        number = self.taken
        # Cancelled only when all ends; the stream that called would tell of it as of an error.
        with suppress(asyncio.CancelledError):
            try:
                answering, server = await asyncio.open_connection(self.host, self.to_port)
            except OSError:
                _slam(client)
                return
            connection = Connection(number=number, client=client, server=server)
            self._open.add(connection)
            try:
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(self._carry(connection, Way.TO_SERVER, asking, server))
                    ways.create_task(self._carry(connection, Way.TO_CLIENT, answering, client))
            finally:
                self._open.discard(connection)
                client.transport.abort()
                server.transport.abort()

    async def _carry(
        self, connection: Connection, way: Way, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        broken = False
        while True:
            try:
                data = await source.read(_CHUNK)
            except OSError:
                data, broken = b"", True
            if way is Way.TO_SERVER and len(connection.heard) < _REMEMBERED:
                connection.heard += data[:_REMEMBERED]
            async with self._changed:
                await self._changed.wait_for(lambda: not self._holds(connection, way))
            if self.latency_ms:
                await asyncio.sleep(self.latency_ms / 1000)
            if connection.orphaned:
                if way is Way.TO_CLIENT or not data:
                    return
                connection.missed += len(data)
                continue
            with suppress(OSError):
                if data:
                    sink.write(data)
                    await sink.drain()
                    continue
                if not broken and sink.can_write_eof():
                    sink.write_eof()
                    return
            _slam(sink)
            return

    def _holds(self, connection: Connection, way: Way) -> bool:
        hole = self._hole
        return hole is not None and way in hole.way and connection.number <= hole.last and hole.which(connection)


def _slam(end: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    end.transport.abort()


def _break(connection: Connection) -> bool:
    _slam(connection.client)
    _slam(connection.server)
    return True


@contextmanager
def proxy(host: str, port: int) -> Iterator[Proxy]:
    """One that runs, in a thread of this process."""
    line = Proxy(host, port)
    line.start()
    try:
        yield line
    finally:
        line.stop()


def obey(line: Proxy, command: str) -> None:
    """Do what a line of the program's input says.

    Raises: ValueError where it says nothing that is known.
    """
    match command.split():
        case ["pass"]:
            line.heal()
        case ["latency", number]:
            line.latency_ms = float(number)
        case ["black-hole", *words]:
            ways = [Way[word.replace("-", "_").upper()] for word in words if word != "old"] or [Way.BOTH]
            line.black_hole(ways[0], newcomers="old" not in words)
        case ["reset"]:
            line.reset()
        case ["half-open"]:
            line.half_open()
        case ["down"]:
            line.down()
        case _:
            raise ValueError(f"not known: {command.strip()}")


def main(server: str, commands: Iterable[str]) -> None:
    """Run as a program until the input ends."""
    host, _, port = server.rpartition(":")
    with proxy(host, int(port)) as line:
        sys.stdout.write(f"{line.port}\n")
        sys.stdout.flush()
        for command in commands:
            try:
                obey(line, command)
                said = "ok"
            except (KeyError, ValueError) as error:
                said = str(error)
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.stdin)
