"""What a worker does when the bell rings: one job after the other, until none waits or its budget is used."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import structlog

from shared.errors import TransientError
from shared.jobs import Claim, Outcome
from shared.store import WorkStore

T = TypeVar("T")

log = structlog.get_logger()

_WEIGHT: Final = 0.1
_PAUSE_S: Final = 0.2
_SHORTEST_S: Final = 0.001
"""Redis before 7 takes a shorter time to block for none at all, which means for ever."""


@dataclass(slots=True)
class Progress:
    """What a worker has done so far; its presence reports it."""

    busy: bool = False
    jobs_done: int = 0
    work_ms: float | None = None
    claim: Claim | None = None
    """The job at hand."""
    since: float | None = None
    """When work on it began, by `time.monotonic`; None while nothing is being classified."""
    drains: int = 0
    """How many bells were heard."""

    def done(self, work_ms: float) -> None:
        """Count a job that kept the worker busy for `work_ms`."""
        self.jobs_done += 1
        self.work_ms = work_ms if self.work_ms is None else self.work_ms + _WEIGHT * (work_ms - self.work_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Most jobs and most seconds of one drain, and how long it stays when nothing waits, in seconds.

    `patience_s`: how long it holds on to what it has while the store is away. `stopping`: whether the job at hand is to
    be the last.
    """

    jobs: int
    seconds: float
    linger_s: float
    patience_s: float = 600.0
    stopping: Callable[[], bool] = lambda: False


class Drain:
    """Empties the queue. Safe against bells that ring for nothing."""

    def __init__(
        self,
        worker: str,
        *,
        store: WorkStore,
        classify: Callable[[Claim], Outcome],
        budget: Budget,
        ended: Callable[[Claim, Outcome, bool], None],
    ) -> None:
        self._worker = worker
        self._store = store
        self._classify = classify
        self._budget = budget
        self._ended = ended
        self.progress = Progress()

    def __call__(self) -> int:
        """Work until the queue is empty, the budget is used or the worker stops; then the store rings for what remains.

        A store that goes away does not end it: an answer in hand, or a claim whose reply was lost, would be lost too.

        Returns: how many jobs it worked on.
        Raises: BrokerUnavailable when the store is away for longer than `patience_s`.
        """
        self.progress.busy = True
        self.progress.drains += 1
        try:
            return self._run()
        finally:
            self.progress.busy = False
            self.progress.claim = self.progress.since = None

    def _run(self) -> int:
        worked = 0
        end = time.monotonic() + self._budget.seconds
        claim = self._claim()
        while True:
            if claim is None:
                left = end - time.monotonic()
                if left <= 0 or self._budget.stopping() or not self._linger(left):
                    return worked
                claim = self._claim()
                continue
            self.progress.claim = claim
            started = time.perf_counter()
            self.progress.since = time.monotonic()
            outcome = self._classify(claim)
            self.progress.since = None
            worked += 1
            more = worked < self._budget.jobs and time.monotonic() < end and not self._budget.stopping()
            finish = partial(self._store.finish, self._worker, claim, outcome, then_claim=more)
            counted, following = self._insist(finish)
            self.progress.claim = following
            self.progress.done((time.perf_counter() - started) * 1000)
            self._ended(claim, outcome, counted)
            if not more:
                return worked
            claim = following

    def _claim(self) -> Claim | None:
        return self._insist(partial(self._store.claim, self._worker))

    def _linger(self, left: float) -> bool:
        seconds = min(left, self._budget.linger_s)
        try:
            return seconds >= _SHORTEST_S and self._store.linger(seconds)
        except TransientError:
            # A bell may have been taken, and its sound lost on the line.
            return True

    def _insist(self, call: Callable[[], T]) -> T:
        end = time.monotonic() + self._budget.patience_s
        while True:
            try:
                return call()
            except TransientError as error:
                if time.monotonic() > end:
                    raise
                log.warning("store away", error=error.code)
                time.sleep(_PAUSE_S)
