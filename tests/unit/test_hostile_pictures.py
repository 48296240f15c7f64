import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from shared.errors import ImageTooLarge, InvalidImage, OutOfMemory, UnsupportedImageFormat
from tests.support.pictures import a_picture, a_png, a_tiff, encoded, headers_of
from worker.decoding import decode
from worker.preprocessing import Mode

LOSSLESS = ["PNG", "WEBP", "BMP", "TIFF"]


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "JPEG"])
def test_sixty_megapixels_by_the_header_are_refused_before_any_is_decoded(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: Image.Image) -> None:
        raise AssertionError

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    if kind == "GIF":
        image = headers_of(10_000, 6000)[kind] + b"," + struct.pack("<HHHHB", 0, 0, 10_000, 6000, 0) + b"\x08"
    elif kind == "JPEG":
        image = headers_of(10_000, 6000)[kind] + b"\x03\x01\x11\0\x02\x11\0\x03\x11\0\xff\xda\0\x0c" + bytes(10)
    elif kind == "PNG":
        image = a_png(10_000, 6000, (b"IDAT", zlib.compress(b"")))
    else:
        image = headers_of(10_000, 6000)[kind] + struct.pack("<HHIIIIII", 1, 24, 0, 0, 0, 0, 0, 0)

    with pytest.raises(ImageTooLarge) as caught:
        decode(image)

    assert (caught.value.limit, caught.value.actual) == (50_000_000, 60_000_000)


@pytest.mark.parametrize(("width", "height"), [(12_000, 10_000), (16_000, 16_000)])
def test_what_pillow_itself_calls_a_bomb_is_too_large(width: int, height: int) -> None:
    with pytest.raises(ImageTooLarge) as caught:
        decode(a_png(width, height, (b"IDAT", zlib.compress(b""))))

    assert caught.value.actual == width * height


@pytest.mark.parametrize("side", [8000, 100_000])
def test_a_small_tiff_with_enormous_tiles_is_too_large(side: int) -> None:
    entries = {256: 16, 257: 16, 258: 8, 259: 5, 262: 1, 277: 1, 322: side, 323: side, 324: 8, 325: 8}

    with pytest.raises(ImageTooLarge) as caught:
        decode(a_tiff(entries))

    assert caught.value.actual == side * side


@pytest.mark.parametrize("kind", ["JPEG", "GIF", *LOSSLESS])
def test_a_picture_cut_in_half_is_an_invalid_image(kind: str) -> None:
    whole = encoded(a_picture(200, 200), kind)

    with pytest.raises(InvalidImage):
        decode(whole[: len(whole) // 2])


@pytest.mark.parametrize("magic", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"RIFF0000WEBP"])
def test_a_known_beginning_and_nothing_after_it_is_an_invalid_image(magic: bytes) -> None:
    with pytest.raises(InvalidImage):
        decode(magic)


def test_no_bytes_are_an_invalid_image() -> None:
    with pytest.raises(InvalidImage):
        decode(b"")


def test_an_eps_is_refused_without_being_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(Image, "open", opened)

    with pytest.raises(UnsupportedImageFormat):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n")


def test_only_the_plugin_of_the_picture_s_own_kind_ever_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    open_ = Image.open

    def opened(file: Any, **options: Any) -> Any:
        asked.append(options)
        return open_(file, **options)

    monkeypatch.setattr(Image, "open", opened)

    decode(encoded(a_picture(), "BMP"))

    assert asked == [{"formats": ("BMP",)}]


def test_no_other_plugin_is_loaded_by_a_picture(tmp_path: Path) -> None:
    for kind in ("TIFF", "WEBP"):
        (tmp_path / kind).write_bytes(encoded(a_picture(), kind))
    program = (
        "import sys, pathlib; from worker.decoding import decode\n"
        "for file in pathlib.Path(sys.argv[1]).iterdir(): decode(file.read_bytes())\n"
        "print('PIL.EpsImagePlugin' in sys.modules)"
    )

    output = subprocess.run([sys.executable, "-c", program, tmp_path], check=True, capture_output=True, text=True)

    assert output.stdout.strip() == "False"


def test_too_little_memory_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)

    with pytest.raises(OutOfMemory):
        decode(encoded(a_picture(), "BMP"))


def test_too_little_memory_while_reading_exif_is_no_broken_exif(monkeypatch: pytest.MonkeyPatch) -> None:
    def getexif(_: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "getexif", getexif)

    with pytest.raises(OutOfMemory):
        decode(encoded(a_picture(), "BMP"))


def test_the_refusal_says_nothing_of_pillow() -> None:
    with pytest.raises(InvalidImage) as caught:
        decode(b"BM" + bytes(20))

    assert caught.value.detail == "The bytes start like a BMP and do not decode as one."


def test_pillow_s_warnings_are_kept_quiet_and_the_filters_left_as_they_were() -> None:
    before = warnings.filters[:]
    animation_without_frames = a_png(1, 1, (b"acTL", bytes(8)), (b"IDAT", zlib.compress(bytes(4))), (b"IEND", b""))

    assert decode(animation_without_frames).size == (1, 1)
    assert warnings.filters == before


FILES = [encoded(a_picture(), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")]


@given(st.sampled_from(FILES), st.data())
def test_whatever_the_bytes_there_is_a_picture_or_one_of_the_errors(file: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(file) - 1))
    changed = file[:place] + data.draw(st.binary(max_size=6)) + file[place + data.draw(st.integers(0, 4)) :]

    try:
        picture = decode(changed)
    except (InvalidImage, UnsupportedImageFormat, ImageTooLarge, OutOfMemory):
        return

    assert picture.mode == "RGB"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 3}])
def test_a_jpeg_that_is_cut_anywhere_is_refused_by_fast_as_by_exact(options: dict[str, Any]) -> None:
    whole = encoded(a_picture(112, 113).resize((896, 904)), "JPEG", quality=50, **options)

    for length in (*range(200, len(whole) - 12, 3001), *range(len(whole) - 12, len(whole) + 1)):
        words = []
        for mode in get_args(Mode):
            try:
                decode(whole[:length], mode=mode)
                words.append("")
            except InvalidImage as error:
                words.append(error.detail)
        assert words[0] == words[1]
        assert bool(words[0]) == (length < len(whole))


def test_fast_counts_the_pixels_of_the_picture_and_not_of_what_it_takes_of_it() -> None:
    image = encoded(Image.new("L", (8000, 6256)), "JPEG")

    with pytest.raises(ImageTooLarge) as caught:
        decode(image, mode="fast")

    assert caught.value.actual == 8000 * 6256


def test_a_jpeg_of_more_scans_than_any_camera_makes_is_refused_before_the_first() -> None:
    picture = encoded(a_picture(), "JPEG", progressive=True)
    start = picture.rindex(b"\xff\xda")
    last_scan = picture[start:-2]
    scans = picture.count(b"\xff\xda")

    decode(picture[:-2] + last_scan * (200 - scans) + picture[-2:])
    with pytest.raises(InvalidImage, match="scans"):
        decode(picture[:-2] + last_scan * (201 - scans) + picture[-2:])
