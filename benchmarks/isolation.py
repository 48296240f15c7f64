"""What a decoder of its own costs: processor time and latency of a picture, against decoding in this process.

`python benchmarks/isolation.py [ROUNDS [PICTURES]]`. Each round measures this process, then a decoder, then this
process again, so that a machine that changes its pace shows. Processor time is this process's and the decoder's.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from worker.decoding import decode
from worker.isolation import Decoder
from worker.preprocessing import preprocess, standardise

SIZES = ((640, 480), (1920, 1080))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Milliseconds a picture: of processor time, and of latency in the middle and at the 95th percentile."""

    cpu: float
    p50: float
    p95: float


def photograph(width: int, height: int) -> bytes:
    """A JPEG with a photograph's mixture of smooth and fine."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (9, 16, 3), dtype=np.uint8)).resize((width, height))
    grain = random.normal(0, 6, (height, width, 1))
    picture = Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8))
    file = BytesIO()
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()


def descendants(pid: int) -> list[int]:
    """All processes below this one."""
    below = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    return below + [deeper for child in below for deeper in descendants(child)]


def cpu_s() -> float:
    """Processor time of this process and of all below it so far."""
    # A process's clock by its number. Source: clock_getcpuclockid(3), in glibc and musl alike.
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in (os.getpid(), *descendants(os.getpid())))


def measured(work: Callable[[bytes], object], image: bytes, times: int) -> Cost:
    """The cost of `work` on the picture, done so many times."""
    latencies = []
    before = cpu_s()
    for _ in range(times):
        start = time.perf_counter()
        work(image)
        latencies.append((time.perf_counter() - start) * 1000)
    spent = (cpu_s() - before) * 1000
    latencies.sort()
    return Cost(cpu=spent / times, p50=statistics.median(latencies), p95=latencies[int(times * 0.95)])


def main() -> None:
    """Print a line per round, and the ratios of the medians."""
    rounds, times = (int(text) for text in (*sys.argv[1:], *("7", "200")[len(sys.argv) - 1 :]))
    with Decoder() as decoder:
        for size in SIZES:
            image = photograph(*size)
            print(f"{size[0]} x {size[1]}, {len(image)} bytes; ms a picture: processor, latency p50, p95")
            ratios = []
            for number in range(-1, rounds):
                alone = measured(lambda picture: preprocess(decode(picture)), image, times)
                apart = measured(lambda picture: standardise(decoder(picture).pixels), image, times)
                again = measured(lambda picture: preprocess(decode(picture)), image, times)
                if number < 0:
                    # The first round warms up.
                    continue
                floor = (alone.cpu + again.cpu) / 2, (alone.p50 + again.p50) / 2
                ratios.append((apart.cpu / floor[0], apart.p50 / floor[1]))
                for name, cost in (("here", alone), ("decoder", apart), ("here", again)):
                    print(f"  {number + 1} {name:8} {cost.cpu:7.3f} {cost.p50:7.3f} {cost.p95:7.3f}")
            cpu, latency = (statistics.median(column) for column in zip(*ratios, strict=True))
            print(f"  decoder / here: processor {cpu:.3f}, latency {latency:.3f}")


if __name__ == "__main__":
    main()
