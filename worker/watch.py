"""When a worker process must end so that another can take its place: stuck, deaf, or told to stop and not done."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from shared.errors import TransientError
from shared.store import WorkStore
from worker.drain import Progress

DEAF_S: Final = 10.0
"""Bells that hang for so long beside an idle worker will not be heard by it any more."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Most seconds that one job may take, and that the job at hand gets once the worker is `stopping`."""

    job_s: float
    drain_s: float
    stopping: Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exits:
    """`end` ends this process; `replace` also the one that hears bells for it, so that all start anew."""

    end: Callable[[], None]
    replace: Callable[[], None]


class Watch:
    """Looks after its own process; to be called with every sign of life."""

    def __init__(self, progress: Progress, *, store: WorkStore, bounds: Bounds, exits: Exits) -> None:
        self._progress = progress
        self._store = store
        self._bounds = bounds
        self._exits = exits
        self._unheard_since: float | None = None
        self._stopping_since: float | None = None

    def look(self, *, unheard: bool, now: float) -> None:
        """See whether the process can go on.

        `unheard`: jobs wait, and a bell hangs that nobody has heard; `now`: by `time.monotonic`.
        """
        self._look_for_a_stuck_job(now)
        self._look_for_the_end(now)
        self._look_for_deafness(now, unheard=unheard)

    def _look_for_a_stuck_job(self, now: float) -> None:
        since, claim = self._progress.since, self._progress.claim
        if since is not None and claim is not None and now - since > self._bounds.job_s:
            # Its lease ends by itself, and the attempt counts.
            log.error("job_stuck", job_id=claim.spec.id, attempt=claim.attempt, seconds=round(now - since, 1))
            self._exits.end()

    def _look_for_the_end(self, now: float) -> None:
        if not self._bounds.stopping():
            return
        if self._stopping_since is None:
            self._stopping_since = now
        claim = self._progress.claim
        if claim is not None and now - self._stopping_since >= self._bounds.drain_s:
            log.warning("job_given_back", job_id=claim.spec.id, attempt=claim.attempt)
            try:
                self._store.give_back(claim)
            except TransientError as error:
                log.warning("give_back_failed", error=error.code)
            self._exits.end()

    def _look_for_deafness(self, now: float, *, unheard: bool) -> None:
        if not unheard or self._progress.busy or self._bounds.stopping():
            self._unheard_since = None
        elif self._unheard_since is None:
            self._unheard_since = now
        elif now - self._unheard_since >= DEAF_S:
            log.error("worker_deaf", seconds=round(now - self._unheard_since, 1))
            self._exits.replace()
