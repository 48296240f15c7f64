"""What a scenario is given, what it hands back, and where all of them stand."""

import importlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

Figure: TypeAlias = int | float | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of one scenario: its dice, its length, and a folder of its own for all that it writes."""

    seed: int
    short: bool
    folder: Path

    def dice(self) -> random.Random:
        """The same dice for the same seed."""
        return random.Random(self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Figures to print, and one sentence for each promise that was broken; without problems the scenario passed.

    `late` are those of the problems that say nothing but that something took too long.
    """

    figures: Mapping[str, Figure]
    problems: tuple[str, ...] = ()
    late: tuple[str, ...] = ()


Body: TypeAlias = Callable[[Run], Report]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A fault, put to the product by `body`. `name` is F and a number."""

    name: str
    title: str
    body: Body


SCENARIOS: Final[dict[str, Scenario]] = {}
"""By name; filled by `load_all`."""


def scenario(name: str, title: str) -> Callable[[Body], Body]:
    """Enter a function into `SCENARIOS`."""

    def enter(body: Body) -> Body:
        assert name not in SCENARIOS or SCENARIOS[name].body.__module__ == body.__module__, f"two scenarios {name}"
        SCENARIOS[name] = Scenario(name=name, title=title, body=body)
        return body

    return enter


def load_all() -> dict[str, Scenario]:
    """Every scenario there is, in order: those of each file whose name starts with `scenarios_`."""
    for path in sorted(Path(__file__).parent.glob("scenarios_*.py")):
        importlib.import_module(f"tests.faults.{path.stem}")
    return dict(sorted(SCENARIOS.items(), key=lambda item: int(item[0][1:])))
