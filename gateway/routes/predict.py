"""A picture in, its classes out, in one request."""

from fastapi import APIRouter, Request, Response

from gateway import answers
from gateway.dependencies import hold_of, idempotency_of, jobs_of, predict_body, share_of
from gateway.openapi import BODY_CODES, IDEMPOTENCY_KEY, PREFER, picture_body, problems
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
    openapi_extra=picture_body(PayloadRequest, PredictOptions, IDEMPOTENCY_KEY, PREFER),
)
async def predict(request: Request) -> Response:
    """200 is the final answer. A caller that leaves does not cancel the job."""
    jobs, hold, idempotency = jobs_of(request), hold_of(request), idempotency_of(request)
    with share_of(request) as share:
        picture = await predict_body(request, share)
        job = await jobs.classify(picture, idempotency, patience := hold.for_answer())
    return await answers.result(job, jobs, patience)
