"""Connections to Redis for what every request needs: one that many calls share, and one that listens.

A client with a pool spends more time on its own books than on the wire. Here a call is written at once behind the
others' and its answers come in the same order.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

import hiredis
from redis.asyncio.connection import parse_url
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

Argument: TypeAlias = bytes | str | int | float
Command: TypeAlias = Sequence[Argument]

_LARGE: Final = 16 * 1024
"""What is longer goes out as it is; what is shorter is cheaper to copy."""

_FULL: Final = 4 * 1024 * 1024
"""Bytes that may wait to be written; who comes then waits."""

_ERRORS: Final = MappingProxyType(
    {
        "NOAUTH": AuthenticationError,
        "NOPERM": NoPermissionError,
        "NOSCRIPT": NoScriptError,
        "OOM": OutOfMemoryError,
        "WRONGPASS": AuthenticationError,
    }
)


class Line:
    """Connects when it is first asked, and again after it broke. One event loop's.

    `timeout_s`: a server that says nothing for so long, while it owes an answer, is not waited for; `connect_s`: so
    long for a connection.
    """

    def __init__(self, url: str, *, name: str, timeout_s: float, connect_s: float) -> None:
        self._where = parse_url(url)
        self._name = name
        self._timeout_s = timeout_s
        self._connect_s = connect_s
        self._wire: _Wire | None = None
        self._opening: asyncio.Task[_Wire] | None = None
        self._closed = False

    async def call(self, *commands: Command) -> list[Any]:
        """The answers to the commands, in one round trip; an error that a command got is its answer.

        A line that broke is replaced once, and everything asked again. An answer that does not come in time is not
        asked for again.

        Raises: redis.exceptions.ConnectionError, redis.exceptions.TimeoutError; what the server says to a stranger.
        """
        try:
            return await self._call(commands)
        except RedisConnectionError:
            return await self._call(commands)

    async def close(self) -> None:
        """Hang up for good. What was asked and not answered fails."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
        if self._wire is not None:
            self._wire.hang_up(RedisConnectionError("hung up"))

    async def _call(self, commands: Sequence[Command]) -> list[Any]:
        wire = self._wire
        if wire is None or wire.closed:
            wire = await self._opened()
        # Whoever gives up meanwhile has left nothing on a line that is too slow for all.
        while not wire.room.is_set():
            await wire.room.wait()
        return await wire.ask(commands)

    async def _opened(self) -> "_Wire":
        if self._closed:
            raise RedisConnectionError("the line was hung up")
        # All who ask meanwhile share the one attempt, and its end.
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(self._forget)
        return await asyncio.shield(self._opening)

    def _forget(self, opening: "asyncio.Task[_Wire]") -> None:
        self._opening = None
        # Whoever asked may have gone; that the attempt failed was for them alone.
        if not opening.cancelled():
            opening.exception()

    async def _open(self) -> "_Wire":
        self._wire = await _connected(self._where, _Wire(self._timeout_s), name=self._name, seconds=self._connect_s)
        return self._wire


async def messages(url: str, channel: str, *, name: str, connect_s: float, quiet_s: float) -> AsyncGenerator[bytes]:
    """What is published on a channel from now on, over a connection of its own.

    A server that says nothing for `quiet_s` is asked whether it is there, and has as long to answer.

    Raises: redis.exceptions.ConnectionError, redis.exceptions.TimeoutError; what the server says to a stranger.
    """
    ear = _Ear()
    wire = await _connected(parse_url(url), _Wire(quiet_s, ear), name=name, seconds=connect_s)
    try:
        raise_errors(await wire.ask([("SUBSCRIBE", channel)]))
        asked = False
        while True:
            replies = await ear.hear(quiet_s)
            if not replies:
                if asked:
                    raise RedisTimeoutError("the server says nothing")
                # Nothing was published, or nothing comes through any more: a line can die without a word.
                wire.say(("PING",))
            asked = not replies
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
                if reply[0] == b"message":
                    yield reply[2]
    finally:
        wire.hang_up(RedisConnectionError("hung up"))


def raise_errors(answers: list[Any]) -> list[Any]:
    """The answers.

    Raises: redis.exceptions.RedisError, the first error among them.
    """
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


class _Ear:
    """Keeps what is said until it is heard."""

    def __init__(self) -> None:
        self._said: list[Any] = []
        self._hearing: asyncio.Future[None] | None = None

    def tell(self, reply: Any) -> None:
        """Say it. An exception is the last that is said."""
        self._said.append(reply)
        if self._hearing is not None:
            _wake(self._hearing)

    async def hear(self, seconds: float) -> list[Any]:
        """All that was said; nothing after so many seconds in which nothing was."""
        if not self._said:
            loop = asyncio.get_running_loop()
            hearing = self._hearing = loop.create_future()
            timer = loop.call_later(seconds, _wake, hearing)
            try:
                await hearing
            finally:
                timer.cancel()
        said, self._said = self._said, []
        return said


