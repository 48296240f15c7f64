"""What may be done with jobs, and how: submit, wait, look, cancel, try again, delete, list."""

import asyncio
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from gateway.bodies import Submission
from gateway.idempotency import Idempotency
from gateway.listing import Listing, before
from gateway.schemas import JobOptions, ListQuery
from gateway.waiting import Patience, Waiter, Waiters, leaving, soon
from shared.clock import epoch_us
from shared.errors import (
    BrokerUnavailable,
    JobAlreadyFinished,
    JobExpired,
    JobNotFound,
    ModelNotFound,
)
from shared.jobs import Job, JobSpec, JobState, Priority, new_job_id
from shared.manifest import Manifest
from shared.predictions import Prediction, select
from shared.store import JobStore, Overview

ANONYMOUS: Final = "anonymous"
"""Who every caller is while no job belongs to a key."""

RETRYABLE: Final = frozenset({JobState.FAILED, JobState.CANCELED, JobState.EXPIRED})
"""From where a job may be tried again."""

Labels = Mapping[tuple[str, str], tuple[str, ...]]

_JOB_ID: Final = re.compile(r"job_[0-9a-f]{32}")
_FRESH_S: Final = 1.0
_HICCUP_S: Final = 0.1
_SOON_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """How fast the queue moves: live workers, and the mean milliseconds a job keeps one busy, None before any did.

    `depth` is how many jobs wait.
    """

    workers: int
    work_ms: float | None
    depth: int

    @classmethod
    def of(cls, overview: Overview) -> "Outlook":
        """What an overview promises."""
        figures = [seen.report.work_ms for seen in overview.workers if seen.report.work_ms is not None]
        return cls(
            workers=len(overview.workers),
            work_ms=sum(figures) / len(figures) if figures else None,
            depth=overview.jobs.get(JobState.QUEUED, 0),
        )

    def wait_ms(self, jobs: int) -> int | None:
        """Milliseconds until the `jobs` next jobs are done; None without workers or figures."""
        if not self.workers:
            return None
        if jobs == 0:
            return 0
        if self.work_ms is None:
            return None
        return round(jobs * self.work_ms / self.workers)


