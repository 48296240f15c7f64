"""With this folder on PYTHONPATH, Python's wall clock is wrong by what the file `WRONG_CLOCK` says at the moment.

The file holds seconds (double) and how often the clock was asked (64 bits), both as the machine writes them. The
monotonic clocks stay right, as in a machine whose time was set.
"""

import mmap
import os
import struct
import time
from pathlib import Path

_time_ns = time.time_ns

with Path(os.environ["WRONG_CLOCK"]).open("r+b") as file:
    _clock = mmap.mmap(file.fileno(), 16)


def _wrong_ns() -> int:
    seconds, asked = struct.unpack("dQ", _clock[:])
    _clock[8:] = struct.pack("Q", asked + 1)
    return _time_ns() + int(seconds * 1e9)


def _wrong() -> float:
    return _wrong_ns() / 1e9


time.time_ns = _wrong_ns
time.time = _wrong
