"""Answers of the server → the client's types. Fields that are not known are passed over."""

import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from functools import cache
from types import MappingProxyType, UnionType
from typing import Any, Final, NoReturn, get_args, get_origin

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
    Replay,
    Replayed,
    Serving,
    Status,
    Timings,
    Worker,
)

_UNAVAILABLE: Final = frozenset({502, 503, 504})

# Of a field's type, the types that JSON's reader makes of what may stand there.
_READ_AS: Final[Mapping[Any, frozenset[type]]] = MappingProxyType(
    {
        str: frozenset({str}),
        bool: frozenset({bool}),
        int: frozenset({int}),
        float: frozenset({int, float}),
        Mapping: frozenset({dict}),
        type(None): frozenset({type(None)}),
    }
)


def read_job(response: httpx2.Response) -> Job:
    """A job.

    Raises: UnexpectedAnswer; this holds for all of these functions.
    """
    try:
        return _job(_document(response))
    except _MALFORMED as error:
        raise UnexpectedAnswer(response.status_code) from error


def read_page(response: httpx2.Response) -> JobPage:
    """A page of jobs."""
    try:
        document = _document(response)
        jobs = tuple(_job(item) for item in _list(document["items"]))
        return JobPage(**{**_known(JobPage, document), "jobs": jobs})
    except _MALFORMED as error:
        raise UnexpectedAnswer(response.status_code) from error


def read_replay(response: httpx2.Response) -> Replay:
    """What became of many dead letters."""
    try:
        document = _document(response)
        replayed = tuple(Replayed(**_known(Replayed, item)) for item in _list(document["replayed"]))
        return Replay(**{**_known(Replay, document), "replayed": replayed})
    except _MALFORMED as error:
        raise UnexpectedAnswer(response.status_code) from error


def read_classification(response: httpx2.Response) -> Classification:
    """A final answer; job, model and timings are in its headers."""
    try:
        document = _document(response)
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
        document = _document(response)
        if not {*map(type, document["jobs"].values())} <= _READ_AS[int]:
            raise TypeError("jobs")
        read = {
            "serving": Serving(**_known(Serving, document["serving"])),
            "queue": Backlog(**_known(Backlog, document["queue"])),
            "workers": tuple(Worker(**_known(Worker, worker)) for worker in _list(document["workers"])),
        }
        return Status(**{**_known(Status, document), **read})
    except _MALFORMED as error:
        raise UnexpectedAnswer(response.status_code) from error


def read_error(response: httpx2.Response) -> DarkroomError:
    """What an answer that is no success means: an ApiError, or UnexpectedAnswer where it is not a problem.

    A proxy that has no answer of Darkroom's says so in its own way; that is `Unavailable` too.
    """
    if response.headers.get("Content-Type", "").startswith("application/problem+json"):
        try:
            return error_of(_problem(_document(response), retry_after_s=retry_after(response)))
        except _MALFORMED:
            pass
    if response.status_code in _UNAVAILABLE:
        return error_of(_proxys_problem(response))
    return UnexpectedAnswer(response.status_code)


def retry_after(response: httpx2.Response) -> float | None:
    """Seconds after which the server wants to be asked again, None where it does not say so in seconds."""
    text = response.headers.get("Retry-After", "")
    # More than a float holds is no time at all.
    return float(text) if text.isascii() and text.isdigit() and math.isfinite(float(text)) else None


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
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


def _document(response: httpx2.Response) -> Any:
    return response.json(parse_float=_finite, parse_constant=_refused)


def _finite(text: str) -> float:
    found = float(text)
    return found if math.isfinite(found) else _refused(text)


def _refused(text: str) -> NoReturn:
    raise ValueError(f"{text} is no finite number")


def _job(document: Mapping[str, Any]) -> Job:
    timings = Timings(**_known(Timings, document["timings"]))
    result, error = document["result"], document["error"]
    model = f"{document['model']}@{document['model_version']}"
    read = {
        "queue": Queue() if document["queue"] is None else Queue(**_known(Queue, document["queue"])),
        "result": None
        if result is None
        else _classification(result, job_id=document["id"], model=model, timings=timings),
        "error": None if error is None else _problem(error),
        "timings": timings,
        **{name: _time(document[name]) for name in ("created_at", "started_at", "finished_at", "expires_at")},
    }
    return Job(**{**_known(Job, document), **read})


def _classification(document: Mapping[str, Any], **rest: Any) -> Classification:
    predictions = tuple(Prediction(**_known(Prediction, item)) for item in _list(document["predictions"]))
    latency = _known(Classification, {"latency_ms": document["latency_ms"]})
    return Classification(**latency, predictions=predictions, **rest)


def _problem(document: Mapping[str, Any], *, retry_after_s: float | None = None) -> Problem:
    errors = tuple(FieldProblem(**_known(FieldProblem, item)) for item in _list(document.get("errors", [])))
    return Problem(**{**_known(Problem, document), "errors": errors, "retry_after_s": retry_after_s})


def _proxys_problem(response: httpx2.Response) -> Problem:
    status = response.status_code
    return Problem(
        code="unavailable",
        status=status,
        title="Darkroom is not available",
        detail=f"The answer with status {status} is not one of Darkroom's: a proxy in front does not reach it now.",
        retryable=True,
        retry_after_s=retry_after(response),
    )


def _server_timing(header: str, latency_ms: float) -> Timings:
    known = {field.name for field in fields(Timings)}
    found = {}
    for metric in header.split(","):
        name, _, duration = metric.strip().partition(";dur=")
        if f"{name}_ms" in known and duration:
            found[f"{name}_ms"] = _finite(duration)
    return Timings(**{**found, "latency_ms": latency_ms})


def _known(kind: type, document: Mapping[str, Any]) -> dict[str, Any]:
    if type(document) is not dict:
        raise TypeError(kind.__name__)
    found = {name: document[name] for name in _names(kind) if name in document}
    for name, types in _plain(kind).items():
        if name in found and type(found[name]) not in types:
            raise TypeError(name)
    return found


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


@cache
def _plain(kind: type) -> Mapping[str, frozenset[type]]:
    # The fields whose values are handed on as they were read.
    found = {}
    for field in fields(kind):
        wanted = [get_origin(part) or part for part in _alternatives(field.type)]
        if all(part in _READ_AS for part in wanted):
            found[field.name] = frozenset().union(*(_READ_AS[part] for part in wanted))
    return MappingProxyType(found)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is UnionType else (annotation,)


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise TypeError("no list")
    return value


def _time(text: str | None) -> datetime | None:
    found = None if text is None else datetime.fromisoformat(text)
    if found is not None and found.tzinfo is None:
        raise ValueError("a time of no zone")
    return found
