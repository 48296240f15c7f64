"""What the bare loop costs in a process that gives back what it frees, against the floor of all other figures."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from benchmarks.bench import Bench
from benchmarks.results import Figure
from benchmarks.rounds import between_floors

PART: Final = "floor"


def measure(bench: Bench) -> Iterator[Figure]:
    """One figure, at 640 by 480."""
    floor, forgetful = (partial(bench.floor, "640x480", forgetful=given) for given in (False, True))
    rounds = [
        {"floor_s": base, "cpu_s": cost} for ((cost, base),) in between_floors(floor, [forgetful], bench.effort.rounds)
    ]
    yield Figure(
        part=PART,
        name="640x480, the loop in a process that gives back what it frees",
        unit="of the bare loop",
        values=[one["cpu_s"] / one["floor_s"] for one in rounds],
        rounds=rounds,
    )
