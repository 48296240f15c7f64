"""What the decoder's program says to a picture; the processes around it are in test_isolation."""

import subprocess
import sys
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from shared.errors import InvalidImage, OutOfMemory
from shared.payloads import too_long_a_side, too_many_pixels
from tests.support.pictures import a_picture, encoded
from worker.decoder import PIXELS, REPLY, REQUEST, Verdict, serve
from worker.decoding import decode
from worker.preprocessing import resize

PICTURE = encoded(a_picture(30, 20))


def asked(*pictures: bytes) -> BytesIO:
    frames = [REQUEST.pack(number, len(picture)) + picture for number, picture in enumerate(pictures, 1)]
    return BytesIO(b"".join(frames))


def answers(requests: BytesIO, decode: Callable[[bytes], Image.Image]) -> list[tuple[int, Verdict, int, bytes]]:
    """The number, the verdict, the size and the pixels of each answer."""
    replies = BytesIO()
    serve(requests, replies, decode)
    told, place = replies.getvalue(), 0
    found = []
    while place < len(told):
        number, verdict, _, _, actual = REPLY.unpack_from(told, place)
        place += REPLY.size
        size = PIXELS if verdict == Verdict.DECODED else 0
        found.append((number, Verdict(verdict), actual, told[place : place + size]))
        place += size
    return found


def raising(error: BaseException) -> Callable[[bytes], Image.Image]:
    def decode_(_: bytes) -> Image.Image:
        raise error

    return decode_


def test_pictures_are_answered_in_their_order_by_their_numbers() -> None:
    pixels = np.asarray(resize(decode(PICTURE))).tobytes()

    found = answers(asked(PICTURE, b"BM", PICTURE), decode)

    assert found == [(1, Verdict.DECODED, 0, pixels), (2, Verdict.INVALID, 0, b""), (3, Verdict.DECODED, 0, pixels)]


@pytest.mark.parametrize(
    ("error", "verdict", "actual"),
    [
        (InvalidImage("No."), Verdict.INVALID, 0),
        (too_many_pixels(60_000_000), Verdict.TOO_MANY_PIXELS, 60_000_000),
        (too_long_a_side(70_000), Verdict.SIDE_TOO_LONG, 70_000),
    ],
)
def test_an_error_is_told_by_its_number_and_the_next_picture_served(
    error: Exception, verdict: Verdict, actual: int
) -> None:
    found = answers(asked(PICTURE, PICTURE), raising(error))

    assert found == [(1, verdict, actual, b""), (2, verdict, actual, b"")]


@pytest.mark.parametrize("error", [OutOfMemory("No."), MemoryError()])
def test_who_ran_out_of_memory_says_so_and_serves_no_more(error: Exception) -> None:
    found = answers(asked(PICTURE, PICTURE), raising(error))

    assert found == [(1, Verdict.OUT_OF_MEMORY, 0, b"")]


def test_a_resize_without_memory_is_told_like_a_decode_without() -> None:
    class Enormous(Image.Image):
        mode = "RGB"

        def resize(self, *_: object, **__: object) -> Image.Image:
            raise MemoryError

    found = answers(asked(PICTURE), lambda _: Enormous())

    assert found == [(1, Verdict.OUT_OF_MEMORY, 0, b"")]


@pytest.mark.parametrize("requests", [b"", b"\0" * 15])
def test_no_further_request_is_the_end(requests: bytes) -> None:
    assert answers(BytesIO(requests), decode) == []


def test_the_program_loads_nothing_that_talks_to_a_network_or_reads_settings() -> None:
    program = "import sys, worker.decoder; print(*{name.partition('.')[0] for name in sys.modules})"

    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()

    assert "PIL" in loaded
    assert not set(loaded) & {"pydantic", "pydantic_settings", "celery", "kombu", "redis", "structlog", "asyncio"}
