"""What a gateway and a worker ask of the allocator and of the garbage collector, once, before they serve."""

import ctypes
import gc
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""glibc's names for its two settings, see mallopt(3)."""

_KEPT_BYTES: Final = 24 * 1024 * 1024
_APART_BYTES: Final = 8 * 1024 * 1024


def settle() -> None:
    """Keep the memory of a body or a picture for the next one, and let collections pass over what was made until now.

    Call it when all parts are made. With a C library other than glibc only the second is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        # Else each body is given back to the system page by page and taken anew: a fifth of a request's price. What is
        # larger than most bodies goes back at once all the same, and of the rest no more than this is kept.
        mallopt(_MMAP_THRESHOLD, _APART_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    gc.collect()
    gc.freeze()
