"""The usual shape of a scenario: the product under a steady load, something done to it, a verdict."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from tests.faults.load import Load, Pictures, mixed
from tests.faults.scenario import Run
from tests.faults.stack import Stack
from tests.faults.verdict import Codes, Verdict, judge
from tests.faults.watching import Watch, note_leftovers
from tests.support.waiting import until

DEEDS: Final = "deeds.jsonl"
"""A line for each thing that was done to the product: `at_s`, `deed` and more."""

_ORPHAN_S: Final = 15.0
_SETTLE_S: Final = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A running stack, what loads it and what watches it."""

    run: Run
    stack: Stack
    load: Load
    watch: Watch

    def note(self, deed: str, **more: object) -> None:
        """Write down what is done to the product, and when: for whoever wonders afterwards."""
        with (self.run.folder / DEEDS).open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps({'at_s': time.time(), 'deed': deed, **more})}\n")

    def calm(self, *, most: int = 30, seconds: float = 90) -> None:
        """Wait until nearly all is done that came, so that one fault does not add to another's.

        Raises: TimeoutError after so many seconds.
        """
        until(lambda: self.load.waiting <= most, seconds=seconds, what=f"{most} jobs at most to wait")

    def verdict(self, *, seconds: float = 90, codes: Codes | None = None) -> Verdict:
        """Let all jobs end, for so long at most, and judge them, and whether a process was left to itself for good."""
        self.load.finish(seconds)
        # A look for what nobody holds comes once a second, and may find something yet.
        with suppress(TimeoutError):
            until(lambda: not self._held(), seconds=_SETTLE_S)
        note_leftovers(self.run.folder, self.stack.redis)
        verdict = judge(self.run.folder, codes=codes)
        try:
            until(lambda: not self.stack.orphans(), seconds=_ORPHAN_S)
        except TimeoutError:
            verdict.problems.append(f"{len(self.stack.orphans())} processes outlive the program that started them")
        return verdict

    def _held(self) -> bool:
        return bool(note_leftovers(self.run.folder, self.stack.redis))


@contextmanager
def a_trial(
    run: Run,
    *,
    rate: float,
    count: int,
    seconds: float = 3600,
    pictures: Pictures = mixed,
    options: Mapping[str, Any] | None = None,
    **stack: Any,
) -> Iterator[Trial]:
    """A stack (`stack`: see `Stack`) that is ready and under load; all ends with the block."""
    with (
        Stack(run.folder, **stack) as running,
        Watch(run.folder, running.redis) as watch,
        Load(
            run.folder,
            running.urls,
            rate=rate,
            count=count,
            seconds=seconds,
            seed=run.seed,
            pictures=pictures,
            options=options,
        ) as load,
    ):
        yield Trial(run=run, stack=running, load=load, watch=watch)
