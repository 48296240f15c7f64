"""Untrusted bytes → an RGB image. The one file that opens images."""

import re
import warnings
from io import BytesIO
from types import MappingProxyType
from typing import Final

import numpy as np

# Importing a plugin registers it. Without these Pillow would import what a picture asks for when it comes to it: a WebP
# all plugins that there are, and in a decoder, which can open no file, nothing.
from PIL import (  # noqa: F401  # for their side effects
    ExifTags,
    Image,
    ImageCms,
    ImageColor,
    ImagePalette,
    MpoImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from shared.errors import DarkroomError, ImageTooLarge, InvalidImage, OutOfMemory
from shared.payloads import MAX_PIXELS, check_size, image_format, too_many_pixels
from worker.preprocessing import Mode
from worker.resampling import SIDE

_UPRIGHT: Final = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    },
)
"""What undoes each EXIF orientation. Source: EXIF 2.32, tag 0x0112."""


_SCAN: Final = 0xFFDA
"""Starts each scan of a JPEG; inside a scan these bytes do not occur. Source: ITU-T T.81, B.1.1.5."""

_MOST_SCANS: Final = 200
"""A progressive JPEG has about ten. Each one more is another pass over all pixels, for 42 bytes."""

_GUARD: Final = 2 * SIDE
"""What `fast` leaves of a JPEG's shorter side at least: enough for the filter after it to tell detail from noise."""


def decode(image: bytes, *, mode: Mode = "exact") -> Image.Image:
    """The picture in mode RGB, upright; of an animation or a multi-picture file the first frame.

    16-bit grey is divided by 257 and rounded; transparency is composited on white; all else is Pillow's `convert`.
    If `fast`, a JPEG comes at an eighth, a quarter or a half of its size where that is a whole number of pixels, and of
    the shorter side leaves 448 or more.

    Raises: InvalidImage, UnsupportedImageFormat, ImageTooLarge, OutOfMemory; nothing else.
    """
    kind = inspect(image)
    try:
        # Filters belong to the whole process: this is for a worker that does one job at a time.
        with warnings.catch_warnings():
            # Pillow's warning of a bomb as well: it comes later than our own limit does.
            warnings.simplefilter("ignore")
            picture = Image.open(BytesIO(image), formats=(kind,))
            check_size(*picture.size)
            if isinstance(picture, TiffImagePlugin.TiffImageFile):
                # libtiff decodes a tile whole, however little of it lies in the picture.
                tags = picture.tag_v2
                check_size(int(tags.get(TiffImagePlugin.TILEWIDTH, 0)), int(tags.get(TiffImagePlugin.TILELENGTH, 0)))
            if mode == "fast" and kind == "JPEG":
                picture.draft("RGB", _scaled(*picture.size))
            picture.load()
            return _to_rgb(_turned_upright(picture))
    except DarkroomError:
        raise
    except MemoryError as error:
        raise OutOfMemory("Decoding the image needs more memory than a worker has.") from error
    except Image.DecompressionBombError as error:
        raise _bomb(error) from error
    except Exception as error:
        # Hostile bytes raise nearly anything out of Pillow: OSError, ValueError, SyntaxError, struct.error, …
        raise undecodable(kind) from error


def inspect(image: bytes) -> str:
    """The image's format, of an image that is worth decoding; harmless, for it only looks for a few bytes.

    Raises: InvalidImage, UnsupportedImageFormat.
    """
    kind = image_format(image)
    if kind == "JPEG" and _scans(image) > _MOST_SCANS:
        raise InvalidImage(f"The JPEG has more than {_MOST_SCANS} scans.")
    return kind


def _scaled(width: int, height: int) -> tuple[int, int]:
    # Only where it comes out even: a last pixel that is half outside would move all others a little.
    for part in (8, 4, 2):
        if width % part == height % part == 0 and min(width, height) >= part * _GUARD:
            return width // part, height // part
    return width, height


def _scans(image: bytes) -> int:
    # Two bytes at a time, from the first and from the second: eight times as fast as `bytes.count`.
    pairs = (np.frombuffer(image, ">u2", (len(image) - first) // 2, first) for first in (0, 1))
    return sum(int(np.count_nonzero(pair == _SCAN)) for pair in pairs)


def undecodable(kind: str) -> InvalidImage:
    """The error for bytes that only start like an image of that format."""
    return InvalidImage(f"The bytes start like a {kind} and do not decode as one.")


def _bomb(error: Image.DecompressionBombError) -> ImageTooLarge:
    # Pillow tells the number of pixels in its sentence alone.
    pixels = re.search(r"\d+", str(error))
    return too_many_pixels(int(pixels[0]) if pixels else MAX_PIXELS + 1)


def _turned_upright(picture: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # a broken EXIF block says nothing about the pixels
        turn = None
    return picture if turn is None else picture.transpose(turn)


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB" and not picture.has_transparency_data:
        return picture
    if picture.mode.startswith("I;16"):
        levels = (np.asarray(picture).astype(np.uint32) + 128) // 257
        return Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        # Pillow converts premultiplied grey to nothing but grey with alpha. A conversion to the same mode is a copy.
        rgba = picture.convert("LA") if picture.mode == "La" else picture
        rgba = rgba if rgba.mode == "RGBA" else rgba.convert("RGBA")
        white = Image.new("RGB", picture.size, "white")
        white.paste(rgba, mask=rgba)
        return white
    return picture.convert("RGB")
