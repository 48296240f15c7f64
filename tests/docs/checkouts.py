"""A copy of the repository that a page may do with as it likes."""

import shutil
import sys
from pathlib import Path

from tests.docs.pages import ROOT, files


def copy(folder: Path) -> Path:
    """Copy what is, or would be, in the repository to `folder`; what `make setup` makes is there too, made long ago.

    The virtual environment is the one that runs the tests, and the photographs are those of the working copy: nothing
    is installed or fetched again. `make` sees from their stamps that both are newer than what they are made of.
    """
    for name in files():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, place)
    _link_all(Path(sys.prefix), folder / ".venv", stamp=".installed")
    _link_all(ROOT / "examples", folder / "examples", stamp="SOURCES.txt")
    return folder


def _link_all(source: Path, place: Path, *, stamp: str) -> None:
    place.mkdir()
    for entry in source.iterdir():
        if entry.name != stamp:
            (place / entry.name).symlink_to(entry)
    (place / stamp).touch()
