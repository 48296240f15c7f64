"""A picture in, its classes out, in one request."""

from fastapi import APIRouter, Response

from gateway import answers
from gateway.dependencies import CallerHold, CallerIdempotency, JobRules, PredictBody
from gateway.openapi import BODY_CODES, picture_body, problems
from gateway.schemas import ClassificationResponse, JobView, PayloadRequest, PredictOptions

router = APIRouter(tags=["predict"])


@router.post(
    "/predict",
    summary="Classify a picture and wait for the answer",
    response_model=ClassificationResponse,
    responses={
        202: {"model": JobView, "description": "The wait ran out; the job goes on at `Location`."},
        **problems(
            *BODY_CODES,
            "idempotency-key-reused",
            "job-expired",
            "job-not-found",
            "job-canceled",
            "deadline-exceeded",
            "decode-timeout",
            "out-of-memory",
            "inference-failed",
            "queue-full",
            "storage-full",
            "worker-crashed",
        ),
    },
    openapi_extra=picture_body(PayloadRequest, PredictOptions),
)
async def predict(idempotency: CallerIdempotency, picture: PredictBody, hold: CallerHold, jobs: JobRules) -> Response:
    """200 is the final answer. A caller that leaves does not cancel the job."""
    job = await jobs.classify(picture, idempotency, patience := hold.for_answer())
    return await answers.result(job, jobs, patience)
