"""The key that goes with every call: from the environment or from a file, under the names that the server reads."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

KEY: Final = "X_API_KEY"
KEY_FILE: Final = "X_API_KEY_FILE"

_VISIBLE: Final = re.compile(r"[!-~]+")
_MOST_BYTES: Final = 4096


class UnusableKey(Exception):
    """There is no telling which key to send; the message is a sentence that does not repeat it."""


def is_key(text: str) -> bool:
    """Whether a header can carry it as a key: visible ASCII without spaces, and not empty."""
    return bool(_VISIBLE.fullmatch(text))


def read_key(environ: Mapping[str, str], file: Path | None) -> str | None:
    """The key to send, None where none is given. An empty variable gives none.

    Raises: UnusableKey.
    """
    key = environ.get(KEY)
    if key and file is not None:
        raise UnusableKey(f"The key is given twice: by {KEY}, and as a file by --key-file or {KEY_FILE}.")
    if key:
        return _visible(key, KEY)
    return None if file is None else _visible(_text(file), str(file))


def _text(file: Path) -> str:
    try:
        # By the handle, and only so much: it may be a pipe, or a device that never ends.
        with file.open("rb") as opened:
            text = opened.read(_MOST_BYTES).decode("ascii", "replace").rstrip("\r\n")
    except OSError as error:
        raise UnusableKey(f"The key's file {file} cannot be read: {error.strerror}.") from None
    if not text:
        raise UnusableKey(f"The key's file {file} is empty.")
    return text


def _visible(key: str, place: str) -> str:
    if not is_key(key):
        raise UnusableKey(f"What {place} holds is no key: a key is visible ASCII without spaces.")
    return key
