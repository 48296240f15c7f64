"""The wire's models: what a body may hold and what an answer holds."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, model_validator

from shared.jobs import JobState

MAX_METADATA_BYTES: Final = 4096
MAX_METADATA_DEPTH: Final = 8
DAY_S: Final = 86_400


def _depth(value: object) -> int:
    if isinstance(value, Mapping):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _small(metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if _depth(metadata) > MAX_METADATA_DEPTH:
        raise ValueError(f"Metadata may be nested at most {MAX_METADATA_DEPTH} deep.")
    try:
        text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise ValueError("Metadata may hold finite numbers only.") from None
    if len(text.encode()) > MAX_METADATA_BYTES:
        raise ValueError(f"Metadata may have at most {MAX_METADATA_BYTES} bytes as JSON.")
    return metadata


Threshold = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[int, Field(strict=True, ge=1, le=DAY_S)]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(_small)]
METADATA: Final[TypeAdapter[dict[str, JsonValue]]] = TypeAdapter(Metadata)


class PredictOptions(BaseModel):
    """What may go with a picture on `/predict`. Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True)

    confidence_threshold: Threshold = Field(default=0.5, description="Least confidence of a prediction, 0 to 1.")


class PayloadRequest(PredictOptions):
    """A picture to classify."""

    image_base64: str = Field(
        description="JPEG, PNG, WebP, GIF, BMP or TIFF as base64, standard or URL-safe; a prefix "
        "`data:image/…;base64,` is accepted.",
    )


class JobOptions(PredictOptions):
    """What may go with a picture on `/v1/jobs`. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    top_k: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        default=None,
        description="Most predictions in the answer; null means all.",
    )
    model: str | None = Field(default=None, description="A model's name; null means the one that serves.")
    version: str | None = Field(default=None, description="A version of the model; null means the one that serves.")
    priority: Literal["high", "normal", "low"] = Field(default="normal", description="How early it may go.")
    queue_ttl_s: Seconds = Field(default=3600, description="Seconds it may wait for a worker; then it expires.")
    result_ttl_s: Seconds = Field(default=3600, description="Seconds its record is kept after its end.")
    explain: Literal[False] = Field(default=False, description="Not there yet: only false is accepted.")
    webhook: None = Field(default=None, description="Not there yet: only null is accepted.")
    metadata: Metadata = Field(
        default_factory=dict,
        description=f"Anything of yours, given back as it came: at most {MAX_METADATA_BYTES} bytes as JSON, nested at "
        f"most {MAX_METADATA_DEPTH} deep.",
    )


class JobRequest(JobOptions):
    """A picture to classify as a job."""

    image_base64: str = Field(description=PayloadRequest.model_fields["image_base64"].description)


class PredictionItem(BaseModel):
    """A label and its confidence."""

    label: str
    confidence: float = Field(ge=0, le=1)


class ClassificationResponse(BaseModel):
    """What a picture shows, by falling confidence; an empty list is an answer too."""

    predictions: list[PredictionItem]
    latency_ms: float = Field(description="Milliseconds a worker took to decode, preprocess and predict.")


class ErrorItem(BaseModel):
    """One thing wrong with a request."""

    pointer: str = Field(description="JSON pointer to the field; to its parent where the field has no place.")
    detail: str


def _absent(value: object) -> bool:
    return value is None


class JobError(BaseModel):
    """Why a job failed: a problem without `instance` and `request_id`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    errors: list[ErrorItem] = Field(default_factory=list)
    limit: int | None = Field(default=None, exclude_if=_absent, description="The limit, where the code is about one.")
    actual: int | None = Field(default=None, exclude_if=_absent, description="What there was, in the limit's unit.")


class Problem(JobError):
    """An RFC 9457 problem."""

    instance: str = Field(description="The path that was asked for.")
    request_id: str


class QueueView(BaseModel):
    """A queued job's outlook; all null once it no longer waits."""

    position: int | None = Field(description="1 is next.")
    estimated_wait_ms: int | None = Field(description="Null while there is no worker, or none that has worked yet.")
    waiting_reason: Literal["capacity", "no_workers", "retry_backoff"] | None = Field(
        description="`retry_backoff`: it pauses before it is tried again, and has no position."
    )


