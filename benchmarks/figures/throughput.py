"""How much of the machine becomes work: requests per second times the bare loop's seconds, over the cores."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from benchmarks import stack
from benchmarks.bench import Bench
from benchmarks.cost import CORES, cost
from benchmarks.results import Figure, Goal
from benchmarks.rounds import Spread, between_floors

PART: Final = "throughput"

CONNECTIONS: Final = (16, 32, 64, 128, 256)

_PICTURES: Final = "640x480"
_REQUESTS: Final = 512
_USUAL: Final = 32
"""Up to so many connections the goal is a share of the machine; beyond, that it does not fall."""


def measure(bench: Bench) -> Iterator[Figure]:
    """The share of the machine at each number of connections, and the least of them against the best.

    Raises: WrongAnswer, which any error is; Replaced.
    """
    with stack.running(workers=CORES) as system:
        expected = bench.expected(system.predict, _PICTURES, exact=False)
        send = partial(bench.load, system.predict, _PICTURES, expected)
        send(16, requests=bench.effort.of(50))
        asked = [
            partial(cost, system.processes, partial(send, many, requests=max(bench.effort.of(_REQUESTS), many)))
            for many in CONNECTIONS
        ]
        measured = list(between_floors(partial(bench.floor, _PICTURES), asked, bench.effort.rounds))
    shares = []
    for many, column in zip(CONNECTIONS, zip(*measured, strict=True), strict=True):
        rounds = [{"floor_s": floor, **one} for one, floor in column]
        values = [one["rate"] * one["floor_s"] / CORES for one in rounds]
        shares.append(Spread.of(values).median)
        yield Figure(
            part=PART,
            name=f"{many} connections",
            unit="of the cores",
            values=values,
            rounds=rounds,
            goal=Goal(bound="at least", limit=0.8) if many <= _USUAL else None,
        )
    yield Figure(
        part=PART,
        name=f"least median against the best, {CONNECTIONS[0]} to {CONNECTIONS[-1]} connections",
        unit="of the best",
        values=[min(shares) / max(shares)],
        goal=Goal(bound="at least", limit=0.9),
    )
