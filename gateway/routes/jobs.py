"""Submit a job, look at it, take its result, cancel it, try it again, erase it."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from gateway import answers
from gateway.dependencies import (
    JobRules,
    NoParameters,
    hold_of,
    idempotency_of,
    job_body,
    jobs_of,
    query_of,
    share_of,
)
from gateway.openapi import BODY_CODES, IDEMPOTENCY_KEY, PREFER, asked, picture_body, problems, query
from gateway.schemas import (
    ClassificationResponse,
    JobList,
    JobOptions,
    JobRequest,
    JobView,
    ListQuery,
    PollQuery,
    ResultQuery,
)

router = APIRouter(tags=["jobs"])

_GONE = ("job-not-found", "job-expired")


@router.post(
    "/v1/jobs",
    status_code=202,
    summary="Submit a picture as a job",
    response_model=JobView,
    responses=problems(
        *BODY_CODES, "model-not-found", "idempotency-key-reused", "job-expired", "queue-full", "storage-full"
    ),
    openapi_extra=picture_body(JobRequest, JobOptions, IDEMPOTENCY_KEY),
)
async def submit(request: Request) -> Response:
    """Never waits. Unknown fields and parameters are refused."""
    jobs, idempotency = jobs_of(request), idempotency_of(request)
    with share_of(request) as share:
        picture = await job_body(request, share)
        job = await jobs.submit(picture, idempotency)
    return await answers.accepted(job, jobs)


@router.get(
    "/v1/jobs",
    summary="List jobs, newest first",
    response_model=JobList,
    responses=problems("validation-error"),
)
async def list_jobs(wanted: Annotated[ListQuery, Query()], jobs: JobRules) -> Response:
    """A page may be shorter than `limit` and still name a next one."""
    page = await jobs.page(wanted)
    return await answers.listing(page, jobs)


@router.get(
    "/v1/jobs/{job_id}",
    summary="Look at a job, or wait for its end",
    response_model=JobView,
    responses=problems(*_GONE, "validation-error"),
    openapi_extra=asked(*query(PollQuery), PREFER),
)
async def look(request: Request, job_id: str) -> Response:
    """Always 200 with the job as it stands; read `done`."""
    jobs, hold, wanted = jobs_of(request), hold_of(request), query_of(request, PollQuery)
    job = await jobs.get(job_id, patience := hold.for_poll(wanted.wait))
    return await answers.as_it_stands(job, jobs, patience)


@router.get(
    "/v1/jobs/{job_id}/result",
    summary="Take a job's result, through another threshold if wanted",
    response_model=ClassificationResponse,
    responses={
        202: {"model": JobView, "description": "The job is not done."},
        **problems(
            *_GONE,
            "model-not-found",
            "validation-error",
            "job-canceled",
            "deadline-exceeded",
            "image-too-large",
            "unsupported-image-format",
            "invalid-image",
            "decode-timeout",
            "out-of-memory",
            "inference-failed",
            "worker-crashed",
        ),
    },
    openapi_extra=asked(*query(ResultQuery), PREFER),
)
async def result(request: Request, job_id: str) -> Response:
    """Every score is kept, so another threshold costs no inference."""
    jobs, hold, wanted = jobs_of(request), hold_of(request), query_of(request, ResultQuery)
    job = await jobs.get(job_id, patience := hold.for_poll(wanted.wait))
    return await answers.result(job, jobs, patience, threshold=wanted.confidence_threshold, top_k=wanted.top_k)


@router.post(
    "/v1/jobs/{job_id}/cancel",
    summary="Cancel a job",
    response_model=JobView,
    responses={
        202: {"model": JobView, "description": "The job runs; its worker was asked to stop."},
        **problems(*_GONE, "job-already-finished", "validation-error"),
    },
    dependencies=[NoParameters],
)
async def cancel(job_id: str, jobs: JobRules) -> Response:
    """A repeat gets the same answer; a late result never overwrites a cancel."""
    job = await jobs.cancel(job_id)
    return await answers.canceled(job, jobs)


@router.post(
    "/v1/jobs/{job_id}/retry",
    status_code=202,
    summary="Try a job again that failed, was canceled or expired",
    response_model=JobView,
    responses=problems(*_GONE, "job-running", "input-gone", "model-not-found", "storage-full", "validation-error"),
    dependencies=[NoParameters],
)
async def retry(job_id: str, jobs: JobRules) -> Response:
    """As a new job that takes over the picture and all that was asked for. Asked again it is the same new job."""
    job = await jobs.retry(job_id)
    return await answers.accepted(job, jobs)


@router.delete(
    "/v1/jobs/{job_id}",
    status_code=204,
    summary="Erase a job, its picture and its result",
    responses=problems(*_GONE, "job-running", "validation-error"),
    dependencies=[NoParameters],
)
async def delete(job_id: str, jobs: JobRules) -> Response:
    """The id is unknown afterwards."""
    await jobs.delete(job_id)
    return Response(status_code=204)