class TimingsView(BaseModel):
    """Milliseconds, null until they are known."""

    queue_ms: float | None = Field(description="From submission to the start of the last attempt, lost ones included.")
    fetch_ms: float | None
    decode_ms: float | None
    preprocess_ms: float | None
    predict_ms: float | None
    latency_ms: float | None
    total_ms: float | None


class LinksView(BaseModel):
    """Paths of this job."""

    self: str
    result: str
    events: None = Field(description="Null: there is no stream of events.")
    cancel: str
    retry: str | None = Field(
        description="Null unless the job failed, was canceled or expired, and its picture is kept."
    )


class JobView(BaseModel):
    """A job as it stands."""

    id: str
    status: JobState
    done: bool
    model: str
    model_version: str
    confidence_threshold: float
    priority: Literal["high", "normal", "low"]
    attempt: int
    max_attempts: int
    queue: QueueView
    result: ClassificationResponse | None
    error: JobError | None
    timings: TimingsView
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None = Field(description="When the record goes.")
    retry_of: str | None = Field(description="The job that this one tries again.")
    retried_as: str | None = Field(description="The job that tries this one again.")
    links: LinksView
    metadata: dict[str, JsonValue]


class JobList(BaseModel):
    """A page of jobs, newest first."""

    items: list[JobView]
    next_cursor: str | None


class PollQuery(BaseModel):
    """What may be asked of a job."""

    model_config = ConfigDict(extra="forbid")

    wait: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Seconds to wait for the job's end; cut to the gateway's limit. It goes before `Prefer: wait`.",
    )


class ResultQuery(PollQuery):
    """What may be asked of a result."""

    confidence_threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Another threshold than the job's own.",
    )
    top_k: int | None = Field(default=None, ge=1, description="Another number of predictions than the job's own.")


class PageQuery(BaseModel):
    """Which page of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, description="The `next_cursor` of the page before.")


class ListQuery(PageQuery):
    """Which jobs to list."""

    status: JobState | None = None
    model: str | None = None


class ReplayRequest(BaseModel):
    """How many dead letters to try again, and how fast."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: Annotated[int, Field(strict=True, ge=1, le=1000)] = Field(
        default=100, description="Most dead letters to try again, the newest first."
    )
    rate_per_s: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = Field(
        default=None,
        description="How many of the new jobs join the queue in a second, one after the other, above 0; the last "
        "within a day. Null: all now.",
    )

    @model_validator(mode="after")
    def _in_a_day(self) -> Self:
        if self.rate_per_s is not None and self.limit > self.rate_per_s * DAY_S:
            raise ValueError("At this rate the last of so many would join the queue after more than a day.")
        return self


class ReplayedJob(BaseModel):
    """A new job, and the dead letter that it tries again."""

    id: str
    retry_of: str


class ReplayView(BaseModel):
    """What became of the dead letters."""

    replayed: list[ReplayedJob]
    gone: int = Field(
        description="Dead letters that cannot be tried again, their picture erased or their model's version gone. They "
        "stay listed until their records run out."
    )


class Serving(BaseModel):
    """The model that serves."""

    model: str
    model_version: str


class QueueFigures(BaseModel):
    """The queue at a glance."""

    depth: int
    oldest_age_s: float | None
    estimated_wait_ms: int | None = Field(description="Null while there is no worker, or none that has worked yet.")


class WorkerView(Serving):
    """A worker as it last said."""

    id: str
    state: str
    rss_bytes: int
    jobs_done: int
    last_heard_s: float


class StatusView(BaseModel):
    """The service at a glance. Of `jobs`, queued and running are as now, the others since the store began.

    `waiters` counts the callers that this gateway process holds just now.
    """

    uptime_s: float
    serving: Serving
    jobs: dict[JobState, int]
    queue: QueueFigures
    waiters: int
    workers: list[WorkerView]


class Health(BaseModel):
    """A healthy answer."""

    status: Literal["alive", "ready"]
