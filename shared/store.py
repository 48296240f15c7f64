"""Where jobs live: two views of one store, and its twin in memory.

The gateway's view (`JobStore`) is asynchronous, the worker's (`WorkStore`) is not. Every change is one atomic step.
Every method raises `BrokerUnavailable` when the store does not answer.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from shared.errors import WorkerCrashed
from shared.jobs import LEASE_MS, Answer, Claim, Failure, Job, JobSpec, JobState, Outcome

WORKER_TTL_S = LEASE_MS // 1000
"""A worker not heard from for so many seconds counts as gone."""

TOMBSTONE_S = 24 * 3600
"""For so many seconds after a record ran out its id is still known as expired."""

CRASHED: Final = Failure(code=WorkerCrashed.code, detail="Every worker that took the job was lost over it.", dead=True)
"""How a job ends that has lost as many workers as it may."""

ONCE_S = 24 * 3600
"""For so many seconds an idempotency key stands for the job that first came with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """What a worker says of itself with every beat."""

    id: str
    state: str
    """`idle` or `busy`."""
    model: str
    model_version: str
    rss_bytes: int
    jobs_done: int
    work_ms: float | None
    """Moving average of what one job keeps this worker busy, in milliseconds; None before its first job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSighting:
    """A worker's last report and how many seconds ago it came."""

    report: WorkerReport
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The store at a glance.

    `jobs` counts the queued and the running as they are now, the ended since the store began.
    """

    jobs: dict[JobState, int]
    oldest_age_s: float | None
    """How long the job has waited that came first of those waiting; None when nothing waits."""
    workers: tuple[WorkerSighting, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of jobs, newest first; `next_before` goes on from here, None at the end."""

    jobs: tuple[Job, ...]
    next_before: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """That a job is wanted once, however often it is asked for.

    `key` is a digest of the caller's idempotency key, `fingerprint` one of what the caller asked for.
    """

    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """What a job's success adds to what is known of it."""

    attempt: int
    started_us: int
    finished_us: int
    expires_us: int
    answer: Answer

    def of(self, job: Job) -> Job:
        """The job after it, as its record tells it."""
        return replace(
            job,
            state=JobState.SUCCEEDED,
            attempt=self.attempt,
            started_us=self.started_us,
            finished_us=self.finished_us,
            expires_us=self.expires_us,
            answer=self.answer,
            due_us=None,
            position=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """News that a job has ended, or is gone."""

    job_id: str
    success: Success | None = None
    """Spares a look at the record. None: look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaped:
    """What one look for jobs that nobody holds found."""

    taken_back: int = 0
    """Jobs whose worker was lost, and that wait again."""
    crashed: int = 0
    """Jobs that have lost as many workers as they may, and failed."""
    canceled: int = 0
    """Jobs whose worker was lost after it had been asked to stop."""
    expired: int = 0
    """Jobs whose time in the queue was over."""
    due: int = 0
    """Jobs whose pause was over."""
    more: bool = False
    """Whether there is more to be done at once."""


class JobStore(Protocol):
    """The gateway's view. Methods that take an `owner` treat another owner's job as absent."""

    async def enqueue(self, spec: JobSpec, image: bytes, once: Once | None = None) -> Job:
        """Keep the picture, write the record, queue the job, ring if too few bells hang. Idempotent on the id.

        Where the owner's `once` came before, nothing is queued, and the job is the one that came with it first.

        Raises: StorageFull. Where `once` came before: IdempotencyKeyReused if its fingerprint was another, JobExpired
        if that job is gone.
        """

    async def get(self, job_id: str, owner: str) -> Job:
        """The job as it stands.

        Raises: JobNotFound; JobExpired for `TOMBSTONE_S` after its record ran out.
        """

    async def ended(self, job_ids: Sequence[str]) -> set[str]:
        """Those of the ids that have ended or are gone."""

    def endings(self) -> AsyncIterator[Ending]:
        """News of jobs as they end, over one connection. Some may be missed when that connection breaks.

        Raises: BrokerUnavailable when it breaks; iterate again.
        """

    async def cancel(self, job_id: str, owner: str) -> Job:
        """Cancel a queued job; ask it of a running one; leave an ended one alone. The job afterwards.

        Raises: JobNotFound, JobExpired.
        """

    async def delete(self, job_id: str, owner: str) -> None:
        """Erase record and picture.

        Raises: JobNotFound, JobExpired, JobRunning.
        """

    async def retry(self, job_id: str, owner: str, spec: JobSpec, pause_ms: int = 0) -> Job:
        """Queue `spec` with the picture of a job that failed, was canceled or expired; the picture moves along.

        Asked again it queues nothing, and gives the job that the old one was retried as.

        Raises: JobNotFound, JobExpired, JobRunning in every other state, InputGone, StorageFull.
        """

    async def dead_letter(self, job_id: str) -> Job:
        """A job that failed for good, whoever owns it.

        Raises: JobNotFound.
        """

    async def dead_letters(self, *, limit: int = 50, before: int | None = None) -> Page:
        """A page of the jobs that failed for good, newest first, whoever owns them; without those tried again."""

    async def page(
        self,
        owner: str,
        *,
        state: JobState | None = None,
        model: str | None = None,
        limit: int = 50,
        before: int | None = None,
    ) -> Page:
        """A page of the owner's jobs, newest first."""

    async def overview(self) -> Overview:
        """Jobs by state, the oldest wait, the workers heard from in the last `WORKER_TTL_S`."""

    async def reap(self) -> Reaped:
        """Look after jobs that nobody holds, unless another process did within the last second.

        A lease that ended: the job waits again, or has failed if its attempts are used up. A pause that is over: it
        waits. Its time in the queue is over: it has expired. Jobs wait and too few bells hang: one rings.
        """

    async def faults(self) -> list[str]:
        """Why the store is not to be trusted with jobs, a sentence each; empty when it is."""

    async def close(self) -> None:
        """Give back every connection."""


class WorkStore(Protocol):
    """The worker's view. A worker's name is its own for ever: the store remembers how far each has counted."""

    def claim(self, worker: str) -> Claim | None:
        """Take the next job: attempt + 1, a new token, a lease, and its picture. None when nothing waits.

        Asked again after it raised, it gives the claim whose answer was lost, not another job.
        """

    def finish(self, worker: str, claim: Claim, outcome: Outcome, *, then_claim: bool) -> tuple[bool, Claim | None]:
        """End the job if `claim` still holds it, and in the same step take the next one.

        Without `then_claim` it takes none, and rings if jobs remain.

        Returns: whether the outcome counted (False: another attempt or a cancel came first), and the next claim.
        """

    def linger(self, seconds: float) -> bool:
        """Wait for a bell; True when one rang."""

    def give_back(self, claim: Claim) -> bool:
        """Let the job wait again, as if it had not been claimed; False if `claim` no longer holds it."""

    def beat(self, report: WorkerReport, claim: Claim | None = None) -> bool:
        """Say that this worker lives, and renew the lease of `claim`. Rings if jobs wait and too few bells hang.

        Returns: whether jobs waited, and a bell hung that nobody had heard.
        """

    def reap_now(self) -> Reaped:
        """See `JobStore.reap`."""

    def retire(self, worker: str) -> None:
        """This worker is going: forget it and give back its connections."""
