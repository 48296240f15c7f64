"""The pictures that are sent: photographs of `examples/`, cropped, resampled, with a little grain, of known weight."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.surroundings import ROOT

PHOTOGRAPHS: Final = ROOT / "examples"

_SEED: Final = 11
_GRAIN: Final = 5.0
_WORST: Final = 30
_BEST: Final = 97


class NoPhotographs(Exception):
    """The folder of photographs is not there; the message says how to get it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Pictures of one size: `bytes` is what a file of it weighs, about; a PNG weighs what it weighs."""

    name: str
    width: int
    height: int
    format: str
    bytes: int
    different: int
    """How many different ones there are; senders take them in turn."""


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind(name="224x224", width=224, height=224, format="JPEG", bytes=15_000, different=6),
        Kind(name="640x480", width=640, height=480, format="JPEG", bytes=100_000, different=6),
        Kind(name="1920x1080", width=1920, height=1080, format="JPEG", bytes=500_000, different=4),
        Kind(name="1920x1080-png", width=1920, height=1080, format="PNG", bytes=4_000_000, different=3),
        Kind(name="4000x3000", width=4000, height=3000, format="JPEG", bytes=4_000_000, different=3),
    )
}


def make(kind: Kind, folder: Path) -> list[Path]:
    """Files of this kind in the folder, the same ones every time.

    Raises: NoPhotographs.
    """
    random = np.random.default_rng(_SEED)
    paths = []
    for number, source in enumerate(photographs()[: kind.different]):
        picture = grained(cropped(source, kind.width, kind.height), random)
        path = folder / f"{kind.name}-{number}.{kind.format.lower()}"
        path.write_bytes(_encoded(picture, kind))
        paths.append(path)
    return paths


def photographs() -> list[Image.Image]:
    """The photographs that have colours, in RGB, the largest first.

    Raises: NoPhotographs.
    """
    paths = sorted(path for path in PHOTOGRAPHS.glob("*") if path.suffix in {".jpg", ".png"})
    if not paths:
        raise NoPhotographs(f"{PHOTOGRAPHS} holds no photographs: `make setup` fetches them")
    pictures = []
    for path in paths:
        with Image.open(path) as picture:
            # A grey one would be cheaper to decode than what people send.
            if picture.mode == "RGB":
                pictures.append(picture.convert("RGB"))
    return sorted(pictures, key=lambda picture: picture.width * picture.height, reverse=True)


def cropped(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Its middle, as large as can be in that shape, resampled to that size."""
    scale = min(picture.width / width, picture.height / height)
    wide, high = width * scale, height * scale
    left, top = max(picture.width - wide, 0) / 2, max(picture.height - high, 0) / 2
    box = (left, top, min(left + wide, picture.width), min(top + high, picture.height))
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=box)


def grained(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """The picture with a camera's grain, which enlarging has taken from it."""
    grain = random.normal(0, _GRAIN, (picture.height, picture.width, 1)).astype(np.float32)
    pixels: npt.NDArray[np.float32] = np.asarray(picture, np.float32) + grain
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _encoded(picture: Image.Image, kind: Kind) -> bytes:
    if kind.format != "JPEG":
        return encoded(picture, kind.format)
    low, high = _WORST, _BEST
    while low < high:
        middle = (low + high + 1) // 2
        if len(encoded(picture, "JPEG", middle)) <= kind.bytes:
            low = middle
        else:
            high = middle - 1
    return encoded(picture, "JPEG", low)


def encoded(picture: Image.Image, form: str, quality: int = 90) -> bytes:
    """The file; a JPEG has 4:2:0, as cameras do."""
    file = BytesIO()
    if form == "JPEG":
        picture.save(file, form, quality=quality, subsampling="4:2:0")
    else:
        picture.save(file, form)
    return file.getvalue()
