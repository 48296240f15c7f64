import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.uploads import inspect
from shared.errors import ImageTooLarge, InvalidImage, UnsupportedImageFormat
from tests.support.pictures import a_picture, encoded, headers_of

KINDS = sorted(headers_of(1, 1))
FILES = [encoded(a_picture(), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")]


@pytest.mark.parametrize("kind", KINDS)
def test_sixty_megapixels_by_the_header_are_refused(kind: str) -> None:
    image = headers_of(10_000, 6000)[kind]

    with pytest.raises(ImageTooLarge) as caught:
        inspect(image)

    assert caught.value.actual == 60_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_width_and_height_are_each_read_from_its_own_place(kind: str) -> None:
    for width, height in ((16_001, 3124), (3124, 16_001)):
        inspect(headers_of(width, height)[kind])
    for width, height in ((16_001, 3125), (3125, 16_001)):
        with pytest.raises(ImageTooLarge) as caught:
            inspect(headers_of(width, height)[kind])

        assert caught.value.actual == width * height


@pytest.mark.parametrize("kind", ["PNG", "BMP", "BMP from the top", "WebP extended"])
def test_a_side_over_the_limit_is_refused(kind: str) -> None:
    for size in ((65_536, 2), (2, 65_536)):
        with pytest.raises(ImageTooLarge) as caught:
            inspect(headers_of(*size)[kind])

        assert (caught.value.limit, caught.value.actual) == (65_535, 65_536)


@pytest.mark.parametrize("file", FILES)
def test_a_small_picture_passes_in_every_format(file: bytes) -> None:
    inspect(file)


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_cut_short_is_left_to_the_worker_and_never_misread(kind: str) -> None:
    whole = headers_of(10_000, 6000)[kind]
    shortest = 9 if kind == "GIF" else 12

    inspect(whole[:shortest])
    for length in range(shortest, len(whole)):
        try:
            inspect(whole[:length])
        except ImageTooLarge as error:
            assert error.actual == 60_000_000  # noqa: PT017  # most lengths raise nothing


def test_no_bytes_are_an_invalid_image() -> None:
    with pytest.raises(InvalidImage):
        inspect(b"")


def test_bytes_of_none_of_the_formats_are_unsupported() -> None:
    with pytest.raises(UnsupportedImageFormat):
        inspect(b"%!PS-Adobe-3.0 EPSF-3.0")


@pytest.mark.parametrize(
    "image",
    [
        b"\xff\xd8\xff\xda" + headers_of(10_000, 6000)["JPEG"][2:],  # a scan before any frame
        b"\xff\xd8\xff\xd0" + headers_of(10_000, 6000)["JPEG"][2:],  # a marker that has no place there
        b"\xff\xd8\xff\xe0\x00\x02no marker here",
    ],
)
def test_a_jpeg_out_of_order_is_left_to_the_worker(image: bytes) -> None:
    inspect(image)


def test_a_frame_header_inside_another_segment_is_not_the_picture_s() -> None:
    thumbnail = b"\xff\xc0\x00\x11\x08\xff\xff\xff\xff"
    image = b"\xff\xd8\xff\xe1" + (2 + len(thumbnail)).to_bytes(2, "big") + thumbnail + headers_of(9, 7)["JPEG"][2:]

    inspect(image)


def test_a_million_empty_segments_cost_no_time() -> None:
    image = b"\xff\xd8" + b"\xff\xe0\x00\x02" * 1_000_000
    start = time.process_time()

    inspect(image)

    assert time.process_time() - start < 0.1


MAGIC = st.sampled_from([header[:n] for header in headers_of(9, 7).values() for n in (4, 12, 16, 20, 26)] + [b""])


@given(MAGIC, st.binary(max_size=60))
def test_any_bytes_pass_or_meet_one_of_the_three_errors(magic: bytes, rest: bytes) -> None:
    with suppress(InvalidImage, UnsupportedImageFormat, ImageTooLarge):
        inspect(magic + rest)


@given(st.sampled_from(FILES), st.data())
def test_a_picture_with_some_bytes_changed_meets_no_other_error_either(file: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, min(len(file), 64) - 1))
    changed = file[:place] + data.draw(st.binary(min_size=1, max_size=4)) + file[place + 1 :]

    with suppress(InvalidImage, UnsupportedImageFormat, ImageTooLarge):
        inspect(changed)
