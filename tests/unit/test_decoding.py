from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import ExifTags, Image

from tests.support.pictures import a_picture, a_tiff, encoded, grey16, noise
from worker.decoding import decode

LOSSLESS = ["PNG", "WEBP", "BMP", "TIFF"]


def pixels(picture: Image.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(picture)


def on_white(colour: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    share = alpha[..., None].astype(np.float64) / 255
    return np.floor(colour * share + 255 * (1 - share) + 0.5).astype(np.uint8)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_lossless_picture_comes_back_as_it_was(kind: str) -> None:
    picture = a_picture()

    decoded = decode(encoded(picture, kind))

    assert decoded.mode == "RGB"
    assert np.array_equal(pixels(decoded), pixels(picture))


@pytest.mark.parametrize("kind", ["JPEG", "GIF", *LOSSLESS])
@pytest.mark.parametrize("size", [(1, 1), (1, 97), (97, 1)])
def test_one_pixel_and_one_row_and_one_column_decode(kind: str, size: tuple[int, int]) -> None:
    assert decode(encoded(Image.new("RGB", size, "red"), kind)).size == size


def test_sixteen_bits_become_eight_by_the_nearest_level() -> None:
    decoded = decode(grey16([0, 128, 129, 257, 385, 386, 65_406, 65_407, 65_535]))

    assert decoded.mode == "RGB"
    assert pixels(decoded)[0, :, 0].tolist() == [0, 0, 1, 1, 1, 2, 254, 255, 255]


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_sixteen_bits_are_read_in_either_byte_order(mode: str) -> None:
    levels = np.array([[0, 257, 4660, 65_535]], dtype=">u2" if mode == "I;16B" else "<u2")
    picture = Image.frombytes(mode, (4, 1), levels.tobytes())

    decoded = decode(encoded(picture, "TIFF"))

    assert pixels(decoded)[0].tolist() == [[level] * 3 for level in (0, 1, 18, 255)]


def test_a_picture_with_alpha_is_laid_on_white() -> None:
    rgba = noise(bands=4)

    decoded = decode(encoded(Image.fromarray(rgba)))

    assert np.array_equal(pixels(decoded), on_white(rgba[..., :3], rgba[..., 3]))


def test_grey_with_alpha_is_laid_on_white() -> None:
    la = noise(bands=2)

    decoded = decode(encoded(Image.fromarray(la, "LA")))

    assert np.array_equal(pixels(decoded), on_white(la[..., [0, 0, 0]], la[..., 1]))


def test_premultiplied_alpha_is_laid_on_white() -> None:
    entries = {256: 2, 257: 1, 258: 8, 259: 1, 262: 2, 277: 4, 278: 1, 279: 8, 338: 1}

    decoded = decode(a_tiff(entries, strip=bytes([100, 50, 0, 100, 0, 0, 0, 0])))

    assert pixels(decoded)[0].tolist() == [[255, 205, 155], [255, 255, 255]]


def test_a_palette_without_transparency_gives_its_colours() -> None:
    picture = a_picture().quantize(40)

    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        assert np.array_equal(pixels(decode(encoded(picture, kind))), pixels(picture.convert("RGB")))


def test_a_palette_s_transparent_colour_becomes_white() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((1, 0), 1)

    for kind in ("PNG", "GIF"):
        decoded = decode(encoded(picture, kind, transparency=1))

        assert pixels(decoded)[0].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_a_palette_with_an_alpha_for_each_colour_is_laid_on_white() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((1, 0), 1)

    decoded = decode(encoded(picture, transparency=b"\x80\xff"))

    assert pixels(decoded)[0].tolist() == [[132, 137, 142], [40, 50, 60]]


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (1, 2, 3)), ("L", 7), ("1", 255)])
def test_the_transparent_colour_of_a_picture_without_palette_becomes_white(mode: str, colour: Any) -> None:
    picture = Image.new(mode, (2, 1))
    picture.putpixel((1, 0), colour)

    decoded = decode(encoded(picture, transparency=colour))

    assert pixels(decoded)[0].tolist() == [[0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr", "LAB", "I", "F"])
def test_any_other_mode_is_converted_as_pillow_converts_it(mode: str) -> None:
    picture = a_picture().convert("RGB" if mode == "LAB" else mode)
    if mode == "LAB":
        picture = Image.frombytes("LAB", picture.size, picture.tobytes())

    decoded = decode(encoded(picture, "TIFF"))

    assert np.array_equal(pixels(decoded), pixels(picture.convert("RGB")))


def test_a_cmyk_jpeg_decodes() -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))

    decoded = decode(encoded(red, "JPEG"))

    assert np.abs(pixels(decoded).astype(int) - [255, 0, 0]).max() < 4


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_stands_for_an_animation(kind: str) -> None:
    frames = [a_picture(seed=seed).quantize(16).convert("RGB") for seed in range(3)]

    decoded = decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))

    assert np.array_equal(pixels(decoded), pixels(frames[0]))


