"""A picture as callers have it → its bytes and its media type."""

import errno
import os
import stat
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


_MOST_BYTES: Final = 64 * 1024 * 1024
"""More than any server takes. A file beyond is not read at all."""


def read_picture(picture: Picture) -> bytes:
    """The picture's bytes.

    Raises: OSError when it cannot be read: also when a path names no ordinary file, or one of more than 64 MiB.
    TypeError for a file that was opened for reading text.
    """
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, str | PathLike):
        return _read(Path(picture))
    if hasattr(picture, "encoding"):
        raise TypeError("The file is open for reading text: open it with mode 'rb'.")
    return picture.read()


def _read(path: Path) -> bytes:
    try:
        found = path.stat()
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error).capitalize(), str(path)) from None
    if stat.S_ISREG(found.st_mode) and found.st_size > _MOST_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    # A pipe would wait for its writer, and a device may never end; a folder has an error of its own.
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EINVAL, "Not an ordinary file", str(path))
    return path.read_bytes()


def media_type(image: bytes) -> str:
    """The type that the first bytes tell; `image/jpeg` where they tell none, since the server looks for itself."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    return next((name for magic, name in _MAGIC if image.startswith(magic)), "image/jpeg")
