"""What was measured: one file of JSON, with every round's figures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Literal

from benchmarks.rounds import Spread
from benchmarks.surroundings import ROOT

LATEST: Final = ROOT / "benchmarks" / "results" / "latest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a figure's median is to be: at most, or at least, so much."""

    bound: Literal["at most", "at least"]
    limit: float

    def met(self, median: float) -> bool:
        """Whether it is."""
        return median <= self.limit if self.bound == "at most" else median >= self.limit

    def __str__(self) -> str:
        return f"{'≤' if self.bound == 'at most' else '≥'} {self.limit:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing that was measured, in every round. `rounds` holds what it was made of."""

    part: str
    """Which part of the benchmark it belongs to."""
    name: str
    unit: str
    values: Sequence[float]
    """One for each round."""
    rounds: Sequence[Mapping[str, float]] = field(default_factory=list)
    goal: Goal | None = None

    @property
    def spread(self) -> Spread:
        """Of its values."""
        return Spread.of(self.values)

    @property
    def met(self) -> bool | None:
        """Whether its median reaches the goal; None without one."""
        return None if self.goal is None else self.goal.met(self.spread.median)

    def middle(self, name: str) -> float:
        """The median of what `rounds` call by that name."""
        return Spread.of([one[name] for one in self.rounds]).median


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything of one run."""

    surroundings: Mapping[str, str]
    seconds: float
    figures: Sequence[Figure]


def save(results: Results, path: Path) -> None:
    """Write the file."""
    document = asdict(results)
    document["figures"] = [
        {**entry, **asdict(figure.spread)} for entry, figure in zip(document["figures"], results.figures, strict=True)
    ]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(_rounded(document), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load(path: Path) -> Results:
    """Read it again."""
    document = json.loads(path.read_text(encoding="utf-8"))
    figures = []
    for entry in document.pop("figures"):
        for derived in ("median", "least", "most"):
            del entry[derived]
        goal = entry.pop("goal")
        figures.append(Figure(**entry, goal=None if goal is None else Goal(**goal)))
    return Results(**document, figures=figures)


def _rounded(value: object) -> object:
    # Five significant digits say more than any of these figures is good for, and keep the file readable.
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(inner) for inner in value]
    return value
