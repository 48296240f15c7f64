"""A picture decoded in a decoder of its own, and in this process, in turn.

A program that takes orders: `{"images": [PATH, …], "times": N}`.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.apart import take_orders
from benchmarks.bare import keep_what_is_freed
from benchmarks.processes import Processes
from worker.decoding import decode
from worker.isolation import Decoder
from worker.preprocessing import preprocess, standardise


def measured(work: Callable[[bytes], object], images: Sequence[bytes], times: int) -> tuple[float, float]:
    """Seconds for one picture: processor time of this process and of all below it, and time on the wall."""
    processes = Processes({"here": os.getpid()})
    before, start = processes.read(), time.perf_counter()
    for _ in range(times):
        for image in images:
            work(image)
    count = times * len(images)
    spent = processes.read().since(before)
    return sum(spent.values()) / count, (time.perf_counter() - start) / count


def obey(order: dict[str, Any], decoder: Decoder) -> dict[str, float]:
    """Here, in the decoder, here again, so many times for each picture."""
    images, times = [Path(path).read_bytes() for path in order["images"]], order["times"]

    def here(image: bytes) -> object:
        return preprocess(decode(image, mode="fast"), mode="fast")

    def isolated(image: bytes) -> object:
        return standardise(decoder(image).pixels)

    # A decoder comes with the first picture.
    isolated(images[0])
    first = measured(here, images, times)
    middle = measured(isolated, images, times)
    last = measured(here, images, times)
    return {
        "here_s": (first[0] + last[0]) / 2,
        "here_wall_s": (first[1] + last[1]) / 2,
        "isolated_s": middle[0],
        "isolated_wall_s": middle[1],
    }


if __name__ == "__main__":
    keep_what_is_freed()
    with Decoder(mode="fast") as own:
        take_orders(lambda order: obey(order, own))
