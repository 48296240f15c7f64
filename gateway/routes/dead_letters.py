"""Look at the jobs that failed for good, and try them again."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from gateway import answers
from gateway.dependencies import JobRules, LetterRules, NoParameters, ReplayBody
from gateway.openapi import json_body, problems
from gateway.schemas import JobList, JobView, PageQuery, ReplayRequest, ReplayView

router = APIRouter(tags=["dead letters"])


@router.get(
    "/v1/dead-letters",
    summary="List jobs that failed for good and were not tried again, newest first",
    response_model=JobList,
    responses=problems("validation-error"),
)
async def list_letters(query: Annotated[PageQuery, Query()], letters: LetterRules, jobs: JobRules) -> Response:
    """Those that lost their workers, used up their repeats or met a fault of ours; a bad picture is none."""
    page = await letters.page(query)
    return await answers.listing(page, jobs)


@router.post(
    "/v1/dead-letters/replay",
    status_code=202,
    summary="Try many dead letters again, the newest first",
    response_model=ReplayView,
    responses=problems(
        "bad-request", "payload-too-large", "unsupported-media-type", "validation-error", "queue-full", "storage-full"
    ),
    openapi_extra=json_body(ReplayRequest),
    dependencies=[NoParameters],
)
async def replay_all(wanted: ReplayBody, letters: LetterRules) -> Response:
    """Each as a new job. After an error ask again: what was replayed is no dead letter any more."""
    replay = await letters.replay_all(wanted)
    return answers.replayed(replay)


@router.post(
    "/v1/dead-letters/{job_id}/replay",
    status_code=202,
    summary="Try a dead letter again",
    response_model=JobView,
    responses=problems(
        "job-not-found", "job-expired", "input-gone", "model-not-found", "storage-full", "validation-error"
    ),
    dependencies=[NoParameters],
)
async def replay(job_id: str, letters: LetterRules, jobs: JobRules) -> Response:
    """As a new job that takes over the picture. Asked again it is the same new job."""
    job = await letters.replay(job_id)
    return await answers.accepted(job, jobs)
