"""What the decoder's program says to a picture; the processes around it are in test_isolation."""

import os
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from shared.errors import InvalidImage, OutOfMemory
from shared.payloads import too_long_a_side, too_many_pixels
from tests.support.pictures import a_picture, encoded
from worker.decoder import PIXELS, REPLY, REQUEST, Decode, Verdict, Work, _shared_memory, serve
from worker.decoding import decode
from worker.preprocessing import Mode, resize

PICTURE = encoded(a_picture(30, 20))


def asked(*pictures: bytes) -> BytesIO:
    frames = [REQUEST.pack(number, len(picture)) + picture for number, picture in enumerate(pictures, 1)]
    return BytesIO(b"".join(frames))


def answers(requests: BytesIO, decode: Decode, mode: Mode = "exact") -> list[tuple[int, Verdict, int]]:
    """The number, the verdict and the size of each answer."""
    replies = BytesIO()
    serve(requests, replies, np.zeros(PIXELS, np.uint8), Work(decode=decode, mode=mode))
    told = REPLY.iter_unpack(replies.getvalue())
    return [(number, Verdict(verdict), actual) for number, verdict, _, _, actual in told]


def raising(error: BaseException) -> Decode:
    def decode_(image: bytes, *, mode: Mode) -> Image.Image:
        raise error

    return decode_


def test_pictures_are_answered_in_their_order_by_their_numbers() -> None:
    found = answers(asked(PICTURE, b"BM", PICTURE), decode)

    assert found == [(1, Verdict.DECODED, 0), (2, Verdict.INVALID, 0), (3, Verdict.DECODED, 0)]


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_the_pixels_of_a_picture_are_put_where_they_are_shared(mode: Mode) -> None:
    image = encoded(a_picture(1000, 900), "JPEG")
    pixels = np.zeros(PIXELS, np.uint8)

    serve(asked(image), BytesIO(), pixels, Work(decode=decode, mode=mode))

    assert np.array_equal(pixels, resize(decode(image, mode=mode), mode=mode).ravel())


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

    assert found == [(1, verdict, actual), (2, verdict, actual)]


@pytest.mark.parametrize("error", [OutOfMemory("No."), MemoryError()])
def test_who_ran_out_of_memory_says_so_and_serves_no_more(error: Exception) -> None:
    found = answers(asked(PICTURE, PICTURE), raising(error))

    assert found == [(1, Verdict.OUT_OF_MEMORY, 0)]


def test_a_resize_without_memory_is_told_like_a_decode_without() -> None:
    class Enormous(Image.Image):
        mode = "RGB"

        def resize(self, *_: object, **__: object) -> Image.Image:
            raise MemoryError

    def decode_(image: bytes, *, mode: Mode) -> Image.Image:
        return Enormous()

    found = answers(asked(PICTURE), decode_)

    assert found == [(1, Verdict.OUT_OF_MEMORY, 0)]


@pytest.mark.parametrize("size", [0, PIXELS - 1, PIXELS + 1])
def test_nobody_can_change_the_size_of_the_memory_that_is_shared(size: int) -> None:
    number = _shared_memory()

    try:
        assert os.fstat(number).st_size == PIXELS
        with pytest.raises(PermissionError):
            os.truncate(number, size)
    finally:
        os.close(number)


@pytest.mark.parametrize("requests", [b"", b"\0" * 15])
def test_no_further_request_is_the_end(requests: bytes) -> None:
    assert answers(BytesIO(requests), decode) == []


def test_the_program_loads_nothing_that_talks_to_a_network_or_reads_settings() -> None:
    program = "import sys, worker.decoder; print(*{name.partition('.')[0] for name in sys.modules})"

    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()

    assert "PIL" in loaded
    assert not set(loaded) & {"pydantic", "pydantic_settings", "celery", "kombu", "redis", "structlog", "asyncio"}
