"""Builders of small pictures in memory."""

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

CORPUS = Path(os.environ.get("DARKROOM_TEST_CORPUS") or Path(__file__).parents[3] / "shared" / "corpus")
"""Pictures, good and hostile, that stand beside the checkout where there are any."""


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The picture as a file of that kind, lossless where the kind can be."""
    if kind == "WEBP":
        options = {"lossless": True, **options}
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def noise(width: int = 20, height: int = 14, bands: int = 3, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Levels of shape (height, width, bands), no two rows or columns alike."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, bands), dtype=np.uint8)


def a_picture(width: int = 20, height: int = 14, seed: int = 0) -> Image.Image:
    """Coloured noise."""
    return Image.fromarray(noise(width, height, seed=seed))


def a_photograph(seed: int = 0, side: int = 224) -> Image.Image:
    """Smooth blobs of colour with a little grain, as in a photograph."""
    coarse = Image.fromarray(noise(5, 5, seed=seed)).resize((side, side), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(seed).normal(0, 4, (side, side, 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8))


def grey16(levels: list[int]) -> bytes:
    """A PNG of one row of 16-bit grey levels."""
    return encoded(Image.fromarray(np.array([levels], dtype=np.uint16)))


def a_png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of RGB by its header, and after it the chunks given."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in (header, *chunks)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def a_tiff(entries: dict[int, int], strip: bytes = b"") -> bytes:
    """A TIFF with these tags, each one number; the strip stands at the end."""
    fields = {**entries, **({273: 8 + 2 + 12 * (len(entries) + 1) + 4} if strip else {})}
    directory = b"".join(struct.pack("<HHII", key, 4, 1, value) for key, value in sorted(fields.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(fields)) + directory + bytes(4) + strip


def headers_of(width: int, height: int) -> dict[str, bytes]:
    """A file's beginning for each kind whose size stands in its header and can be as large as that."""
    headers = {
        "PNG": a_png(width, height),
        "BMP": b"BM" + bytes(12) + struct.pack("<IIi", 40, width, height),
        "BMP from the top": b"BM" + bytes(12) + struct.pack("<IIi", 40, width, -height),
        "WebP extended": b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0"
        + (width - 1).to_bytes(3, "little")
        + (height - 1).to_bytes(3, "little"),
    }
    if max(width, height) >= 1 << 14:
        return headers
    return headers | {
        "GIF": b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0),
        "BMP of OS/2": b"BM" + bytes(12) + struct.pack("<IHH", 12, width, height),
        "WebP lossy": b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height),
        "WebP lossless": b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14),
        "JPEG": b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width),
        "progressive JPEG": b"\xff\xd8\xff\xdb\x00\x03a\xff\xc2\x00\x11\x08" + struct.pack(">HH", height, width),
    }
