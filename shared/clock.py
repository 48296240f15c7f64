"""The clock of the store in memory. The store in Redis uses the server's, so that no two hosts need agree."""

import time


def epoch_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000
