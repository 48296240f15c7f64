"""What may be handed to a client as a picture."""

import os
from io import BytesIO
from pathlib import Path

import pytest

from darkroom.pictures import read_picture


def test_a_picture_is_a_path_bytes_or_an_open_file(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    path.write_bytes(b"pixels")

    with path.open("rb") as file:
        read = [read_picture(picture) for picture in (path, str(path), b"pixels", bytearray(b"pixels"), file)]

    assert {*read, read_picture(memoryview(b"pixels")), read_picture(BytesIO(b"pixels"))} == {b"pixels"}


def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)

    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(OSError, match="Not an ordinary file"):
            read_picture(path)


def test_what_no_server_takes_is_not_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate(65 * 1024 * 1024)

    with pytest.raises(OSError, match="too large"):
        read_picture(huge)


def test_a_folder_and_nothing_are_told_as_the_system_tells_them(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_picture(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "none.png")
