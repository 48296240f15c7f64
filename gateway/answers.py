"""A job as an HTTP answer."""

from dataclasses import asdict, fields
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from pydantic import BaseModel, JsonValue, TypeAdapter
from starlette.responses import Response

from gateway.dead_letters import Replay
from gateway.errors import JobFailed, job_error, stored_error
from gateway.jobs import RETRYABLE, Jobs, Outlook
from gateway.listing import Listing
from gateway.schemas import (
    ClassificationResponse,
    JobError,
    JobList,
    JobView,
    LinksView,
    PredictionItem,
    QueueView,
    ReplayedJob,
    ReplayView,
    TimingsView,
)
from gateway.waiting import Patience
from shared.clock import epoch_us
from shared.errors import DeadlineExceeded, InternalError, JobCanceled, ModelNotFound
from shared.jobs import Job, JobState, Timings

_RETRY_AFTER: Final = "1"
_TOO_LATE: Final = "No worker took the job in time."
_METADATA: Final[TypeAdapter[dict[str, JsonValue]]] = TypeAdapter(dict[str, JsonValue])


def as_json(model: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """A model of the wire as an answer."""
    return Response(model.model_dump_json(), status_code=status, media_type="application/json")


async def as_it_stands(
    job: Job,
    jobs: Jobs,
    patience: Patience | None = None,
    status: HTTPStatus = HTTPStatus.OK,
) -> Response:
    """The job object; it says when to look again while the job is not done, and where to look if it was accepted."""
    answer = as_json(_view(job, jobs, await _outlook(jobs, job)), status)
    if not job.done:
        answer.headers["Retry-After"] = _RETRY_AFTER
    if status is HTTPStatus.ACCEPTED:
        answer.headers["Location"] = _path(job)
    return _applied(answer, patience)


async def accepted(job: Job, jobs: Jobs, patience: Patience | None = None) -> Response:
    """202 and the job object."""
    return await as_it_stands(job, jobs, patience, HTTPStatus.ACCEPTED)


async def canceled(job: Job, jobs: Jobs) -> Response:
    """200 if the job is canceled, 202 if a worker was asked to stop."""
    return await as_it_stands(job, jobs, status=HTTPStatus.OK if job.done else HTTPStatus.ACCEPTED)


async def result(
    job: Job,
    jobs: Jobs,
    patience: Patience,
    *,
    threshold: float | None = None,
    top_k: int | None = None,
) -> Response:
    """200 and the predictions, or 202 and the job while it is not done.

    Raises: JobFailed, JobCanceled, DeadlineExceeded, ModelNotFound.
    """
    if not job.done:
        return await accepted(job, jobs, patience)
    if job.state is JobState.CANCELED:
        raise JobCanceled("The job was canceled, so it has no result.")
    if job.state is JobState.EXPIRED:
        raise DeadlineExceeded(_TOO_LATE)
    if job.failure is not None:
        raise JobFailed(job.id, job.failure)
    answer = as_json(_classification(job, jobs, threshold, top_k))
    answer.headers["Content-Location"] = _path(job)
    answer.headers["Server-Timing"] = _server_timing(job)
    answer.headers["X-Model"] = f"{job.spec.model}@{job.spec.model_version}"
    return _applied(answer, patience)


async def listing(page: Listing, jobs: Jobs) -> Response:
    """A page of job objects."""
    outlook = await _outlook(jobs, *page.jobs)
    return as_json(JobList(items=[_view(job, jobs, outlook) for job in page.jobs], next_cursor=page.next_cursor))


def replayed(replay: Replay) -> Response:
    """202 and the new jobs."""
    pairs = [ReplayedJob(id=job.id, retry_of=job.spec.retry_of or "") for job in replay.jobs]
    return as_json(ReplayView(replayed=pairs, gone=replay.gone), HTTPStatus.ACCEPTED)


def _applied(answer: Response, patience: Patience | None) -> Response:
    if patience is not None and patience.applied is not None:
        answer.headers["Preference-Applied"] = patience.applied
    return answer


async def _outlook(jobs: Jobs, *shown: Job) -> Outlook | None:
    return await jobs.outlook() if any(job.state is JobState.QUEUED for job in shown) else None


def _path(job: Job) -> str:
    return f"/v1/jobs/{job.id}"


def _classification(
    job: Job,
    jobs: Jobs,
    threshold: float | None = None,
    top_k: int | None = None,
) -> ClassificationResponse:
    if job.answer is None:
        raise InternalError("The job succeeded, but its answer is missing.")
    found = jobs.predictions(job, threshold=threshold, top_k=top_k)
    return ClassificationResponse(
        predictions=[PredictionItem(label=item.label, confidence=item.confidence) for item in found],
        latency_ms=job.answer.timings.latency_ms,
    )


def _view(job: Job, jobs: Jobs, outlook: Outlook | None) -> JobView:
    spec = job.spec
    path = _path(job)
    return JobView(
        id=job.id,
        status=job.state,
        done=job.done,
        model=spec.model,
        model_version=spec.model_version,
        confidence_threshold=spec.confidence_threshold,
        priority=spec.priority.value,
        attempt=job.attempt,
        max_attempts=spec.max_attempts,
        queue=_queue(job, outlook),
        result=_kept_result(job, jobs),
        error=_error(job),
        timings=_timings(job),
        created_at=_time(job.created_us),
        started_at=_time_if(job.started_us),
        finished_at=_time_if(job.finished_us),
        expires_at=_time_if(job.expires_us),
        retry_of=spec.retry_of,
        retried_as=job.retried_as,
        links=LinksView(
            self=path,
            result=f"{path}/result",
            events=None,
            cancel=f"{path}/cancel",
            retry=f"{path}/retry" if _can_be_retried(job) else None,
        ),
        metadata=_METADATA.validate_python(dict(spec.metadata)),
    )


def _can_be_retried(job: Job) -> bool:
    if job.state not in RETRYABLE or job.finished_us is None:
        return False
    kept_ms = min(job.spec.retry_keep_ms, job.spec.result_ttl_ms)
    # Asked again, a retry gives the job that it gave before.
    return job.retried_as is not None or job.finished_us + kept_ms * 1000 > epoch_us()


def _kept_result(job: Job, jobs: Jobs) -> ClassificationResponse | None:
    if job.answer is None:
        return None
    try:
        return _classification(job, jobs)
    except ModelNotFound:
        # A list must not break over one job of a model that is gone.
        return None


def _queue(job: Job, outlook: Outlook | None) -> QueueView:
    if job.state is JobState.QUEUED and job.due_us is not None:
        wait_ms = None if outlook is None else _wait_ms(job.due_us, outlook)
        return QueueView(position=None, estimated_wait_ms=wait_ms, waiting_reason="retry_backoff")
    if job.state is not JobState.QUEUED or outlook is None:
        return QueueView(position=job.position, estimated_wait_ms=None, waiting_reason=None)
    return QueueView(
        position=job.position,
        estimated_wait_ms=None if job.position is None else outlook.wait_ms(job.position),
        waiting_reason="capacity" if outlook.workers else "no_workers",
    )


def _wait_ms(due_us: int, outlook: Outlook) -> int | None:
    # By then it waits itself, behind all that does now.
    queue_ms = outlook.wait_ms(max(1, outlook.depth))
    return None if queue_ms is None else max(0, due_us - epoch_us()) // 1000 + queue_ms


def _error(job: Job) -> JobError | None:
    if job.state is JobState.EXPIRED:
        return job_error(DeadlineExceeded.code, _TOO_LATE)
    return None if job.failure is None else stored_error(job.failure)


def _timings(job: Job) -> TimingsView:
    measured: dict[str, float | None] = dict.fromkeys(field.name for field in fields(Timings))
    if job.answer is not None:
        measured = asdict(job.answer.timings)
    return TimingsView(
        queue_ms=_span_ms(job.created_us, job.started_us),
        total_ms=_span_ms(job.created_us, job.finished_us),
        **measured,
    )


def _server_timing(job: Job) -> str:
    timings = _timings(job)
    spans = {
        "queue": timings.queue_ms,
        "decode": timings.decode_ms,
        "preprocess": timings.preprocess_ms,
        "predict": timings.predict_ms,
    }
    return ", ".join(f"{name};dur={span:.3f}" for name, span in spans.items() if span is not None)


def _span_ms(start_us: int, end_us: int | None) -> float | None:
    return None if end_us is None else (end_us - start_us) / 1000


def _time(epoch_us: int) -> datetime:
    seconds, micros = divmod(epoch_us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)


def _time_if(epoch_us: int | None) -> datetime | None:
    return None if epoch_us is None else _time(epoch_us)
