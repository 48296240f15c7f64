"""What a decoder of its own costs: a picture in a process that can be killed, against the same in this one."""

from collections.abc import Iterator
from typing import Final

from benchmarks.apart import Apart
from benchmarks.bench import Bench
from benchmarks.pictures import KINDS
from benchmarks.results import Figure

PART: Final = "isolation"

_TIMES: Final = {"640x480": 16, "1920x1080": 6}


def measure(bench: Bench) -> Iterator[Figure]:
    """Processor time for a picture, with a decoder against without, at two sizes.

    Raises: Failed.
    """
    with Apart("benchmarks.decoding") as decoding:
        for name, times in _TIMES.items():
            images = [str(path) for path in bench.images(KINDS[name])]
            decoding({"images": images, "times": 2})
            rounds = [decoding({"images": images, "times": bench.effort.of(times)}) for _ in range(bench.effort.rounds)]
            yield Figure(
                part=PART,
                name=f"{name}, processor time",
                unit="of without",
                values=[one["isolated_s"] / one["here_s"] for one in rounds],
                rounds=rounds,
            )
