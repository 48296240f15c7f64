"""What a request carries: base64 text → bytes, bytes → which image format, and how large an image may be.

Both sides ask here, so that the gateway's door and the worker's decoder never disagree.
"""

from typing import Final

import pybase64

from shared.errors import ImageTooLarge, InvalidBase64, InvalidImage, UnsupportedImageFormat

MAX_PIXELS: Final = 50_000_000
"""Most pixels an image may have."""

MAX_SIDE: Final = 65_535
"""Longest side an image may have, in pixels: the longest that JPEG and GIF can tell."""

_LONGEST_PREFIX: Final = 200

_MAGIC: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II\x2a\x00", "TIFF"),
    (b"MM\x00\x2a", "TIFF"),
    # Cameras of old swapped the two bytes of the version; both libtiff and Pillow read them.
    (b"II\x00\x2a", "TIFF"),
    (b"MM\x2a\x00", "TIFF"),
    (b"II\x2b\x00", "TIFF"),
    (b"MM\x00\x2b", "TIFF"),
)


def decode_base64(text: str) -> bytes:
    """The bytes that strict base64 stands for: padded, without whitespace, in one alphabet, standard or URL-safe.

    A `data:image/…;base64,` prefix is passed over. Empty text stands for no bytes.

    Raises: InvalidBase64.
    """
    payload = _without_prefix(text)
    try:
        return pybase64.b64decode(payload, validate=True)
    except ValueError:
        pass
    # pybase64 reads both alphabets at once when told of the second, so a mixture has to be refused here.
    if "+" not in payload and "/" not in payload:
        try:
            return pybase64.b64decode(payload, altchars=b"-_", validate=True)
        except ValueError:
            pass
    raise InvalidBase64(
        "The text is not strict base64: one alphabet, standard or URL-safe, with padding and without whitespace.",
    )


def image_format(image: bytes) -> str:
    """JPEG, PNG, WEBP, GIF, BMP or TIFF, by the first bytes alone; the rest may still be broken.

    Raises: InvalidImage when there are no bytes; UnsupportedImageFormat when they start like none of the six.
    """
    if not image:
        raise InvalidImage("The image is empty.")
    if image.startswith(b"RIFF") and image[8:12] == b"WEBP":
        return "WEBP"
    for magic, name in _MAGIC:
        if image.startswith(magic):
            return name
    raise UnsupportedImageFormat("The bytes do not start like a JPEG, PNG, WebP, GIF, BMP or TIFF.")


def check_size(width: int, height: int) -> None:
    """Let an image of so many pixels across and down pass.

    Raises: ImageTooLarge over `MAX_PIXELS` in all or `MAX_SIDE` on a side.
    """
    if width * height > MAX_PIXELS:
        raise too_many_pixels(width * height)
    if max(width, height) > MAX_SIDE:
        raise too_long_a_side(max(width, height))


def too_many_pixels(actual: int) -> ImageTooLarge:
    """The error for an image of `actual` pixels in all."""
    detail = f"The image has {actual} pixels; the limit is {MAX_PIXELS}."
    return ImageTooLarge(detail, limit=MAX_PIXELS, actual=actual)


def too_long_a_side(actual: int) -> ImageTooLarge:
    """The error for an image whose longest side has `actual` pixels."""
    detail = f"The image's longest side has {actual} pixels; the limit is {MAX_SIDE}."
    return ImageTooLarge(detail, limit=MAX_SIDE, actual=actual)


def _without_prefix(text: str) -> str:
    if text[:5].lower() != "data:":
        return text
    prefix, comma, payload = text[:_LONGEST_PREFIX].partition(",")
    kind = prefix[5:].lower()
    if not comma or not kind.startswith("image/") or not kind.endswith(";base64"):
        raise InvalidBase64("A data: URL must be an image's and in base64: data:image/…;base64, and then the text.")
    return text[len(text[:_LONGEST_PREFIX]) - len(payload) :]