class Jobs:
    """The rules. Every method raises `BrokerUnavailable` when the store does not answer."""

    def __init__(
        self, store: JobStore, waiters: Waiters, *, labels: Labels, serving: Manifest, retry_keep_s: int = 3600
    ) -> None:
        self._store = store
        self._waiters = waiters
        self._labels = labels
        self._serving = serving
        self._retry_keep_ms = retry_keep_s * 1000
        self._outlook: Outlook | None = None
        self._outlook_until = 0.0
        self._asking = asyncio.Lock()

    async def submit(self, picture: Submission, idempotency: Idempotency) -> Job:
        """Queue a picture, or find the job that came with the same key.

        Raises: ModelNotFound, StorageFull, IdempotencyKeyReused, JobExpired.
        """
        return await self._queued(self._spec(picture.options), picture, idempotency)

    async def classify(self, picture: Submission, idempotency: Idempotency, patience: Patience) -> Job:
        """The same, and wait for the job's end. The job as it then stands; a caller that leaves cancels nothing.

        Raises: ModelNotFound, StorageFull, IdempotencyKeyReused, JobExpired.
        """
        spec = self._spec(picture.options)
        with self._waiters.register(spec.id) as waiter:
            job = await self._queued(spec, picture, idempotency)
            if job.id == spec.id:
                return await self._settled(job, waiter, patience)
        return await self.get(job.id, patience)

    async def get(self, job_id: str, patience: Patience) -> Job:
        """A job, after waiting for its end.

        Raises: JobNotFound, JobExpired.
        """
        job_id = checked_id(job_id)
        with self._waiters.register(job_id) as waiter:
            return await self._settled(await self._store.get(job_id, ANONYMOUS), waiter, patience)

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job that waits, ask it of one that runs. The job afterwards; a repeat gives the same.

        Raises: JobNotFound, JobExpired, JobAlreadyFinished.
        """
        job = await self._store.cancel(checked_id(job_id), ANONYMOUS)
        if job.done and job.state is not JobState.CANCELED:
            raise JobAlreadyFinished("The job has ended; there is nothing left to cancel.")
        return job

    async def retry(self, job_id: str) -> Job:
        """A new job for the picture of one that failed, was canceled or expired; asked again it gives the same.

        Raises: JobNotFound, JobExpired, JobRunning, InputGone, ModelNotFound, StorageFull.
        """
        return await self.again(await self._store.get(checked_id(job_id), ANONYMOUS))

    async def again(self, job: Job, *, pause_ms: int = 0) -> Job:
        """The same for a job at hand, whoever owns it; the new one joins the queue after a pause.

        Raises: JobNotFound, JobExpired, JobRunning, InputGone, ModelNotFound, StorageFull.
        """
        spec = job.spec
        if job.state in RETRYABLE and job.retried_as is None and (spec.model, spec.model_version) not in self._labels:
            raise ModelNotFound("The model's version that this job was for is gone.")
        new = replace(spec, id=new_job_id(), retry_of=job.id, retry_keep_ms=self._retry_keep_ms)
        return await self._store.retry(job.id, spec.owner, new, pause_ms)

    async def delete(self, job_id: str) -> None:
        """Erase a job and its picture.

        Raises: JobNotFound, JobExpired, JobRunning.
        """
        await self._store.delete(checked_id(job_id), ANONYMOUS)

    async def page(self, query: ListQuery) -> Listing:
        """A page of the caller's jobs, newest first.

        Raises: InvalidRequest for a cursor that is none of ours.
        """
        page = await self._store.page(
            ANONYMOUS,
            state=query.status,
            model=query.model,
            limit=query.limit,
            before=before(query.cursor),
        )
        return Listing.of(page)

    def predictions(
        self,
        job: Job,
        *,
        threshold: float | None = None,
        top_k: int | None = None,
    ) -> list[Prediction]:
        """What a succeeded job found, seen through its own threshold and number or through others.

        Raises: ModelNotFound if the model's labels are no longer known.
        """
        assert job.answer is not None
        labels = self._labels.get((job.spec.model, job.spec.model_version))
        if labels is None:
            raise ModelNotFound("The labels of this job's model are no longer known.")
        return select(
            labels,
            job.answer.scores,
            threshold=job.spec.confidence_threshold if threshold is None else threshold,
            top_k=job.spec.top_k if top_k is None else top_k,
        )

    async def outlook(self) -> Outlook | None:
        """How fast the queue moves, at most a second old; None if the store does not say."""
        async with self._asking:
            if self._outlook_until < time.monotonic():
                try:
                    self._outlook = Outlook.of(await self._store.overview())
                except BrokerUnavailable:
                    self._outlook = None
                # Silence is remembered too: else every caller in turn would wait for the same timeout.
                self._outlook_until = time.monotonic() + _FRESH_S
            return self._outlook

    async def _queued(self, spec: JobSpec, picture: Submission, idempotency: Idempotency) -> Job:
        once = idempotency.once(picture.image, picture.options)
        try:
            job = await self._store.enqueue(spec, picture.image, once)
        except JobExpired:
            idempotency.replayed()
            raise
        finally:
            picture.release()
        if job.id != spec.id:
            idempotency.replayed()
        return job

    def _spec(self, options: JobOptions) -> JobSpec:
        model = self._serving.name if options.model is None else options.model
        version = self._serving.version if options.version is None else options.version
        if (model, version) not in self._labels:
            raise ModelNotFound("There is no such model or version.")
        return JobSpec(
            id=new_job_id(),
            owner=ANONYMOUS,
            model=model,
            model_version=version,
            confidence_threshold=options.confidence_threshold,
            top_k=options.top_k,
            priority=Priority(options.priority),
            queue_ttl_ms=options.queue_ttl_s * 1000,
            result_ttl_ms=options.result_ttl_s * 1000,
            retry_keep_ms=self._retry_keep_ms,
            metadata=options.metadata,
        )

    async def _settled(self, job: Job, waiter: Waiter, patience: Patience) -> Job:
        if job.done or patience.seconds <= 0:
            return job
        deadline = asyncio.get_running_loop().time() + patience.seconds
        if await soon(waiter, min(patience.seconds, _SOON_S)) and (ended := _ended(job, waiter)) is not None:
            return ended
        return await self._settled_late(job, waiter, deadline, patience)

    async def _settled_late(self, job: Job, waiter: Waiter, deadline: float, patience: Patience) -> Job:
        loop = asyncio.get_running_loop()
        # Who waits for longer may leave meanwhile.
        with leaving(patience.receive) as left:
            while not self._waiters.dismissed:
                rest = max(0.0, deadline - loop.time())
                either: set[asyncio.Future[Any]] = {waiter, left}
                await asyncio.wait(either, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
                if left.done():
                    break
                if waiter.done() and (ended := _ended(job, waiter)) is not None:
                    return ended
                # The wait outlasts a hiccup of the store: it ends with the job, or with its time.
                with suppress(BrokerUnavailable):
                    job = await self._store.get(job.id, job.spec.owner)
                if job.done or loop.time() >= deadline:
                    break
                if waiter.done():
                    await asyncio.wait({left}, timeout=min(_HICCUP_S, rest))
        return job


def _ended(job: Job, waiter: Waiter) -> Job | None:
    success = waiter.result().success
    # News can be old, if we were held up. Then the record may be gone: whether it is, its own clock says.
    return None if success is None or success.expires_us <= epoch_us() else success.of(job)


def checked_id(job_id: str) -> str:
    """The id.

    Raises: JobNotFound for what cannot be one.
    """
    if not _JOB_ID.fullmatch(job_id):
        raise JobNotFound("There is no such job.")
    return job_id