def test_the_first_picture_stands_for_a_stereo_camera_s_pair() -> None:
    left, right = a_picture(seed=1), a_picture(seed=2)
    alone = decode(encoded(left, "JPEG"))

    both = decode(encoded(left, "MPO", save_all=True, append_images=[right]))

    assert np.array_equal(pixels(both), pixels(alone))


# A picture whose tag is n looks right after this; written by rows and columns, not by Pillow's own names.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_each_exif_orientation_is_turned_upright(kind: str, orientation: int) -> None:
    picture = a_picture()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation

    decoded = decode(encoded(picture, kind, exif=exif))

    assert np.array_equal(pixels(decoded), UPRIGHT[orientation](pixels(picture)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_turned_upright_as_well(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    lying = pixels(decode(encoded(a_picture(), "JPEG")))

    decoded = decode(encoded(a_picture(), "JPEG", exif=exif))

    assert np.array_equal(pixels(decoded), UPRIGHT[orientation](lying))


@pytest.mark.parametrize("mode", ["RGBA", "P", "I;16", "1"])
def test_a_picture_in_another_mode_is_turned_upright_as_well(mode: str) -> None:
    picture = a_picture().convert("L").convert("I").convert("I;16") if mode == "I;16" else a_picture().convert(mode)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6

    decoded = decode(encoded(picture, exif=exif))

    assert np.array_equal(pixels(decoded), UPRIGHT[6](pixels(decode(encoded(picture)))))


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\xff\xff\xff\xff\0\0\0\0",
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_broken_exif_block_refuses_no_picture_whose_pixels_decode(kind: str, exif: bytes) -> None:
    whole = decode(encoded(a_picture(), kind))

    decoded = decode(encoded(a_picture(), kind, exif=exif))

    assert np.array_equal(pixels(decoded), pixels(whole))


def test_an_orientation_that_there_is_not_leaves_the_picture_as_it_is() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 9

    assert decode(encoded(a_picture(), exif=exif)).size == a_picture().size


@pytest.mark.parametrize(
    ("size", "scaled"),
    [
        ((640, 480), (640, 480)),
        ((896, 894), (896, 894)),
        ((896, 896), (448, 448)),
        ((1920, 1080), (960, 540)),
        ((1411, 1411), (1411, 1411)),
        ((1793, 1792), (1793, 1792)),
        ((1794, 1800), (897, 900)),
        ((4000, 3000), (1000, 750)),
        ((3600, 3584), (450, 448)),
    ],
)
def test_fast_takes_a_jpeg_at_the_smallest_size_that_is_even_and_has_448_pixels(
    size: tuple[int, int], scaled: tuple[int, int]
) -> None:
    image = encoded(Image.new("RGB", size, "red"), "JPEG")

    assert decode(image, mode="fast").size == scaled
    assert decode(image).size == size


@pytest.mark.parametrize("kind", LOSSLESS)
def test_fast_takes_every_other_kind_as_it_is(kind: str) -> None:
    image = encoded(a_picture(900, 900), kind)

    assert np.array_equal(pixels(decode(image, mode="fast")), pixels(decode(image)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_fast_turns_a_jpeg_upright_as_well(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    lying = pixels(decode(encoded(a_picture(1000, 900), "JPEG"), mode="fast"))

    decoded = decode(encoded(a_picture(1000, 900), "JPEG", exif=exif), mode="fast")

    assert np.array_equal(pixels(decoded), UPRIGHT[orientation](lying))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_fast_takes_a_jpeg_without_colours_or_for_print_as_well(mode: str) -> None:
    decoded = decode(encoded(Image.new(mode, (1000, 900)), "JPEG"), mode="fast")

    assert (decoded.mode, decoded.size) == ("RGB", (500, 450))
