"""Rounds: the floor, a system, the floor again, …; and what is made of their figures."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

T = TypeVar("T")


def between_floors(
    floor: Callable[[], float], systems: Sequence[Callable[[], T]], rounds: int
) -> Iterator[list[tuple[T, float]]]:
    """Each round: what each of the systems gave, with the mean of the floors just before and just after it.

    A machine that others use changes its pace within seconds: a floor that is older says nothing.
    """
    before = floor()
    for _ in range(rounds):
        measured = []
        for system in systems:
            gave = system()
            after = floor()
            measured.append((gave, (before + after) / 2))
            before = after
        yield measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The middle of some figures, and how far they reach."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Self:
        """Their spread; there must be one at least."""
        return cls(median=statistics.median(figures), least=min(figures), most=max(figures))
