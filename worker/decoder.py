"""The decoder's program: `python -m worker.decoder SOCKET BYTES`, started by `worker.isolation`.

It is the *nursery*: it imports what decoding needs and never touches a picture. Whenever the worker asks, it forks a
*decoder*, which confines itself and decodes one picture after the other. It ends when the worker's end of the socket
does.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from enum import IntEnum
from io import BytesIO
from typing import BinaryIO, Final

from PIL import Image
from setproctitle import setproctitle

from shared.errors import DarkroomError, ImageTooLarge, OutOfMemory
from shared.payloads import MAX_SIDE
from worker.confinement import confine, die_with, keep_three_descriptors
from worker.decoding import decode as decode_picture
from worker.preprocessing import SIDE, resize

GREETING: Final = b"+"
"""A decoder's first word: it has confined itself and waits for pictures."""

REQUEST: Final = struct.Struct("!QQ")
"""Before a picture: its number, its bytes."""

REPLY: Final = struct.Struct("!QQQQQ")
"""The picture's number, a `Verdict`, nanoseconds of decoding and of resizing, and for an image too large its size."""

PIXELS: Final = SIDE * SIDE * 3
"""Bytes that follow the reply of a picture that decoded: rows of red, green, blue."""

END: Final = struct.Struct("!i")
"""What the nursery says of a decoder that has ended: its exit status, or minus the signal that killed it."""

Decode = Callable[[bytes], Image.Image]


class Verdict(IntEnum):
    """What became of a picture."""

    DECODED = 0
    INVALID = 1
    TOO_MANY_PIXELS = 2
    SIDE_TOO_LONG = 3
    OUT_OF_MEMORY = 4


def main(decode: Decode = decode_picture) -> None:
    """Serve the worker at the other end of the socket that the command line names, until it is gone."""
    number, address_space = (int(argument) for argument in sys.argv[1:])
    # The worker's end decides, not a signal that is meant for all processes of a terminal or a container.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    setproctitle("darkroom decoder (nursery)")
    _warm_up()
    gc.freeze()
    with socket.socket(fileno=number) as worker, contextlib.suppress(ConnectionError):
        _raise_decoders(worker, address_space, decode)


def serve(requests: BinaryIO, replies: BinaryIO, decode: Decode) -> None:
    """Answer pictures until there are no more, or until one needed more memory than there is."""
    while True:
        frame = requests.read(REQUEST.size)
        if len(frame) < REQUEST.size:
            return
        number, size = REQUEST.unpack(frame)
        verdict, spent, actual, pixels = _verdict(requests, size, decode)
        replies.write(REPLY.pack(number, verdict, *spent, actual))
        replies.write(pixels)
        replies.flush()
        if verdict is Verdict.OUT_OF_MEMORY:
            # What it left behind would be the next picture's misfortune.
            return


def _verdict(requests: BinaryIO, size: int, decode: Decode) -> tuple[Verdict, tuple[int, int], int, bytes]:
    start = time.perf_counter_ns()
    try:
        image = requests.read(size)
        start = time.perf_counter_ns()
        picture = decode(image)
        decoded = time.perf_counter_ns()
        pixels = resize(picture).tobytes()
    except (OutOfMemory, MemoryError):
        verdict, actual = Verdict.OUT_OF_MEMORY, 0
    except ImageTooLarge as error:
        verdict = Verdict.SIDE_TOO_LONG if error.limit == MAX_SIDE else Verdict.TOO_MANY_PIXELS
        actual = error.actual
    except DarkroomError:
        verdict, actual = Verdict.INVALID, 0
    else:
        return Verdict.DECODED, (decoded - start, time.perf_counter_ns() - decoded), 0, pixels
    return verdict, (time.perf_counter_ns() - start, 0), actual, b""


def _warm_up() -> None:
    # Once of each kind: nothing is to be imported or opened later, when it cannot be.
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        file = BytesIO()
        Image.new("RGB", (2, 2)).save(file, kind)
        resize(decode_picture(file.getvalue())).tobytes()


def _raise_decoders(worker: socket.socket, address_space: int, decode: Decode) -> None:
    while worker.recv(1):
        requests, replies = os.pipe(), os.pipe()
        nursery = os.getpid()
        pid = os.fork()
        if pid == 0:
            _be_a_decoder(nursery, requests[0], replies[1], address_space, decode)
        handle = os.pidfd_open(pid)
        os.close(requests[0])
        os.close(replies[1])
        try:
            _hand_over(worker, [handle, requests[1], replies[0]])
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


def _be_a_decoder(nursery: int, requests: int, replies: int, address_space: int, decode: Decode) -> None:
    status = 1
    try:
        die_with(nursery)
        setproctitle("darkroom decoder")
        keep_three_descriptors(requests, replies)
        with os.fdopen(0, "rb") as reader, os.fdopen(1, "wb") as writer:
            confine(address_space)
            writer.write(GREETING)
            writer.flush()
            serve(reader, writer, decode)
            status = 0
    finally:
        # Whatever was raised: what follows the fork is the nursery's, and must not run here.
        os._exit(status)


if __name__ == "__main__":
    main()
