"""What keeps a hostile picture from its neighbours: a process that does nothing but decode, and can be killed.

`worker.decoder` is its program. Nothing that it says is trusted: every frame has a size that is known beforehand, every
number is checked, and every sentence is chosen here.
"""

import contextlib
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import structlog

from shared.errors import DarkroomError, DecoderCrashed, DecodeTimeout, OutOfMemory, TransientError
from shared.payloads import MAX_PIXELS, MAX_SIDE, image_format, too_long_a_side, too_many_pixels
from worker.decoder import END, GREETING, PIXELS, REPLY, REQUEST, Verdict
from worker.decoding import inspect, undecodable
from worker.preprocessing import Mode
from worker.resampling import SIDE

COMMAND: Final = (sys.executable, "-m", "worker.decoder")
"""Starts the decoder's program; two numbers and the mode are added to it."""

_ROOT: Final = Path(__file__).parents[1]
_ENVIRONMENT: Final = MappingProxyType(
    {
        # Nothing of the worker's. With none at all there would be no room for the process's title.
        "LC_ALL": "C.UTF-8",
        # Each thread that NumPy's libraries start takes 41 MB of address space, and there is one for each core.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        # glibc keeps what a picture gave back for the next one, which would otherwise wait for the kernel to clear it
        # again, page by page. Larger pieces than the first figure, Pillow's own blocks of 16 MB among them, go back at
        # once: in the heap a small one that stays above them would keep them there.
        "MALLOC_MMAP_THRESHOLD_": str(12 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(24 << 20),
    }
)
_START_S: Final = 20.0
_END_S: Final = 5.0
_EXIT_S: Final = 1.0
_TRIES: Final = 3
_DESCRIPTORS: Final = 4

_VERDICTS: Final = frozenset(Verdict)

_AT_LEAST: Final = MappingProxyType({Verdict.TOO_MANY_PIXELS: MAX_PIXELS, Verdict.SIDE_TOO_LONG: MAX_SIDE})
"""What a size must exceed to be too large."""

log = structlog.get_logger()


class DecoderUnavailable(TransientError):
    """No decoder can be started just now."""

    code = "internal-error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one picture may take: seconds by the clock on the wall, and bytes of address space."""

    seconds: float = 10.0
    bytes: int = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A picture as uint8 of shape (3, 224, 224), RGB, and the milliseconds that it took a decoder."""

    pixels: npt.NDArray[np.uint8]
    decode_ms: float
    resize_ms: float


class Decoder:
    """Decodes pictures in a process of its own, which is replaced whenever one has ended it.

    Make it after a fork, for one thread. What it started ends with `close()`, or with the process that made it.

    Raises: DecoderUnavailable.
    """

    def __init__(self, limits: Limits | None = None, *, mode: Mode = "exact", command: Sequence[str] = COMMAND) -> None:
        self._limits = limits or Limits()
        self._command = command
        self._mode: Mode = mode
        self._number = 0
        self._line: _Line | None = None
        self._nursery: _Nursery | None = None
        self._order()

    def __call__(self, image: bytes) -> Decoded:
        """Decode and resize a picture.

        Raises: what `worker.decoding.decode` raises; DecodeTimeout when it takes longer than the limit; OutOfMemory
        also when the decoder is killed from outside; DecoderCrashed when it ends in any other way or talks nonsense;
        DecoderUnavailable.
        """
        kind = image_format(image)
        line = self._ready()
        self._number += 1
        try:
            answer = line.exchange(self._number, image, self._limits.seconds)
        except (_Ended, _Garbled, TimeoutError) as error:
            status = self._end()
            fault = self._fault(error, status)
            log.warning("decoder ended", code=fault.code, status=status, kind=kind, bytes=len(image))
            raise fault from None
        except BaseException:
            # An order to stop came in between, and half a picture is on the line.
            self._end()
            raise
        if answer.verdict is Verdict.OUT_OF_MEMORY:
            self._end()
        return _decoded(answer, image)

    def close(self) -> None:
        """End the processes and give their descriptors back. Safe to call twice."""
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._nursery is not None:
            self._nursery.close()
            self._nursery = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ready(self) -> "_Line":
        for _ in range(_TRIES):
            if self._line is None:
                self._line = self._receive()
            if self._line is not None:
                if self._line.quiet:
                    return self._line
                # It died while it had nothing to do, or speaks unasked: no fault of the picture that comes now.
                self._end()
        raise DecoderUnavailable("No decoder can be started.")

    def _order(self) -> None:
        if self._nursery is None:
            self._nursery = _Nursery(self._command, (str(self._limits.bytes), self._mode))
        self._nursery.order()

    def _receive(self) -> "_Line | None":
        if self._nursery is None:
            self._order()
        assert self._nursery is not None
        line = self._nursery.receive()
        if line is None:
            self._nursery.close()
            self._nursery = None
        return line

    def _end(self) -> int | None:
        """End the decoder and order the next. Returns: how it ended, None if nobody could tell."""
        assert self._line is not None
        assert self._nursery is not None
        self._line.close()
        self._line = None
        status = self._nursery.ending()
        if status is None:
            self._nursery.close()
            self._nursery = None
        with contextlib.suppress(DecoderUnavailable):
            self._order()
        return status

    def _fault(self, error: Exception, status: int | None) -> DarkroomError:
        if isinstance(error, TimeoutError):
            return DecodeTimeout(f"Decoding the image takes longer than {self._limits.seconds:g} s.")
        # None: the nursery was killed, and with it the decoder.
        if isinstance(error, _Ended) and status in {None, -signal.SIGKILL}:
            return OutOfMemory("Decoding the image needs more memory than there is.")
        return DecoderCrashed("Decoding the image ended the process that did it.")


class _Ended(Exception):
    """The decoder is gone."""


class _Garbled(Exception):
    """The decoder said what it cannot mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    verdict: Verdict
    decode_ns: int
    resize_ns: int
    actual: int
    pixels: bytes


def _decoded(answer: _Answer, image: bytes) -> Decoded:
    match answer.verdict:
        case Verdict.DECODED:
            return Decoded(
                pixels=np.frombuffer(answer.pixels, np.uint8).reshape(3, SIDE, SIDE),
                decode_ms=answer.decode_ns / 1e6,
                resize_ms=answer.resize_ns / 1e6,
            )
        case Verdict.INVALID:
            # It may say more, and that can be seen without a decoder.
            raise undecodable(inspect(image))
        case Verdict.TOO_MANY_PIXELS:
            raise too_many_pixels(answer.actual)
        case Verdict.SIDE_TOO_LONG:
            raise too_long_a_side(answer.actual)
        case Verdict.OUT_OF_MEMORY:
            raise OutOfMemory("Decoding the image needs more memory than a decoder has.")


class _Line:
    """The way to one decoder and back.

    `handle` is its pidfd, which never comes to mean another process; `pixels` the memory that it shares, which it can
    write at any time, as it can say what it likes at any time.
    """

    def __init__(self, handle: int, requests: int, replies: int, pixels: mmap.mmap) -> None:
        self._handle = handle
        self._requests = requests
        self._replies = replies
        self._pixels = pixels
        # One byte more than an answer has, to see that there is none.
        self._reply = bytearray(REPLY.size + 1)
        for number in (handle, requests, replies):
            # They came by the socket: Python 3.11 passes no flag on that would do this on the way.
            os.set_inheritable(number, False)  # noqa: FBT003  # takes it by position only
        for number in (requests, replies):
            os.set_blocking(number, False)

    @property
    def quiet(self) -> bool:
        """Whether the decoder lives and has nothing to say."""
        poll = select.poll()
        poll.register(self._replies, select.POLLIN)
        return not poll.poll(0)

    def greeted(self, seconds: float) -> bool:
        """Whether the decoder says within so many seconds that it is there."""
        try:
            _wait(time.monotonic() + seconds, self._replies)
            return os.read(self._replies, len(GREETING)) == GREETING
        except TimeoutError:
            return False

    def exchange(self, number: int, image: bytes, seconds: float) -> _Answer:
        """Send a picture and wait for the answer to it.

        Raises: _Ended, _Garbled, TimeoutError.
        """
        start = time.monotonic()
        end = start + seconds
        self._send([memoryview(REQUEST.pack(number, len(image))), memoryview(image)], end)
        buffer = memoryview(self._reply)
        received = 0
        while received < REPLY.size:
            received += self._read(buffer[received:], end)
        answered, verdict, decode_ns, resize_ns, actual = REPLY.unpack_from(buffer)
        spent_ns = (time.monotonic() - start) * 1e9
        if (
            answered != number
            or verdict not in _VERDICTS
            or received != REPLY.size
            or decode_ns + resize_ns > spent_ns
            or actual <= _AT_LEAST.get(verdict, -1)
        ):
            raise _Garbled
        return _Answer(
            verdict=Verdict(verdict),
            decode_ns=decode_ns,
            resize_ns=resize_ns,
            actual=actual,
            # A copy, which nobody can change.
            pixels=self._pixels[:] if verdict == Verdict.DECODED else b"",
        )

    def close(self) -> None:
        """Kill the decoder, if it lives, and forget it."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        self._pixels.close()
        for number in (self._handle, self._requests, self._replies):
            os.close(number)

    def _send(self, parts: list[memoryview], end: float) -> None:
        while parts:
            try:
                sent = os.writev(self._requests, parts)
            except BlockingIOError:
                _wait(end, self._replies, writable=self._requests)
                if not self.quiet:
                    # It has given up on the picture, or ended; its reply says which.
                    return
                continue
            except BrokenPipeError:
                return
            while parts and sent >= len(parts[0]):
                sent -= len(parts.pop(0))
            if parts:
                parts[0] = parts[0][sent:]

    def _read(self, buffer: memoryview, end: float) -> int:
        _wait(end, self._replies)
        received = os.readv(self._replies, [buffer])
        if received == 0:
            try:
                _wait(time.monotonic() + _EXIT_S, self._handle)
            except TimeoutError:
                # It has hung up and lives.
                raise _Garbled from None
            raise _Ended
        return received


class _Nursery:
    """The process that forks decoders, one at a time."""

    def __init__(self, command: Sequence[str], arguments: tuple[str, ...]) -> None:
        try:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise DecoderUnavailable(f"There is no way to a decoder: {error.strerror}.") from error
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603  # a program of ours
                    [*command, str(theirs.fileno()), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=_ENVIRONMENT,
                    cwd=_ROOT,
                    pass_fds=[theirs.fileno()],
                    # Away from signals that a terminal sends to all.
                    start_new_session=True,
                )
            except OSError as error:
                self._socket.close()
                raise DecoderUnavailable(f"The decoder's program cannot be started: {error.strerror}.") from error

    def order(self) -> None:
        """Ask for a decoder. The last one must have ended."""
        self._socket.settimeout(_END_S)
        # If the nursery is gone, whoever waits for the decoder learns of it.
        with contextlib.suppress(OSError):
            self._socket.send(b"?")

    def receive(self) -> _Line | None:
        """The decoder that was ordered, ready for its first picture; None if the nursery is gone or hangs."""
        self._socket.settimeout(_START_S)
        try:
            _, descriptors, _, _ = socket.recv_fds(self._socket, 1, _DESCRIPTORS)
        except OSError:
            return None
        try:
            handle, requests, replies, shared = descriptors
            pixels = mmap.mmap(shared, PIXELS, prot=mmap.PROT_READ)
        except (OSError, ValueError):
            # Not all of them, or no room for one more descriptor or for the memory.
            for number in descriptors:
                os.close(number)
            return None
        os.close(shared)
        line = _Line(handle, requests, replies, pixels)
        if line.greeted(_START_S):
            return line
        line.close()
        return None

    def ending(self) -> int | None:
        """How the decoder ended: its exit status, or minus the signal that killed it. None if the nursery is gone."""
        self._socket.settimeout(_END_S)
        try:
            said = self._socket.recv(END.size)
        except OSError:
            return None
        return int(END.unpack(said)[0]) if len(said) == END.size else None

    def close(self) -> None:
        """End the nursery; its decoder ends with it."""
        self._socket.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _wait(end: float, readable: int, *, writable: int | None = None) -> None:
    """Wait until there is something to read, or room to write.

    Raises: TimeoutError after `end`, by the monotonic clock.
    """
    poll = select.poll()
    poll.register(readable, select.POLLIN)
    if writable is not None:
        poll.register(writable, select.POLLOUT)
    # What is there already counts, even if this process was held up until after the end.
    if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
        raise TimeoutError
