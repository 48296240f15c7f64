"""Bytes off the wire → an image worth queueing, or an error. Reads headers; never a pixel."""

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from shared.payloads import check_size, image_format

_Size: TypeAlias = tuple[int, int]

_BMP_CORE: Final = 12
_BMP_INFO: Final = frozenset({40, 52, 56, 64, 108, 124})
_VP8L_SIGNATURE: Final = 0x2F
_14_BITS: Final = 0x3FFF

_JPEG_MARK: Final = 0xFF
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SEGMENTS: Final = frozenset(range(0xC0, 0xFF)) - frozenset(range(0xD0, 0xDB))
"""Markers that a length follows, up to the first scan."""

_MOST_SEGMENTS: Final = 1000
"""A hostile JPEG has millions of empty segments before its frame header; the worker may walk those."""


def inspect(image: bytes) -> None:
    """Refuse what its header already gives away. What cannot be read here passes: the worker decides.

    Raises: InvalidImage when there are no bytes, UnsupportedImageFormat, ImageTooLarge; nothing else.
    """
    read_size = _READERS.get(image_format(image))
    if read_size is None:
        return
    try:
        size = read_size(image)
    except struct.error:  # the header is cut short
        return
    if size is not None:
        check_size(*size)


def _png(image: bytes) -> _Size | None:
    if image[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", image, 16)
    return width, height


def _gif(image: bytes) -> _Size | None:
    width, height = struct.unpack_from("<HH", image, 6)
    return width, height


def _bmp(image: bytes) -> _Size | None:
    (header,) = struct.unpack_from("<I", image, 14)
    if header == _BMP_CORE:
        width, height = struct.unpack_from("<HH", image, 18)
        return width, height
    if header in _BMP_INFO:
        width, height = struct.unpack_from("<Ii", image, 18)
        # A negative height says that the rows run from the top.
        return width, abs(height)
    return None


def _webp(image: bytes) -> _Size | None:
    kind = image[12:16]
    if kind == b"VP8 " and image[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", image, 26)
        return width & _14_BITS, height & _14_BITS
    if kind == b"VP8L":
        signature, bits = struct.unpack_from("<BI", image, 20)
        return ((bits & _14_BITS) + 1, (bits >> 14 & _14_BITS) + 1) if signature == _VP8L_SIGNATURE else None
    if kind == b"VP8X":
        width_low, width_high, height_low, height_high = struct.unpack_from("<HBHB", image, 24)
        return (width_high << 16 | width_low) + 1, (height_high << 16 | height_low) + 1
    return None


def _jpeg(image: bytes) -> _Size | None:
    place = 2
    for _ in range(_MOST_SEGMENTS):
        mark, marker = struct.unpack_from("BB", image, place)
        if mark != _JPEG_MARK:
            return None
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", image, place + 5)
            return width, height
        if marker in _JPEG_SEGMENTS:
            (length,) = struct.unpack_from(">H", image, place + 2)
            place += 2 + length
        elif marker == _JPEG_MARK:  # a fill byte
            place += 1
        else:
            return None
    return None


_READERS: Final[Mapping[str, Callable[[bytes], _Size | None]]] = MappingProxyType(
    {"PNG": _png, "GIF": _gif, "BMP": _bmp, "WEBP": _webp, "JPEG": _jpeg},
)
