"""Files and folders → the pictures among them."""

import os
from pathlib import Path
from typing import Final

_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"}
)


def find_pictures(place: Path) -> list[Path]:
    """A file as it is; of a folder, all the way down, the files with a picture's suffix, by name.

    A folder that cannot be listed stands for itself, and so does a place that cannot be looked at, so that whoever
    reads it hears why.
    """
    return sorted(_below(place)) if _is_folder(place) else [place]


def _is_folder(place: Path) -> bool:
    try:
        return place.is_dir()
    except OSError:
        return False


def _below(place: Path) -> list[Path]:
    unlisted: list[OSError] = []
    found = [
        Path(folder, name)
        for folder, _, names in os.walk(place, onerror=unlisted.append)
        for name in names
        if Path(name).suffix.lower() in _SUFFIXES
    ]
    return found + [Path(error.filename) for error in unlisted]
