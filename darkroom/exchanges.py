"""What is said to the server, in which order, and what its answers mean: without a socket, a clock or a thread.

An exchange is a generator that yields requests and is sent their answers (or thrown `ConnectionFailed`); what it
returns is the call's result. `Client` and `AsyncClient` only carry the requests.
"""

import json
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypedDict, TypeVar
from urllib.parse import quote

import httpx2

from darkroom.errors import ConnectionLost, JobNotDone, UnexpectedAnswer, WaitTimeout
from darkroom.pictures import media_type
from darkroom.types import Classification, Job, JobPage, Priority, Status
from darkroom.wire import (
    classification_of,
    read_classification,
    read_error,
    read_job,
    read_page,
    read_status,
    retry_after,
)

LONGEST_WAIT_S: Final = 20.0
"""Longest that one request asks the server to hold its answer; proxies often cut at 30 s."""

_ATTEMPTS: Final = 3
_PAUSE_S: Final = 0.5
_PATIENCE_S: Final = 5.0

_OK: Final = 200
_ACCEPTED: Final = 202
_NO_CONTENT: Final = 204
_BUSY: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: to be sent `after_s` seconds from now, its answer may be held back for `wait_s` seconds."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    wait_s: float = 0.0
    after_s: float = 0.0


T = TypeVar("T")
Exchange: TypeAlias = Generator[Request, httpx2.Response, T]
Clock: TypeAlias = Callable[[], float]


class Wishes(TypedDict, total=False):
    """What may go with a picture; what is left out is the server's choice.

    `confidence_threshold` is 0..1 (0.5), `top_k` the most predictions wanted (all); `model` and `version` are those
    that serve; `queue_ttl_s` is how long the job may wait for a worker, `result_ttl_s` how long its record is kept
    after its end (an hour each); `metadata` comes back as it went, at most 4 KiB as JSON.
    """

    confidence_threshold: float
    top_k: int | None
    model: str | None
    version: str | None
    priority: Priority
    metadata: Mapping[str, Any] | None
    queue_ttl_s: int | None
    result_ttl_s: int | None


def submit(image: bytes, wishes: Wishes) -> Exchange[Job]:
    """A new job."""
    params: dict[str, Any] = {**wishes}
    if params.get("metadata") is not None:
        params["metadata"] = json.dumps(params["metadata"], separators=(",", ":"))
    response = yield Request(
        method="POST",
        path="/v1/jobs",
        params=_params(**params),
        headers={"Content-Type": media_type(image)},
        content=image,
    )
    return read_job(_expect(response, _ACCEPTED))


def classify(
    image: bytes, confidence_threshold: float, timeout_s: float, clock: Clock = time.monotonic
) -> Exchange[Classification]:
    """The final answer: held by the server for a while, then waited for as a job."""
    start = clock()
    hold = max(1, int(min(LONGEST_WAIT_S, timeout_s)))
    response = yield Request(
        method="POST",
        path="/predict",
        params=_params(confidence_threshold=confidence_threshold),
        headers={"Content-Type": media_type(image), "Prefer": f"wait={hold}"},
        content=image,
        wait_s=hold,
    )
    if _expect(response, _OK, _ACCEPTED).status_code == _OK:
        return read_classification(response)
    ended = yield from wait(read_job(response).id, timeout_s, clock, start=start)
    return classification_of(ended)


def look(job_id: str) -> Exchange[Job]:
    """A job as it stands."""
    response = yield from _get(_path(job_id))
    return read_job(_expect(response, _OK))


def wait(job_id: str, timeout_s: float, clock: Clock = time.monotonic, *, start: float | None = None) -> Exchange[Job]:
    """A job when it is done, by long waits."""
    deadline = (clock() if start is None else start) + timeout_s
    pause = 0.0
    while True:
        asked = clock() + pause
        hold = min(LONGEST_WAIT_S, max(0.0, deadline - asked))
        response = yield from _get(_path(job_id), {"wait": f"{hold:.3f}"}, wait_s=hold, after_s=pause)
        found = read_job(_expect(response, _OK))
        now = clock()
        if found.done:
            return found
        if now >= deadline:
            raise WaitTimeout(found, timeout_s)
        # A gateway that is about to stop answers early: it must not be asked in a tight circle.
        early = now < asked + hold
        pause = min(retry_after(response) or _PAUSE_S, deadline - now) if early else 0.0


def result(job_id: str, confidence_threshold: float | None, top_k: int | None) -> Exchange[Classification]:
    """A job's result, seen with another threshold or number of predictions if wanted."""
    response = yield from _get(_path(job_id, "result"), _params(confidence_threshold=confidence_threshold, top_k=top_k))
    if _expect(response, _OK, _ACCEPTED).status_code == _ACCEPTED:
        raise JobNotDone(read_job(response))
    return read_classification(response)


def cancel(job_id: str) -> Exchange[Job]:
    """The job as it stands after it was asked to stop."""
    response = yield Request(method="POST", path=_path(job_id, "cancel"))
    return read_job(_expect(response, _OK, _ACCEPTED))


def delete(job_id: str) -> Exchange[None]:
    """Input and result are gone."""
    response = yield Request(method="DELETE", path=_path(job_id))
    _expect(response, _NO_CONTENT)


def page(status: str | None, model: str | None, limit: int | None, cursor: str | None) -> Exchange[JobPage]:
    """A page of jobs."""
    response = yield from _get("/v1/jobs", _params(status=status, model=model, limit=limit, cursor=cursor))
    return read_page(_expect(response, _OK))


def status() -> Exchange[Status]:
    """The service at a glance."""
    response = yield from _get("/v1/status")
    return read_status(_expect(response, _OK))


def unready() -> Exchange[str | None]:
    """Why the service cannot classify now, in a sentence; None when it can."""
    response = yield Request(method="GET", path="/health/ready")
    refused = 503
    if _expect(response, _OK, refused).status_code == _OK:
        return None
    return str(read_error(response))


def _get(
    path: str, params: Mapping[str, str] | None = None, *, wait_s: float = 0.0, after_s: float = 0.0
) -> Exchange[httpx2.Response]:
    """GET, and again where the connection broke or the server asks for a little patience: asking twice is safe."""
    pause = after_s
    for attempts_left in reversed(range(_ATTEMPTS)):
        try:
            response = yield Request(method="GET", path=path, params=params or {}, wait_s=wait_s, after_s=pause)
        except ConnectionLost:
            if not attempts_left:
                raise
            pause = _PAUSE_S
            continue
        pause_wanted = retry_after(response) if response.status_code in _BUSY else None
        if pause_wanted is None or pause_wanted > _PATIENCE_S:
            break
        pause = pause_wanted
    return response


def _expect(response: httpx2.Response, *statuses: int) -> httpx2.Response:
    if response.status_code in statuses:
        return response
    if response.is_success:
        raise UnexpectedAnswer(response.status_code)
    raise read_error(response)


def _path(job_id: str, *rest: str) -> str:
    return "/".join(("/v1/jobs", quote(job_id, safe=""), *rest))


def _params(**values: float | str | None) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}


def id_of(job: Job | str) -> str:
    """The id of a job that was given as such or by its id."""
    return job.id if isinstance(job, Job) else job