class _Wire(asyncio.Protocol):
    """One connection's life. What the server says unasked, and its end, goes to the ear if there is one."""

    def __init__(self, timeout_s: float, ear: _Ear | None = None) -> None:
        self._timeout_s = timeout_s
        self._ear = ear
        self._reader = hiredis.Reader(replyError=_error)
        self._owed: deque[tuple[int, list[Any], asyncio.Future[list[Any]]]] = deque()
        self._transport: asyncio.Transport | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._moved = True
        self._unsent = 0
        self.closed = False
        self.room = asyncio.Event()
        """Whether what was written has mostly gone out."""
        self.room.set()

    def ask(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """Write the commands. The future gets their answers; whoever no longer waits for them cancels it."""
        loop = asyncio.get_running_loop()
        answers: asyncio.Future[list[Any]] = loop.create_future()
        if self.closed or self._transport is None:
            answers.set_exception(RedisConnectionError("the line is dead"))
            return answers
        self._owed.append((len(commands), [], answers))
        self.say(*commands)
        if self._watch is None:
            self._look_later(loop)
        return answers

    def say(self, *commands: Command) -> None:
        """Write commands whose answers nobody waits for here."""
        if self._transport is not None:
            self._transport.writelines([part for command in commands for part in _packed(command)])

    def hang_up(self, error: Exception) -> None:
        """End the connection; whoever waits for an answer gets the error."""
        if self._ear is not None and not self.closed:
            self._ear.tell(error)
        self.closed = True
        # Whoever waits for room learns of it.
        self.room.set()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        while self._owed:
            _, _, answers = self._owed.popleft()
            if not answers.done():
                answers.set_exception(error)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        # uvloop's is one and does not say so.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(_FULL)
        if self.closed:
            self._transport.abort()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.room.clear()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.hang_up(RedisConnectionError(str(exc or "the server hung up")))

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._moved = True
        self._reader.feed(data)
        try:
            # Redis says no booleans in the protocol's second version: False is the parser's word for nothing more.
            while (reply := self._reader.gets()) is not False:
                if self._ear is not None and not self._owed:
                    self._ear.tell(reply)
                    continue
                count, replies, answers = self._owed[0]
                replies.append(reply)
                if len(replies) == count:
                    self._owed.popleft()
                    if not answers.done():
                        answers.set_result(replies)
        except (hiredis.ProtocolError, IndexError):
            self.hang_up(RedisConnectionError("the server talks nonsense"))

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._moved = False
        assert self._transport is not None
        self._unsent = self._transport.get_write_buffer_size()
        self._watch = loop.call_later(self._timeout_s, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watch = None
        if not self._owed:
            return
        assert self._transport is not None
        # A large picture on a slow line is no silence.
        if self._moved or self._transport.get_write_buffer_size() < self._unsent:
            self._look_later(loop)
        else:
            self.hang_up(RedisTimeoutError("no answer in time"))


async def _connected(where: Mapping[str, Any], wire: _Wire, *, name: str, seconds: float) -> _Wire:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            if "path" in where:
                await loop.create_unix_connection(lambda: wire, where["path"])
            else:
                host, port = where.get("host", "localhost"), where.get("port", 6379)
                await loop.create_connection(lambda: wire, host, port)
            raise_errors(await wire.ask(_introduction(where, name)))
    except TimeoutError as error:
        wire.hang_up(RedisConnectionError("no connection in time"))
        raise RedisTimeoutError("no connection in time") from error
    except OSError as error:
        raise RedisConnectionError(str(error)) from error
    except BaseException:
        wire.hang_up(RedisConnectionError("refused"))
        raise
    return wire


def _wake(hearing: asyncio.Future[None]) -> None:
    if not hearing.done():
        hearing.set_result(None)


def _introduction(where: Mapping[str, Any], name: str) -> list[Command]:
    commands: list[Command] = []
    if where.get("password"):
        user = [where["username"]] if where.get("username") else []
        commands.append(["AUTH", *user, where["password"]])
    if where.get("db"):
        commands.append(["SELECT", where["db"]])
    return [*commands, ["CLIENT", "SETNAME", name]]


def _packed(command: Command) -> list[bytes]:
    """The command in the server's words, in pieces. Source: redis.io, RESP specification, "Sending commands"."""
    pieces = []
    piece = b"*%d\r\n" % len(command)
    for argument in command:
        word = argument if isinstance(argument, bytes) else str(argument).encode()
        if len(word) > _LARGE:
            pieces += [piece + b"$%d\r\n" % len(word), word]
            piece = b"\r\n"
        else:
            piece += b"$%d\r\n%b\r\n" % (len(word), word)
    pieces.append(piece)
    return pieces


def _error(text: str) -> RedisError:
    return _ERRORS.get(text.partition(" ")[0], ResponseError)(text)
