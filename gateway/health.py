"""Whether the service can take and do work, and what it looks like from here."""

import time

from gateway.jobs import Outlook
from gateway.schemas import QueueFigures, Serving, StatusView, WorkerView
from gateway.waiting import Waiters
from shared.errors import BrokerUnavailable, NoWorkers
from shared.jobs import JobState
from shared.manifest import Manifest
from shared.store import JobStore, Overview


class Health:
    """Reads the store; every method raises `BrokerUnavailable` when it does not answer."""

    def __init__(self, store: JobStore, waiters: Waiters, *, serving: Manifest, throwaway: bool) -> None:
        self._store = store
        self._waiters = waiters
        self._serving = serving
        self._throwaway = throwaway
        self._started = time.monotonic()

    async def check(self) -> None:
        """Return if jobs can be accepted, kept and worked on.

        Raises: BrokerUnavailable with a sentence for each reason to distrust the store, NoWorkers.
        """
        faults = [] if self._throwaway else await self._store.faults()
        if faults:
            raise BrokerUnavailable(" ".join(faults))
        if not self._able(await self._store.overview()):
            raise NoWorkers("No worker with the serving model was heard from in the last 10 seconds.")

    def _able(self, overview: Overview) -> bool:
        serving = (self._serving.name, self._serving.version)
        return any((seen.report.model, seen.report.model_version) == serving for seen in overview.workers)

    async def status(self) -> StatusView:
        """The service at a glance."""
        overview = await self._store.overview()
        depth = overview.jobs.get(JobState.QUEUED, 0)
        return StatusView(
            uptime_s=round(time.monotonic() - self._started, 3),
            serving=Serving(model=self._serving.name, model_version=self._serving.version),
            jobs={state: overview.jobs.get(state, 0) for state in JobState},
            queue=QueueFigures(
                depth=depth,
                oldest_age_s=overview.oldest_age_s,
                estimated_wait_ms=Outlook.of(overview).wait_ms(depth),
            ),
            waiters=len(self._waiters),
            workers=[
                WorkerView(
                    id=seen.report.id,
                    state=seen.report.state,
                    model=seen.report.model,
                    model_version=seen.report.model_version,
                    rss_bytes=seen.report.rss_bytes,
                    jobs_done=seen.report.jobs_done,
                    last_heard_s=round(seen.age_s, 3),
                )
                for seen in overview.workers
            ],
        )
