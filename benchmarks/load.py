"""Callers over HTTP, in a process of their own: each sends its next request as soon as it has the answer to the last.

A program that takes orders, see `Order`. Every answer is checked: its status, and its predictions to the letter.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import uvloop

from benchmarks.apart import Apart, take_orders

_HEAD_END: Final = b"\r\n\r\n"
_MOST_TOLD: Final = 3
_SILENCE_S: Final = 30.0


class WrongAnswer(Exception):
    """An answer was not the one that was expected; nothing that was measured counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to send: the bodies in turn, until so many requests or so many seconds, over so many connections.

    `expected` is what each body's answer starts with; an empty text takes any.
    """

    url: str
    bodies: Sequence[str]
    """Files of requests' bodies."""
    expected: Sequence[str]
    connections: int
    requests: int
    seconds: float
    content_type: str = "application/json"
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What came of it. `cpu_s` is the processor time of the callers themselves."""

    requests: int
    seconds: float
    cpu_s: float
    p50_ms: float
    p99_ms: float
    wrong: int
    told: list[str] = field(default_factory=list)
    """What was wrong with the first few."""
    first: str = ""
    """The first answer's body."""

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds


class Callers(Apart):
    """The program, ready for orders."""

    def __init__(self) -> None:
        super().__init__("benchmarks.load")

    def send(self, order: Order) -> Load:
        """Carry out the order.

        Raises: WrongAnswer, also for one that never came.
        """
        load = Load(**self(asdict(order)))
        if load.wrong:
            raise WrongAnswer(f"{load.wrong} of {load.requests} answers of {order.url}: {'; '.join(load.told)}")
        return load


class _Run:
    """One order on its way."""

    def __init__(self, order: dict[str, Any]) -> None:
        place = urlsplit(order["url"])
        self.host, self.port = place.hostname or "", place.port or 80
        target = (place.path or "/") + (f"?{place.query}" if place.query else "")
        self.requests = [_request(path, target, place.netloc, order["content_type"]) for path in order["bodies"]]
        self.expected = [text.encode() for text in order["expected"]]
        self.status = str(order["status"]).encode()
        self.left: int = order["requests"]
        self.end = time.monotonic() + order["seconds"]
        self.sent = 0
        self.latencies: list[float] = []
        self.wrong: list[str] = []
        self.first = ""

    def next(self) -> int | None:
        """Which request to send now; None when it is enough."""
        if self.sent == self.left or (self.sent and time.monotonic() > self.end):
            return None
        self.sent += 1
        return (self.sent - 1) % len(self.requests)

    def check(self, which: int, head: bytes, body: bytes) -> None:
        """See that the answer is the one to that request."""
        self.first = self.first or body.decode(errors="replace")
        if head.split(b" ", 2)[1] != self.status or not body.startswith(self.expected[which]):
            self.wrong.append(f"to picture {which}: {head.split(_HEAD_END[:2])[0]!r} {body[:300]!r}")


class _Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, run: _Run, gone: asyncio.Future[None]) -> None:
        self._run = run
        self._gone = gone
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._which = 0
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one in all but name.
        self._transport = cast("asyncio.Transport", transport)
        self._go_on()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(_HEAD_END)
        if head_end < 0:
            return
        head = bytes(self._received[:head_end])
        start = head_end + len(_HEAD_END)
        if len(self._received) < start + _length(head):
            return
        self._run.latencies.append(time.perf_counter() - self._sent_at)
        self._run.check(self._which, head, bytes(self._received[start:]))
        self._received.clear()
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._gone.done():
            self._run.wrong.append(f"the connection was lost: {exc}")
            self._gone.set_result(None)

    def _go_on(self) -> None:
        assert self._transport is not None
        which = self._run.next()
        if which is None:
            if not self._gone.done():
                self._gone.set_result(None)
            self._transport.close()
            return
        self._which = which
        self._sent_at = time.perf_counter()
        self._transport.write(self._run.requests[which])


@cache
def _request(path: str, target: str, host: str, content_type: str) -> bytes:
    body = Path(path).read_bytes()
    head = (
        f"POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _length(head: bytes) -> int:
    for line in head.split(_HEAD_END[:2]):
        name, _, rest = line.partition(b":")
        if name.lower() == b"content-length":
            return int(rest)
    return 0


async def _carried_out(run: _Run, connections: int) -> None:
    loop = asyncio.get_running_loop()
    gone = [loop.create_future() for _ in range(connections)]
    for future in gone:
        await loop.create_connection(lambda future=future: _Caller(run, future), run.host, run.port)
    _, silent = await asyncio.wait(gone, timeout=max(run.end - time.monotonic(), 0) + _SILENCE_S)
    if silent:
        run.wrong.append(f"{len(silent)} answers never came")


def obey(order: dict[str, Any]) -> dict[str, Any]:
    """Carry out an `Order`, as a `Load`."""
    run = _Run(order)
    cpu_s, start = time.process_time(), time.perf_counter()
    uvloop.run(_carried_out(run, order["connections"]))
    seconds = time.perf_counter() - start
    latencies = sorted(run.latencies) or [0.0]
    load = Load(
        requests=len(run.latencies),
        seconds=seconds,
        cpu_s=time.process_time() - cpu_s,
        p50_ms=latencies[len(latencies) // 2] * 1000,
        p99_ms=latencies[int(len(latencies) * 0.99)] * 1000,
        wrong=len(run.wrong),
        told=run.wrong[:_MOST_TOLD],
        first=run.first,
    )
    return asdict(load)


if __name__ == "__main__":
    take_orders(obey)
