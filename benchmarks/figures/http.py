"""What a request costs: processor time of all the system's processes, Redis included, against the bare loop's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks import stack
from benchmarks.bench import Bench
from benchmarks.cost import cost
from benchmarks.results import Figure, Goal
from benchmarks.rounds import between_floors
from benchmarks.stack import Stack

PART: Final = "http"
UNIT: Final = "of the bare loop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way of asking."""

    pictures: str = "640x480"
    connections: int = 16
    mode: str = "fast"
    append_only: bool = True
    limit: float | None = None

    @property
    def name(self) -> str:
        """As the reader sees it."""
        many = f"{self.connections} connection{'s' if self.connections > 1 else ''}"
        return f"{self.pictures}, {many}, {self.mode}{'' if self.append_only else ', append-only file off'}"


CASES: Final = (
    Case(limit=1.05),
    Case(connections=1, limit=1.25),
    Case(pictures="224x224", limit=1.3),
    Case(pictures="1920x1080", limit=0.65),
    Case(pictures="1920x1080-png", limit=0.9),
    Case(pictures="4000x3000", limit=0.35),
    Case(mode="exact", limit=1.10),
    Case(append_only=False),
)


def measure(bench: Bench, cases: Sequence[Case] = CASES) -> Iterator[Figure]:
    """A figure for each case; cases that can share a running system do.

    Raises: WrongAnswer, Replaced.
    """
    for mode, append_only in dict.fromkeys((case.mode, case.append_only) for case in cases):
        with stack.running(mode=mode, append_only=append_only) as system:
            for case in cases:
                if (case.mode, case.append_only) == (mode, append_only):
                    yield _figure(bench, system, case)


def _figure(bench: Bench, system: Stack, case: Case) -> Figure:
    expected = bench.expected(system.predict, case.pictures, exact=case.mode == "exact")
    send = partial(bench.load, system.predict, case.pictures, expected, case.connections)
    send(requests=bench.effort.of(50))
    once = partial(cost, system.processes, send)
    floor = partial(bench.floor, case.pictures)
    rounds = [{"floor_s": base, **one} for ((one, base),) in between_floors(floor, [once], bench.effort.rounds)]
    return Figure(
        part=PART,
        name=case.name,
        unit=UNIT,
        values=[one["cpu_s"] / one["floor_s"] for one in rounds],
        rounds=rounds,
        goal=None if case.limit is None else Goal(bound="at most", limit=case.limit),
    )
