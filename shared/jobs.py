"""A job: one image on its way to its classes. Values are frozen; `MOVES` is the state diagram."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias


class JobState(StrEnum):
    """Where a job is. The last four are terminal: nothing moves out of them."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def done(self) -> bool:
        """Whether the state is terminal."""
        return not MOVES[self]


MOVES: Final[Mapping[JobState, frozenset[JobState]]] = MappingProxyType(
    {
        JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELED, JobState.EXPIRED}),
        # Back to queued: its worker was lost, or the error passes by itself.
        JobState.RUNNING: frozenset(
            {JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED},
        ),
        JobState.SUCCEEDED: frozenset(),
        JobState.FAILED: frozenset(),
        JobState.CANCELED: frozenset(),
        JobState.EXPIRED: frozenset(),
    },
)


class Priority(StrEnum):
    """How far a job may go before others, see `PLACES`."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


PLACES: Final[Mapping[Priority, float]] = MappingProxyType(
    {Priority.HIGH: -1000.5, Priority.NORMAL: 0, Priority.LOW: 1000.5},
)
"""Places in the queue added to a job's own number: a high job overtakes at most 1,000 that came before it,
a low one lets at most 1,000 pass that come after it. So none starves, and no two share a
place."""


MAX_ATTEMPTS: Final = 3
"""How often a job is tried at most."""

LEASE_MS: Final = 10_000
"""A worker not heard from for so long has lost its job."""


def pause_ms(setbacks: int) -> int:
    """How long a job pauses after so many setbacks: 1, 2, 4, … and at most 30 seconds."""
    return int(min(1000 * 2 ** (setbacks - 1), 30_000))


def new_job_id() -> str:
    """An opaque id with 128 random bits."""
    return f"job_{secrets.token_hex(16)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What the caller asked for. It never changes after the job was accepted. Durations are milliseconds."""

    id: str
    owner: str
    model: str
    model_version: str
    confidence_threshold: float = 0.5
    top_k: int | None = None
    priority: Priority = Priority.NORMAL
    queue_ttl_ms: int = 3_600_000
    result_ttl_ms: int = 3_600_000
    max_attempts: int = MAX_ATTEMPTS
    retry_keep_ms: int = 3_600_000
    """How long the picture stays after any end but a success; 0: not at all."""
    retry_of: str | None = None
    """The job that this one tries again."""
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """What a worker measured with `time.perf_counter`, in milliseconds.

    `latency_ms` is one clock around decode, preprocess and predict; `fetch_ms` is the round trip that brought the job.
    """

    fetch_ms: float
    decode_ms: float
    preprocess_ms: float
    predict_ms: float
    latency_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A job that succeeded: one confidence per label of its model, in the labels' order, each in 0..1."""

    scores: tuple[float, ...]
    timings: Timings


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A job that failed: a `code` of the error table and one sentence.

    `limit` and `actual` are set for the codes that carry them.
    """

    code: str
    detail: str
    limit: int | None = None
    actual: int | None = None
    dead: bool = False
    """Whether it makes the job a dead letter. The store does not give it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setback:
    """A failure that may pass. The job is tried again after a pause, `repeats` times at most; then it has failed."""

    failure: Failure
    repeats: int


Outcome: TypeAlias = Answer | Failure | Setback


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as its record tells it.

    Times are microseconds since the epoch on the store's clock, None until they happen.
    """

    spec: JobSpec
    state: JobState
    attempt: int
    created_us: int
    started_us: int | None = None
    finished_us: int | None = None
    expires_us: int | None = None
    cancel_requested: bool = False
    answer: Answer | None = None
    failure: Failure | None = None
    retried_as: str | None = None
    """The job that tries this one again."""
    due_us: int | None = None
    """When it joins the queue again, if it pauses after a setback."""
    position: int | None = None
    """Place in the queue, 1 = next; None when it is not queued, or pauses."""

    @property
    def id(self) -> str:
        """The job's id."""
        return self.spec.id

    @property
    def done(self) -> bool:
        """Whether the job has ended."""
        return self.state.done


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One attempt at a job, held by one worker. Only the attempt whose `token` the record names may end the job."""

    spec: JobSpec
    token: str
    attempt: int
    image: bytes | None
    """The picture's bytes; None if the store no longer has them."""
    created_us: int
    fetch_ms: float
