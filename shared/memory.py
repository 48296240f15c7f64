"""What a process that takes in pictures asks of the allocator."""

import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""glibc's names for its two settings, see mallopt(3)."""

_KEPT_BYTES: Final = 24 * 1024 * 1024
_APART_BYTES: Final = 8 * 1024 * 1024


def keep_what_is_freed() -> None:
    """Keep the memory of one body or picture for the next, from now on. With a C library other than glibc: nothing.

    Else each is given back to the system page by page and taken anew: a fifth of a request's price. What is larger
    than most bodies goes back at once all the same, and of the rest no more than a few of them is kept.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _APART_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
