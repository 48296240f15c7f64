"""Files and folders → the pictures among them."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"}
)


def find_pictures(places: Iterable[Path]) -> list[Path]:
    """The files given, as they are, and of each folder, all the way down, those with a picture's suffix, by name."""
    found = []
    for place in places:
        if place.is_dir():
            found += sorted(
                Path(folder, name)
                for folder, _, names in os.walk(place)
                for name in names
                if Path(name).suffix.lower() in _SUFFIXES
            )
        else:
            found.append(place)
    return found
