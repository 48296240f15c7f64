"""The store's twin in memory: the same promises as Redis, in plain Python, for tests and for reading."""

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

from shared.clock import epoch_us
from shared.errors import IdempotencyKeyReused, InputGone, JobExpired, JobNotFound, JobRunning
from shared.jobs import LEASE_MS, PLACES, Answer, Claim, Failure, Job, JobSpec, JobState, Outcome, Setback, pause_ms
from shared.store import (
    CRASHED,
    ONCE_S,
    TOMBSTONE_S,
    WORKER_TTL_S,
    Ending,
    Once,
    Overview,
    Page,
    Reaped,
    Success,
    WorkerReport,
    WorkerSighting,
)


@dataclass(slots=True)
class _Record:
    job: Job
    number: int
    place: float
    token: str | None = None
    lease_us: int = 0
    deadline_us: int = 0
    setbacks: int = 0
    set_back: str | None = None
    """The token of the attempt that was set back last."""
    dead: bool = False
    picture_until_us: int | None = None


@dataclass(slots=True)
class _Subscriber:
    loop: asyncio.AbstractEventLoop
    news: asyncio.Queue[Ending] = field(default_factory=asyncio.Queue)


class MemoryStore:
    """Both views of one store. Safe to use from several threads."""

    def __init__(self, now_us: Callable[[], int] = epoch_us) -> None:
        self._now_us = now_us
        self._lock = threading.RLock()
        self._records: dict[str, _Record] = {}
        self._pictures: dict[str, bytes] = {}
        self._tombs: dict[str, tuple[str, int]] = {}
        self._onces: dict[tuple[str, str], tuple[str, str, int]] = {}
        self._ended = dict.fromkeys((state for state in JobState if state.done), 0)
        self._workers: dict[str, tuple[WorkerReport, int]] = {}
        self._numbers = 0
        self._subscribers: list[_Subscriber] = []
        self._bell = threading.Event()

    # The gateway's view

    async def enqueue(self, spec: JobSpec, image: bytes, once: Once | None = None) -> Job:
        """See `JobStore.enqueue`."""
        with self._lock:
            now = self._now_us()
            if once is not None:
                first, fingerprint, until = self._onces.get((spec.owner, once.key), ("", "", 0))
                if now < until and first != spec.id:
                    return self._first(first, spec.owner, same=fingerprint == once.fingerprint)
            if spec.id not in self._records:
                if once is not None:
                    self._onces[spec.owner, once.key] = (spec.id, once.fingerprint, now + ONCE_S * 1_000_000)
                self._admit(spec, image, now)
            return self._seen(self._records[spec.id])

    async def get(self, job_id: str, owner: str) -> Job:
        """See `JobStore.get`."""
        with self._lock:
            return self._seen(self._owned(job_id, owner))

    async def ended(self, job_ids: Sequence[str]) -> set[str]:
        """See `JobStore.ended`."""
        with self._lock:
            self._bury()
            return {id_ for id_ in job_ids if id_ not in self._records or self._records[id_].job.done}

    async def endings(self) -> AsyncIterator[Ending]:
        """See `JobStore.endings`."""
        subscriber = _Subscriber(asyncio.get_running_loop())
        self._subscribers.append(subscriber)
        try:
            while True:
                yield await subscriber.news.get()
        finally:
            self._subscribers.remove(subscriber)

    async def cancel(self, job_id: str, owner: str) -> Job:
        """See `JobStore.cancel`."""
        with self._lock:
            record = self._owned(job_id, owner)
            if record.job.state is JobState.QUEUED:
                self._end(record, JobState.CANCELED)
            elif record.job.state is JobState.RUNNING:
                record.job = replace(record.job, cancel_requested=True)
            return self._seen(record)

    async def delete(self, job_id: str, owner: str) -> None:
        """See `JobStore.delete`."""
        with self._lock:
            record = self._owned(job_id, owner)
            if record.job.state is JobState.RUNNING:
                raise JobRunning("The job is running: cancel it, or wait for its end.")
            del self._records[job_id]
            self._pictures.pop(job_id, None)
            self._tombs.pop(job_id, None)
            self._tell(Ending(job_id=job_id))

    async def retry(self, job_id: str, owner: str, spec: JobSpec, pause_ms: int = 0) -> Job:
        """See `JobStore.retry`."""
        with self._lock:
            record = self._owned(job_id, owner)
            if record.job.state not in {JobState.FAILED, JobState.CANCELED, JobState.EXPIRED}:
                raise JobRunning("Only a job that failed, was canceled or expired can be tried again.")
            if record.job.retried_as in self._records:
                return self._seen(self._records[record.job.retried_as])
            if job_id not in self._pictures:
                raise InputGone("The job's picture was erased.")
            fresh = self._admit(spec, self._pictures.pop(job_id), self._now_us(), pause_ms)
            record.job = replace(record.job, retried_as=spec.id)
            record.dead = False
            return self._seen(fresh)

    async def dead_letter(self, job_id: str) -> Job:
        """See `JobStore.dead_letter`."""
        with self._lock:
            self._bury()
            record = self._records.get(job_id)
            if record is None or not record.dead:
                raise JobNotFound("There is no such dead letter.")
            return record.job

    async def dead_letters(self, *, limit: int = 50, before: int | None = None) -> Page:
        """See `JobStore.dead_letters`."""
        with self._lock:
            return self._page(lambda record: record.dead, limit, before)

    async def page(
        self,
        owner: str,
        *,
        state: JobState | None = None,
        model: str | None = None,
        limit: int = 50,
        before: int | None = None,
    ) -> Page:
        """See `JobStore.page`."""
        with self._lock:
            return self._page(
                lambda record: (
                    record.job.spec.owner == owner
                    and (state is None or record.job.state is state)
                    and (model is None or record.job.spec.model == model)
                ),
                limit,
                before,
            )

    async def overview(self) -> Overview:
        """See `JobStore.overview`."""
        with self._lock:
            now = self._now_us()
            states = [record.job.state for record in self._records.values()]
            created = [record.job.created_us for record in self._waiting()]
            return Overview(
                jobs={
                    JobState.QUEUED: states.count(JobState.QUEUED),
                    JobState.RUNNING: states.count(JobState.RUNNING),
                    **self._ended,
                },
                oldest_age_s=(now - min(created)) / 1e6 if created else None,
                workers=tuple(
                    WorkerSighting(report=report, age_s=(now - heard) / 1e6)
                    for report, heard in self._workers.values()
                    if now - heard < WORKER_TTL_S * 1_000_000
                ),
            )

    async def reap(self) -> Reaped:
        """See `JobStore.reap`."""
        return self.reap_now()

    async def faults(self) -> list[str]:
        """See `JobStore.faults`: there is nothing to distrust, and nothing that outlives the process."""
        return []

    # The worker's view

    def claim(self, worker: str) -> Claim | None:
        """See `WorkStore.claim`."""
        with self._lock:
            now = self._now_us()
            for record in self._line():
                if record.deadline_us <= now:
                    self._end(record, JobState.EXPIRED)
                    continue
                record.token = f"{worker}/{secrets.token_hex(8)}"
                record.lease_us = now + LEASE_MS * 1000
                record.job = replace(
                    record.job,
                    state=JobState.RUNNING,
                    attempt=record.job.attempt + 1,
                    started_us=now,
                )
                return Claim(
                    spec=record.job.spec,
                    token=record.token,
                    attempt=record.job.attempt,
                    image=self._pictures.get(record.job.id),
                    created_us=record.job.created_us,
                    fetch_ms=0.0,
                )
            self._bell.clear()
            return None

    def finish(
        self,
        worker: str,
        claim: Claim,
        outcome: Outcome,
        *,
        then_claim: bool,
    ) -> tuple[bool, Claim | None]:
        """See `WorkStore.finish`."""
        with self._lock:
            counted = self._settled(claim, outcome)
            return counted, self.claim(worker) if then_claim else None

    def give_back(self, claim: Claim) -> bool:
        """See `WorkStore.give_back`."""
        with self._lock:
            record = self._held(claim)
            if record is None:
                return False
            if record.job.cancel_requested:
                self._end(record, JobState.CANCELED)
            else:
                record.job = replace(record.job, attempt=record.job.attempt - 1)
                self._wait(record, self._now_us())
            return True

    def linger(self, seconds: float) -> bool:
        """See `WorkStore.linger`."""
        return self._bell.wait(seconds)

    def beat(self, report: WorkerReport, claim: Claim | None = None) -> bool:
        """See `WorkStore.beat`."""
        with self._lock:
            now = self._now_us()
            self._workers[report.id] = (report, now)
            record = None if claim is None else self._held(claim)
            if record is not None:
                record.lease_us = now + LEASE_MS * 1000
            unheard = bool(self._line()) and self._bell.is_set()
            self._ring()
            return unheard

    def reap_now(self) -> Reaped:
        """See `WorkStore.reap_now`."""
        with self._lock:
            now = self._now_us()
            running = [record for record in self._records.values() if record.job.state is JobState.RUNNING]
            lost = [record for record in running if record.lease_us <= now]
            canceled = [record for record in lost if record.job.cancel_requested]
            crashed = [
                record
                for record in lost
                if record not in canceled and record.job.attempt >= record.job.spec.max_attempts
            ]
            taken_back = [record for record in lost if record not in canceled and record not in crashed]
            for record in canceled:
                self._end(record, JobState.CANCELED)
            for record in crashed:
                record.token = None
                self._fail(record, CRASHED)
            for record in taken_back:
                self._wait(record, now)
            due = [record for record in self._waiting() if record.job.due_us is not None and record.job.due_us <= now]
            for record in due:
                record.job = replace(record.job, due_us=None)
            expired = [record for record in self._waiting() if record.deadline_us <= now]
            for record in expired:
                self._end(record, JobState.EXPIRED)
            self._ring()
            return Reaped(
                taken_back=len(taken_back),
                crashed=len(crashed),
                canceled=len(canceled),
                expired=len(expired),
                due=len(due),
            )

    def retire(self, worker: str) -> None:
        """See `WorkStore.retire`."""
        with self._lock:
            self._workers.pop(worker, None)

    # Both

    async def close(self) -> None:
        """Nothing to give back."""

    # Inside

    def _waiting(self) -> list[_Record]:
        return [record for record in self._records.values() if record.job.state is JobState.QUEUED]

    def _line(self) -> list[_Record]:
        ready = [record for record in self._waiting() if record.job.due_us is None]
        return sorted(ready, key=lambda record: record.place)

    def _ring(self) -> None:
        if self._line():
            self._bell.set()

    def _admit(self, spec: JobSpec, image: bytes, now: int, pause_ms: int = 0) -> _Record:
        self._numbers += 1
        record = self._records[spec.id] = _Record(
            job=Job(spec=spec, state=JobState.QUEUED, attempt=0, created_us=now),
            number=self._numbers,
            place=self._numbers + PLACES[spec.priority],
        )
        self._pictures[spec.id] = image
        self._wait(record, now, pause_ms)
        return record

    def _wait(self, record: _Record, now: int, pause_ms: int = 0) -> None:
        record.deadline_us = now + (pause_ms + record.job.spec.queue_ttl_ms) * 1000
        due = now + pause_ms * 1000 if pause_ms else None
        record.job = replace(record.job, state=JobState.QUEUED, started_us=None, due_us=due)
        self._ring()

    def _held(self, claim: Claim) -> _Record | None:
        record = self._records.get(claim.spec.id)
        held = record is not None and record.job.state is JobState.RUNNING and record.token == claim.token
        return record if held else None

    def _settled(self, claim: Claim, outcome: Outcome) -> bool:
        record = self._held(claim)
        if record is None:
            return self._said(claim, outcome)
        if record.job.cancel_requested:
            self._end(record, JobState.CANCELED)
            return False
        match outcome:
            case Answer():
                record.job = replace(record.job, answer=outcome)
                self._end(record, JobState.SUCCEEDED)
            case Failure():
                self._fail(record, outcome)
            case Setback() if record.setbacks < outcome.repeats and record.job.attempt < record.job.spec.max_attempts:
                record.setbacks += 1
                record.set_back = record.token
                self._wait(record, self._now_us(), pause_ms(record.setbacks))
            case Setback():
                self._fail(record, replace(outcome.failure, dead=True))
        return True

    def _said(self, claim: Claim, outcome: Outcome) -> bool:
        # Whether this attempt said so before: its first answer may have been lost.
        record = self._records.get(claim.spec.id)
        if record is None or record.token != claim.token:
            return False
        ending = JobState.SUCCEEDED if isinstance(outcome, Answer) else JobState.FAILED
        return record.job.state is ending or (record.job.state is JobState.QUEUED and record.set_back == claim.token)

    def _fail(self, record: _Record, failure: Failure) -> None:
        record.job = replace(record.job, failure=replace(failure, dead=False))
        record.dead = failure.dead
        self._end(record, JobState.FAILED)

    def _page(self, wanted: Callable[[_Record], bool], limit: int, before: int | None) -> Page:
        self._bury()
        found = [
            record
            for record in sorted(self._records.values(), key=lambda record: -record.number)
            if (before is None or record.number < before) and wanted(record)
        ]
        return Page(
            jobs=tuple(self._seen(record) for record in found[:limit]),
            next_before=found[limit - 1].number if len(found) > limit else None,
        )

    def _first(self, job_id: str, owner: str, *, same: bool) -> Job:
        if not same:
            raise IdempotencyKeyReused("The idempotency key came before, with another request.")
        try:
            return self._seen(self._owned(job_id, owner))
        except JobNotFound:
            raise JobExpired("The job that this idempotency key stands for is gone.") from None

    def _seen(self, record: _Record) -> Job:
        if record.job.state is not JobState.QUEUED or record.job.due_us is not None:
            return record.job
        return replace(record.job, position=self._line().index(record) + 1)

    def _owned(self, job_id: str, owner: str) -> _Record:
        self._bury()
        record = self._records.get(job_id)
        if record is None or record.job.spec.owner != owner:
            if self._tombs.get(job_id, ("", 0))[0] == owner:
                raise JobExpired("The job's record has run out.")
            raise JobNotFound("There is no such job.")
        return record

    def _end(self, record: _Record, state: JobState) -> None:
        now = self._now_us()
        expires = now + record.job.spec.result_ttl_ms * 1000
        record.job = replace(record.job, state=state, finished_us=now, expires_us=expires, due_us=None)
        keep_ms = 0 if state is JobState.SUCCEEDED else record.job.spec.retry_keep_ms
        record.picture_until_us = now + keep_ms * 1000
        if keep_ms == 0:
            self._pictures.pop(record.job.id, None)
        self._ended[state] += 1
        self._tombs[record.job.id] = (record.job.spec.owner, expires + TOMBSTONE_S * 1_000_000)
        self._tell(Ending(job_id=record.job.id, success=_success(record.job)))

    def _bury(self) -> None:
        now = self._now_us()
        for job_id, record in list(self._records.items()):
            if record.picture_until_us is not None and record.picture_until_us <= now:
                self._pictures.pop(job_id, None)
            if record.job.expires_us is not None and record.job.expires_us <= now:
                del self._records[job_id]
                self._pictures.pop(job_id, None)
        self._tombs = {job_id: tomb for job_id, tomb in self._tombs.items() if tomb[1] > now}

    def _tell(self, ending: Ending) -> None:
        for subscriber in self._subscribers:
            subscriber.loop.call_soon_threadsafe(subscriber.news.put_nowait, ending)


def _success(job: Job) -> Success | None:
    if job.state is not JobState.SUCCEEDED:
        return None
    assert job.started_us is not None
    assert job.finished_us is not None
    assert job.expires_us is not None
    assert job.answer is not None
    return Success(
        attempt=job.attempt,
        started_us=job.started_us,
        finished_us=job.finished_us,
        expires_us=job.expires_us,
        answer=job.answer,
    )
