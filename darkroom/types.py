"""What the client hands out. Every value is frozen; times are aware datetimes, durations end in `_ms` or `_s`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

Priority: TypeAlias = Literal["high", "normal", "low"]
"""How early a job may go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A label and its confidence in 0..1."""

    label: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Milliseconds, None where not known (yet). `latency_ms` is decode, preprocess and predict under one clock."""

    queue_ms: float | None = None
    fetch_ms: float | None = None
    decode_ms: float | None = None
    preprocess_ms: float | None = None
    predict_ms: float | None = None
    latency_ms: float | None = None
    total_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """What a picture shows: predictions by falling confidence. None at all is an answer too."""

    predictions: tuple[Prediction, ...]
    latency_ms: float
    job_id: str | None = None
    model: str | None = None
    """`name@version`."""
    timings: Timings

    @property
    def best(self) -> Prediction | None:
        """The prediction with the highest confidence, None where none reached the threshold."""
        return self.predictions[0] if self.predictions else None


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldProblem:
    """One thing wrong with a request; `pointer` is a JSON pointer to the field."""

    pointer: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What went wrong, as the server tells it (RFC 9457). `limit` and `actual` come with codes about a limit."""

    code: str
    status: int
    title: str
    detail: str
    retryable: bool = False
    retry_after_s: float | None = None
    request_id: str | None = None
    errors: tuple[FieldProblem, ...] = ()
    limit: int | None = None
    actual: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queued job's outlook; `position` 1 is next. All None once the job no longer waits.

    `waiting_reason` is `capacity`, `no_workers`, or `retry_backoff` while it pauses before it is tried again, without a
    position; others may be added.
    """

    position: int | None = None
    estimated_wait_ms: float | None = None
    waiting_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it stood when it was asked for. A loop reads `done`: states may be added, `done` stays."""

    id: str
    status: str
    done: bool
    model: str
    model_version: str
    confidence_threshold: float
    priority: str
    attempt: int
    max_attempts: int
    queue: Queue
    result: Classification | None
    error: Problem | None
    timings: Timings
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    """When its record goes."""
    retry_of: str | None
    """The job that this one tries again."""
    retried_as: str | None
    """The job that tries this one again."""
    links: Mapping[str, str | None]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """Jobs, newest first; `next_cursor` leads to the page after, None at the end."""

    jobs: tuple[Job, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A new job's id, and the id of the dead letter that it tries again."""

    id: str
    retry_of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What became of many dead letters; `gone` is how many cannot be tried again: picture or model is gone."""

    replayed: tuple[Replayed, ...]
    gone: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The model that serves."""

    model: str
    model_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The queue at a glance."""

    depth: int
    oldest_age_s: float | None
    estimated_wait_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker as it last said, `last_heard_s` seconds ago."""

    id: str
    state: str
    model: str
    model_version: str
    rss_bytes: int
    jobs_done: int
    last_heard_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The service at a glance; `jobs` counts them by state."""

    uptime_s: float
    serving: Serving
    jobs: Mapping[str, int]
    queue: Backlog
    workers: tuple[Worker, ...]
