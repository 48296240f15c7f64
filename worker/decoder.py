"""The decoder's program: `python -m worker.decoder SOCKET BYTES MODE`, started by `worker.isolation`.

It is the *nursery*: it imports what decoding needs and never touches a picture. Whenever the worker asks, it forks a
*decoder*, which confines itself and decodes one picture after the other. It ends when the worker's end of the socket
does.
"""

import contextlib
import fcntl
import gc
import io
import mmap
import os
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass
from enum import IntEnum
from io import BytesIO
from typing import BinaryIO, Final, Protocol, cast

import numpy as np
import numpy.typing as npt
from PIL import Image
from setproctitle import setproctitle

from shared.errors import DarkroomError, ImageTooLarge, OutOfMemory
from shared.payloads import MAX_SIDE
from worker.confinement import confine, die_with, keep_three_descriptors
from worker.decoding import decode as decode_picture
from worker.preprocessing import Mode, resize
from worker.resampling import SIDE

GREETING: Final = b"+"
"""A decoder's first word: it has confined itself and waits for pictures."""

REQUEST: Final = struct.Struct("!QQ")
"""Before a picture: its number, its bytes."""

REPLY: Final = struct.Struct("!QQQQQ")
"""The picture's number, a `Verdict`, nanoseconds of decoding and of resizing, and for an image too large its size."""

PIXELS: Final = 3 * SIDE * SIDE
"""Bytes of the memory that a decoder shares with the worker: red, green and blue of the picture that decoded last."""

END: Final = struct.Struct("!i")
"""What the nursery says of a decoder that has ended: its exit status, or minus the signal that killed it."""


class Decode(Protocol):
    """What `worker.decoding.decode` does."""

    def __call__(self, image: bytes, *, mode: Mode) -> Image.Image:
        """The picture."""


class Verdict(IntEnum):
    """What became of a picture."""

    DECODED = 0
    INVALID = 1
    TOO_MANY_PIXELS = 2
    SIDE_TOO_LONG = 3
    OUT_OF_MEMORY = 4


def main(decode: Decode = decode_picture) -> None:
    """Serve the worker at the other end of the socket that the command line names, until it is gone."""
    number, address_space = (int(argument) for argument in sys.argv[1:3])
    mode = cast("Mode", sys.argv[3])
    # The worker's end decides, not a signal that is meant for all processes of a terminal or a container.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    setproctitle("darkroom decoder (nursery)")
    _warm_up(mode)
    gc.freeze()
    with socket.socket(fileno=number) as worker, contextlib.suppress(ConnectionError):
        _raise_decoders(worker, address_space, Work(decode=decode, mode=mode))


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is done to a picture."""

    decode: Decode
    mode: Mode

    def __call__(self, image: bytes, pixels: npt.NDArray[np.uint8]) -> tuple[int, int]:
        """Put the picture at 224 by 224 into `pixels`. Returns: nanoseconds of decoding and of resizing."""
        start = time.perf_counter_ns()
        picture = self.decode(image, mode=self.mode)
        decoded = time.perf_counter_ns()
        pixels[:] = resize(picture, mode=self.mode).ravel()
        return decoded - start, time.perf_counter_ns() - decoded


def serve(requests: BinaryIO, replies: BinaryIO, pixels: npt.NDArray[np.uint8], work: Work) -> None:
    """Answer pictures until there are no more, or until one needed more memory than there is.

    `pixels`: uint8 of shape (`PIXELS`,), for the picture that is answered.
    """
    while True:
        frame = requests.read(REQUEST.size)
        if len(frame) < REQUEST.size:
            return
        number, size = REQUEST.unpack(frame)
        verdict, spent, actual = _verdict(requests, size, pixels, work)
        replies.write(REPLY.pack(number, verdict, *spent, actual))
        replies.flush()
        if verdict is Verdict.OUT_OF_MEMORY:
            # What it left behind would be the next picture's misfortune.
            return


def _verdict(
    requests: BinaryIO, size: int, pixels: npt.NDArray[np.uint8], work: Work
) -> tuple[Verdict, tuple[int, int], int]:
    start = time.perf_counter_ns()
    try:
        image = requests.read(size)
        start = time.perf_counter_ns()
        return Verdict.DECODED, work(image, pixels), 0
    except (OutOfMemory, MemoryError):
        verdict, actual = Verdict.OUT_OF_MEMORY, 0
    except ImageTooLarge as error:
        verdict = Verdict.SIDE_TOO_LONG if error.limit == MAX_SIDE else Verdict.TOO_MANY_PIXELS
        actual = error.actual
    except DarkroomError:
        verdict, actual = Verdict.INVALID, 0
    return verdict, (time.perf_counter_ns() - start, 0), actual


def _warm_up(mode: Mode) -> None:
    # Once of each kind: nothing is to be imported or opened later, when it cannot be.
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        file = BytesIO()
        Image.new("RGB", (SIDE, SIDE + 1)).save(file, kind)
        resize(decode_picture(file.getvalue(), mode=mode), mode=mode)


def _raise_decoders(worker: socket.socket, address_space: int, work: Work) -> None:
    while worker.recv(1):
        requests, replies, pixels = os.pipe(), os.pipe(), _shared_memory()
        nursery = os.getpid()
        pid = os.fork()
        if pid == 0:
            _be_a_decoder(nursery, (requests[0], replies[1], pixels), address_space, work)
        handle = os.pidfd_open(pid)
        os.close(requests[0])
        os.close(replies[1])
        try:
            _hand_over(worker, [handle, requests[1], replies[0], pixels])
            # The worker asks for the next one only after this one's end: what is heard before is that it is gone.
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            poll.register(worker, select.POLLIN)
            poll.poll()
        finally:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            os.close(handle)
        worker.send(END.pack(os.waitstatus_to_exitcode(status)))


def _hand_over(worker: socket.socket, descriptors: list[int]) -> None:
    try:
        socket.send_fds(worker, [b"+"], descriptors)
    finally:
        for number in descriptors[1:]:
            os.close(number)


def _shared_memory() -> int:
    # Of a size that nobody can change any more: memory that shrinks would kill whoever reads it.
    number = os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.truncate(number, PIXELS)
    fcntl.fcntl(number, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return number


def _be_a_decoder(nursery: int, descriptors: tuple[int, int, int], address_space: int, work: Work) -> None:
    requests, replies, shared = descriptors
    status = 1
    try:
        die_with(nursery)
        setproctitle("darkroom decoder")
        # What is mapped stays so without its descriptor.
        pixels = np.frombuffer(mmap.mmap(shared, PIXELS), np.uint8)
        keep_three_descriptors(requests, replies)
        # A buffer of one byte takes nothing in advance, so that a picture is read to where it stays.
        with io.BufferedReader(io.FileIO(0), 1) as reader, os.fdopen(1, "wb") as writer:
            confine(address_space)
            writer.write(GREETING)
            writer.flush()
            serve(reader, writer, pixels, work)
            status = 0
    finally:
        # Whatever was raised: what follows the fork is the nursery's, and must not run here.
        os._exit(status)


if __name__ == "__main__":
    main()
