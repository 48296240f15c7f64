"""Answers of the server → the client's types. Fields that are not known are passed over."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import httpx2

from darkroom.errors import ApiError, DarkroomError, UnexpectedAnswer, error_of
from darkroom.types import (
    Backlog,
    Classification,
    FieldProblem,
    Job,
    JobPage,
    Prediction,
    Problem,
    Queue,
    Serving,
    Status,
    Timings,
    Worker,
)


def read_job(response: httpx2.Response) -> Job:
    """A job.

    Raises: UnexpectedAnswer; this holds for all of these functions.
    """
    try:
        return _job(response.json())
    except _MALFORMED as error:
        raise UnexpectedAnswer(response.status_code) from error


def read_page(response: httpx2.Response) -> JobPage:
    """A page of jobs."""
    try:
        document = response.json()
        return JobPage(jobs=tuple(_job(item) for item in document["items"]), next_cursor=document["next_cursor"])
    except _MALFORMED as error:
        raise UnexpectedAnswer(response.status_code) from error


def read_classification(response: httpx2.Response) -> Classification:
    """A final answer; job, model and timings are in its headers."""
    try:
        document = response.json()
        job_id = response.headers.get("Content-Location", "").removeprefix("/v1/jobs/").partition("/")[0]
        return _classification(
            document,
            job_id=job_id or None,
            model=response.headers.get("X-Model"),
            timings=_server_timing(response.headers.get("Server-Timing", ""), document["latency_ms"]),
        )
    except _MALFORMED as error:
        raise UnexpectedAnswer(response.status_code) from error


def read_status(response: httpx2.Response) -> Status:
    """The service at a glance."""
    try:
        document = response.json()
        return Status(
            uptime_s=document["uptime_s"],
            serving=Serving(**_known(Serving, document["serving"])),
            jobs=document["jobs"],
            queue=Backlog(**_known(Backlog, document["queue"])),
            workers=tuple(Worker(**_known(Worker, worker)) for worker in document["workers"]),
        )
    except _MALFORMED as error:
        raise UnexpectedAnswer(response.status_code) from error


def read_error(response: httpx2.Response) -> DarkroomError:
    """What an answer that is no success means: an ApiError, or UnexpectedAnswer where it is not a problem."""
    if not response.headers.get("Content-Type", "").startswith("application/problem+json"):
        return UnexpectedAnswer(response.status_code)
    try:
        return error_of(_problem(response.json(), retry_after_s=retry_after(response)))
    except _MALFORMED:
        return UnexpectedAnswer(response.status_code)


def retry_after(response: httpx2.Response) -> float | None:
    """Seconds after which the server wants to be asked again, None where it does not say so in seconds."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None


def classification_of(job: Job) -> Classification:
    """The result of a job that is done.

    Raises: the typed error of a job that has none.
    """
    if job.result is not None:
        return job.result
    raise _failure(job)


def _failure(job: Job) -> ApiError:
    if job.error is not None:
        return error_of(job.error)
    if job.status == "canceled":
        detail = "The job was canceled, so it has no result."
        return error_of(Problem(code="job-canceled", status=409, title="The job was canceled", detail=detail))
    detail = f"The job has ended as {job.status}, without a result."
    return ApiError(Problem(code=job.status, status=500, title="The job has no result", detail=detail))


# What reading a document of another shape raises.
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError)


def _job(document: Mapping[str, Any]) -> Job:
    timings = Timings(**_known(Timings, document["timings"]))
    result, error = document["result"], document["error"]
    model = f"{document['model']}@{document['model_version']}"
    read = {
        "queue": Queue(**_known(Queue, document["queue"] or {})),
        "result": result and _classification(result, job_id=document["id"], model=model, timings=timings),
        "error": error and _problem(error),
        "timings": timings,
        **{name: _time(document[name]) for name in ("created_at", "started_at", "finished_at", "expires_at")},
    }
    return Job(**{**_known(Job, document), **read})


def _classification(document: Mapping[str, Any], **rest: Any) -> Classification:
    predictions = tuple(
        Prediction(label=item["label"], confidence=item["confidence"]) for item in document["predictions"]
    )
    return Classification(predictions=predictions, latency_ms=document["latency_ms"], **rest)


def _problem(document: Mapping[str, Any], *, retry_after_s: float | None = None) -> Problem:
    errors = tuple(FieldProblem(**_known(FieldProblem, item)) for item in document.get("errors", ()))
    return Problem(**{**_known(Problem, document), "errors": errors, "retry_after_s": retry_after_s})


def _server_timing(header: str, latency_ms: float) -> Timings:
    known = {field.name for field in fields(Timings)}
    found = {}
    for metric in header.split(","):
        name, _, duration = metric.strip().partition(";dur=")
        if f"{name}_ms" in known and duration:
            found[f"{name}_ms"] = float(duration)
    return Timings(**{**found, "latency_ms": latency_ms})


def _known(kind: type, document: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: document[field.name] for field in fields(kind) if field.name in document}


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
