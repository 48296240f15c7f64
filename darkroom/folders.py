"""Files and folders → the pictures among them."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"}
)


def find_pictures(places: Iterable[Path]) -> list[Path]:
    """The files given, as they are, and of each folder, all the way down, those with a picture's suffix, by name.

    A folder that cannot be listed stands for itself, so that whoever reads it hears why.
    """
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            found += sorted(_below(place))
        else:
            found.append(place)
    return found


def _below(place: Path) -> list[Path]:
    unlisted: list[OSError] = []
    found = [
        Path(folder, name)
        for folder, _, names in os.walk(place, onerror=unlisted.append)
        for name in names
        if Path(name).suffix.lower() in _SUFFIXES
    ]
    return found + [Path(error.filename) for error in unlisted]
