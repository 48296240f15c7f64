"""What a job costs with more workers, against one worker: nobody should pay for the others."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Final

from benchmarks import stack
from benchmarks.bench import Bench
from benchmarks.cost import cost
from benchmarks.results import Figure, Goal
from benchmarks.rounds import between_floors

PART: Final = "scaling"

WORKERS: Final = (1, 2, 4)

_PICTURES: Final = "640x480"
_CONNECTIONS: Final = 16


def measure(bench: Bench) -> Iterator[Figure]:
    """The processor time of a job with several workers against that with one.

    Raises: WrongAnswer, Replaced.
    """
    with ExitStack() as opened:
        asked = []
        for workers in WORKERS:
            system = opened.enter_context(stack.running(workers=workers))
            expected = bench.expected(system.predict, _PICTURES, exact=False)
            send = partial(bench.load, system.predict, _PICTURES, expected, _CONNECTIONS)
            send(requests=bench.effort.of(50))
            asked.append(partial(cost, system.processes, send))
        measured = list(between_floors(partial(bench.floor, _PICTURES), asked, bench.effort.rounds))
    columns = [[{"floor_s": floor, **one} for one, floor in column] for column in zip(*measured, strict=True)]
    alone = [one["cpu_s"] / one["floor_s"] for one in columns[0]]
    for workers, rounds in list(zip(WORKERS, columns, strict=True))[1:]:
        yield Figure(
            part=PART,
            name=f"a job with {workers} workers against with 1",
            unit="of one worker",
            values=[one["cpu_s"] / one["floor_s"] / base for one, base in zip(rounds, alone, strict=True)],
            rounds=rounds,
            goal=Goal(bound="at most", limit=1.05),
        )
