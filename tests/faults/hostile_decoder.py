"""The decoder's program, except that a picture may say in its bytes what is to happen to whoever decodes it."""

import os
import re
import signal
import time
from typing import Final

from PIL import Image

from worker.decoder import main
from worker.decoding import decode
from worker.preprocessing import Mode

MARK: Final = re.compile(rb"darkroom does: ([a-z]+)")
"""Stands in a text chunk of a PNG, and is believed wherever it stands."""

_FOR_EVER_S: Final = 3600.0
_SLOW_S: Final = 12.0
_BRIEF_S: Final = 2.0
"""Longer than a lease."""


def decode_hostile(image: bytes, *, mode: Mode) -> Image.Image:
    """What the mark says; without one the picture."""
    mark = MARK.search(image)
    deed = mark[1] if mark else b""
    match deed:
        case b"segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case b"exit":
            os._exit(3)
        case b"shot":
            os.kill(os.getpid(), signal.SIGKILL)
        case b"hang":
            time.sleep(_FOR_EVER_S)
        case b"slow":
            time.sleep(_SLOW_S)
        case b"brief":
            time.sleep(_BRIEF_S)
        case b"bomb":
            return Image.frombytes("L", (1, 1), bytearray(1 << 40))
        case _:
            pass
    return decode(image, mode=mode)


if __name__ == "__main__":
    main(decode_hostile)
