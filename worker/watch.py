"""When a worker process must end so that another can take its place: stuck, deaf, or told to stop and not done."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from shared.errors import TransientError
from shared.store import WorkStore
from worker.drain import Progress

DEAF_S: Final = 10.0
"""Bells that hang for so long beside an idle worker will not be heard by it any more,"""

DEAF_LOOKS: Final = 5
"""if it was looked at so often meanwhile,"""

GAP_S: Final = 12.0
"""and never after so long a gap: then it was this process that was held up."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Most seconds that one job may take, and that the job at hand gets once the worker is told to stop."""

    job_s: float
    drain_s: float
    stopping_since: Callable[[], float | None]


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
        self._unheard: list[float] = []
        self._drains = 0

    def look(self, *, unheard: bool, now: float) -> None:
        """See whether the process can go on.

        `unheard`: jobs wait, and a bell hangs that nobody has heard; `now`: by `time.monotonic`.
        """
        self._look_for_a_stuck_job(now)
        self._look_for_the_end(now)
        self._look_for_deafness(now, unheard=unheard)

    def _look_for_a_stuck_job(self, now: float) -> None:
        progress = self._progress
        since, claim = progress.since, progress.claim
        if since is None or claim is None or now - since <= self._bounds.job_s:
            return
        # Unless the job has ended just between the two readings.
        if progress.since == since and progress.claim is claim:
            # Its lease ends by itself, and the attempt counts.
            log.error("job_stuck", job_id=claim.spec.id, attempt=claim.attempt, seconds=round(now - since, 1))
            self._exits.end()

    def _look_for_the_end(self, now: float) -> None:
        since, claim = self._bounds.stopping_since(), self._progress.claim
        if since is None or not self._progress.busy or now - since < self._bounds.drain_s:
            return
        if claim is not None:
            log.warning("job_given_back", job_id=claim.spec.id, attempt=claim.attempt)
            try:
                self._store.give_back(claim)
            except TransientError as error:
                log.warning("give_back_failed", error=error.code)
        # Without one it may still be asking for the next, of a store that is away.
        self._exits.end()

    def _look_for_deafness(self, now: float, *, unheard: bool) -> None:
        progress = self._progress
        hears = not unheard or progress.busy or progress.drains != self._drains
        self._drains = progress.drains
        if hears or self._bounds.stopping_since() is not None:
            self._unheard = []
            return
        if self._unheard and now - self._unheard[-1] > GAP_S:
            self._unheard = []
        self._unheard.append(now)
        if len(self._unheard) > DEAF_LOOKS and now - self._unheard[0] >= DEAF_S:
            log.error("worker_deaf", seconds=round(now - self._unheard[0], 1))
            self._exits.replace()
