"""From base64 to the tensor: the service's two modes against the plain formula, and what fast mode changes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Final, get_args

from benchmarks import pictures
from benchmarks.apart import Apart
from benchmarks.bench import Bench
from benchmarks.cost import CORES
from benchmarks.pictures import KINDS
from benchmarks.results import Figure, Goal
from worker.preprocessing import Mode

PART: Final = "preprocess"

_MODES: Final = get_args(Mode)
_TIMES: Final = {"224x224": 20, "640x480": 6, "1920x1080": 2}
_LIMITS: Final = {
    ("224x224", "exact"): 0.55,
    ("640x480", "exact"): 0.93,
    ("1920x1080", "fast"): 0.6,
    ("4000x3000", "fast"): 0.30,
}
_CROPS: Final = 1008
_PROGRAM: Final = "benchmarks.preprocessor"


def measure(bench: Bench) -> Iterator[Figure]:
    """Processor time for each size and mode, and how many labels fast mode changes.

    Raises: Failed.
    """
    with Apart(_PROGRAM) as preprocessor:
        for kind in KINDS.values():
            images = [str(path) for path in bench.images(kind)]
            for mode in _MODES:
                order = {"images": images, "mode": mode, "times": bench.effort.of(_TIMES.get(kind.name, 1))}
                rounds = [preprocessor(order) for _ in range(bench.effort.rounds)]
                limit = _LIMITS.get((kind.name, mode))
                yield Figure(
                    part=PART,
                    name=f"{kind.name}, {mode}",
                    unit="of the plain formula",
                    values=[one["mode_s"] / one["plain_s"] for one in rounds],
                    rounds=rounds,
                    goal=None if limit is None else Goal(bound="at most", limit=limit),
                )
    yield _flips(bench)


def _flips(bench: Bench) -> Figure:
    count = len(pictures.photographs())
    orders = [{"photograph": number, "crops": bench.effort.of(-(-_CROPS // count))} for number in range(count)]
    with ExitStack() as opened:
        programs = [opened.enter_context(Apart(_PROGRAM)) for _ in range(CORES)]

        def all_of(number: int) -> list[dict[str, Any]]:
            return [programs[number](order) for order in orders[number::CORES]]

        with ThreadPoolExecutor(CORES) as threads:
            counted = [one for several in threads.map(all_of, range(CORES)) for one in several]
    return Figure(
        part=PART,
        name="labels that fast mode changes, where exact mode's leads by more than 0.05",
        unit="labels",
        values=[sum(one["flips"] for one in counted)],
        rounds=counted,
        goal=Goal(bound="at most", limit=0),
    )
