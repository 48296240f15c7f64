"""A job as an HTTP answer.

Answers are dictionaries in the shape of the wire's models, and not those models: to make and check them would cost as
much as all else about an answer. A test holds the two together.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from starlette.responses import Response

from gateway.dead_letters import Replay
from gateway.errors import JobFailed, job_error, stored_error
from gateway.jobs import RETRYABLE, Jobs, Outlook
from gateway.listing import Listing
from gateway.schemas import JobError, ReplayedJob, ReplayView
from gateway.waiting import Patience
from shared.clock import epoch_us
from shared.errors import DeadlineExceeded, InternalError, JobCanceled, ModelNotFound
from shared.jobs import Answer, Job, JobState, Timings

_TOO_LATE: Final = "No worker took the job in time."
_JSON: Final[TypeAdapter[Any]] = TypeAdapter(Any)
_LOOK_AGAIN: Final = (b"retry-after", b"1")

Shape = dict[str, Any]
Headers = list[tuple[bytes, bytes]]


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
    headers: Headers = []
    if not job.done:
        headers.append(_LOOK_AGAIN)
    if status is HTTPStatus.ACCEPTED:
        headers.append((b"location", _path(job).encode()))
    return _answer(_view(job, jobs, await _outlook(jobs, job)), status, headers, patience)


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
    answer = _kept_answer(job)
    headers = [
        (b"content-location", _path(job).encode()),
        (b"server-timing", _server_timing(job, answer.timings).encode()),
        (b"x-model", f"{job.spec.model}@{job.spec.model_version}".encode("latin-1")),
    ]
    return _answer(_classification(job, jobs, threshold, top_k), HTTPStatus.OK, headers, patience)


async def listing(page: Listing, jobs: Jobs) -> Response:
    """A page of job objects."""
    outlook = await _outlook(jobs, *page.jobs)
    return _answer({"items": [_view(job, jobs, outlook) for job in page.jobs], "next_cursor": page.next_cursor})


def replayed(replay: Replay) -> Response:
    """202 and the new jobs."""
    pairs = [ReplayedJob(id=job.id, retry_of=job.spec.retry_of or "") for job in replay.jobs]
    return as_json(ReplayView(replayed=pairs, gone=replay.gone), HTTPStatus.ACCEPTED)


def _answer(
    content: Shape, status: HTTPStatus = HTTPStatus.OK, headers: Headers | None = None, patience: Patience | None = None
) -> Response:
    answer = Response(_JSON.dump_json(content), status_code=status, media_type="application/json")
    answer.raw_headers += headers or ()
    if patience is not None and patience.applied is not None:
        answer.raw_headers.append((b"preference-applied", patience.applied.encode()))
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
) -> Shape:
    found = jobs.predictions(job, threshold=threshold, top_k=top_k)
    return {
        "predictions": [{"label": item.label, "confidence": float(item.confidence)} for item in found],
        "latency_ms": float(_kept_answer(job).timings.latency_ms),
    }


def _kept_answer(job: Job) -> Answer:
    if job.answer is None:
        raise InternalError("The job succeeded, but its answer is missing.")
    return job.answer


def _view(job: Job, jobs: Jobs, outlook: Outlook | None) -> Shape:
    spec = job.spec
    path = _path(job)
    return {
        "id": job.id,
        "status": job.state,
        "done": job.done,
        "model": spec.model,
        "model_version": spec.model_version,
        "confidence_threshold": float(spec.confidence_threshold),
        "priority": spec.priority,
        "attempt": job.attempt,
        "max_attempts": spec.max_attempts,
        "queue": _queue(job, outlook),
        "result": _kept_result(job, jobs),
        "error": _error(job),
        "timings": _timings(job),
        "created_at": _time(job.created_us),
        "started_at": _time_if(job.started_us),
        "finished_at": _time_if(job.finished_us),
        "expires_at": _time_if(job.expires_us),
        "retry_of": spec.retry_of,
        "retried_as": job.retried_as,
        "links": {
            "self": path,
            "result": f"{path}/result",
            "events": None,
            "cancel": f"{path}/cancel",
            "retry": f"{path}/retry" if _can_be_retried(job) else None,
        },
        "metadata": spec.metadata,
    }


def _can_be_retried(job: Job) -> bool:
    if job.state not in RETRYABLE or job.finished_us is None:
        return False
    kept_ms = min(job.spec.retry_keep_ms, job.spec.result_ttl_ms)
    # Asked again, a retry gives the job that it gave before.
    return job.retried_as is not None or job.finished_us + kept_ms * 1000 > epoch_us()


def _kept_result(job: Job, jobs: Jobs) -> Shape | None:
    if job.answer is None:
        return None
    try:
        return _classification(job, jobs)
    except ModelNotFound:
        # A list must not break over one job of a model that is gone.
        return None


def _queue(job: Job, outlook: Outlook | None) -> Shape:
    wait_ms, reason = _wait(job, outlook)
    return {"position": job.position, "estimated_wait_ms": wait_ms, "waiting_reason": reason}


def _wait(job: Job, outlook: Outlook | None) -> tuple[int | None, str | None]:
    if job.state is JobState.QUEUED and job.due_us is not None:
        return None if outlook is None else _wait_ms(job.due_us, outlook), "retry_backoff"
    if job.state is not JobState.QUEUED or outlook is None:
        return None, None
    wait_ms = None if job.position is None else outlook.wait_ms(job.position)
    return wait_ms, "capacity" if outlook.workers else "no_workers"


def _wait_ms(due_us: int, outlook: Outlook) -> int | None:
    # By then it waits itself, behind all that does now.
    queue_ms = outlook.wait_ms(max(1, outlook.depth))
    return None if queue_ms is None else max(0, due_us - epoch_us()) // 1000 + queue_ms


def _error(job: Job) -> JobError | None:
    if job.state is JobState.EXPIRED:
        return job_error(DeadlineExceeded.code, _TOO_LATE)
    return None if job.failure is None else stored_error(job.failure)


def _timings(job: Job) -> Mapping[str, float | None]:
    measured = None if job.answer is None else job.answer.timings
    return {
        "queue_ms": _span_ms(job.created_us, job.started_us),
        "fetch_ms": None if measured is None else float(measured.fetch_ms),
        "decode_ms": None if measured is None else float(measured.decode_ms),
        "preprocess_ms": None if measured is None else float(measured.preprocess_ms),
        "predict_ms": None if measured is None else float(measured.predict_ms),
        "latency_ms": None if measured is None else float(measured.latency_ms),
        "total_ms": _span_ms(job.created_us, job.finished_us),
    }


def _server_timing(job: Job, measured: Timings) -> str:
    spans = (
        f"decode;dur={measured.decode_ms:.3f}, preprocess;dur={measured.preprocess_ms:.3f}, "
        f"predict;dur={measured.predict_ms:.3f}"
    )
    queue_ms = _span_ms(job.created_us, job.started_us)
    return spans if queue_ms is None else f"queue;dur={queue_ms:.3f}, {spans}"


def _span_ms(start_us: int, end_us: int | None) -> float | None:
    return None if end_us is None else (end_us - start_us) / 1000


def _time(epoch_us: int) -> datetime:
    seconds, micros = divmod(epoch_us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)


def _time_if(epoch_us: int | None) -> datetime | None:
    return None if epoch_us is None else _time(epoch_us)
