"""A picture as callers have it → its bytes and its media type."""

from os import PathLike
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

Picture: TypeAlias = str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""A path, the bytes themselves, or a file opened for reading bytes."""

_MAGIC: Final = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)


def read_picture(picture: Picture) -> bytes:
    """The picture's bytes.

    Raises: OSError when it cannot be read.
    """
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, str | PathLike):
        return Path(picture).read_bytes()
    return picture.read()


def media_type(image: bytes) -> str:
    """The type that the first bytes tell; `image/jpeg` where they tell none, since the server looks for itself."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    return next((name for magic, name in _MAGIC if image.startswith(magic)), "image/jpeg")
