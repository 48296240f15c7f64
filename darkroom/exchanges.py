"""What is said to the server, in which order, and what its answers mean: without a socket, a clock or a thread.

An exchange is a generator that yields requests and is sent their answers (or thrown `ConnectionFailed`); what it
returns is the call's result. `Client` and `AsyncClient` only carry the requests.
"""

import json
import math
import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias, TypedDict, TypeVar
from urllib.parse import quote

import httpx2

from darkroom.errors import ConnectionLost, JobNotDone, JobNotFound, UnexpectedAnswer, WaitTimeout
from darkroom.pictures import media_type
from darkroom.types import Classification, Job, JobPage, Priority, Replay, Status
from darkroom.wire import (
    classification_of,
    read_classification,
    read_error,
    read_job,
    read_page,
    read_replay,
    read_status,
    retry_after,
)

LONGEST_WAIT_S: Final = 20.0
"""Longest that one request asks the server to hold its answer; proxies often cut at 30 s."""

_PAUSE_S: Final = 0.5
_PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0)
_PATIENCE_S: Final = 5.0

_OK: Final = 200
_ACCEPTED: Final = 202
_NO_CONTENT: Final = 204
_BUSY: Final = frozenset({429, 502, 503, 504})


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a request is sent again at most, and when; `chance` is a source of numbers in 0..1.

    Raises: ValueError for retries below 0.
    """

    retries: int = 2
    chance: Callable[[], float] = random.random
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        """See the class."""
        if self.retries < 0:
            raise ValueError(f"{self.retries} retries cannot be: it must be 0 or more.")

    def pause_s(self, sent: int) -> float:
        """Seconds before what was sent so often is sent again: doubling up to 4, up to half of it left to chance.

        Source: M. Brooker, Exponential Backoff And Jitter, 2015.
        """
        return _PAUSES_S[min(sent, len(_PAUSES_S)) - 1] * (1 + self.chance()) / 2

    def asked_pause_s(self, sent: int, wanted_s: float) -> float:
        """The same where the server asks for `wanted_s`: not less, and up to a quarter more, left to chance."""
        return max(self.pause_s(sent), wanted_s * (1 + self.chance() / 4))

    def deadline(self, timeout_s: float) -> float:
        """When that many seconds from now are over, by this clock.

        Raises: ValueError for less than 0.
        """
        if not timeout_s >= 0:
            raise ValueError(f"A timeout of {timeout_s} s cannot be: it must be 0 or more.")
        return self.clock() + timeout_s


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


def submit(image: bytes, wishes: Wishes, idempotency_key: str, pace: Pace) -> Exchange[Job]:
    """A new job."""
    params: dict[str, Any] = {**wishes}
    if params.get("metadata") is not None:
        params["metadata"] = json.dumps(params["metadata"], separators=(",", ":"))
    request = Request(
        method="POST",
        path="/v1/jobs",
        params=_params(**params),
        headers={"Content-Type": media_type(image), "Idempotency-Key": _quoted(idempotency_key)},
        content=image,
    )
    response = yield from _ask(request, pace)
    return read_job(_expect(response, _ACCEPTED))


def classify(
    image: bytes,
    confidence_threshold: float,
    timeout_s: float,
    idempotency_key: str,
    pace: Pace,
) -> Exchange[Classification]:
    """The final answer: held by the server for a while, then waited for as a job."""
    deadline = pace.deadline(timeout_s)

    def predict(pause_s: float) -> Request:
        hold = int(min(LONGEST_WAIT_S, max(0.0, deadline - pace.clock() - pause_s)))
        return Request(
            method="POST",
            path="/predict",
            params=_params(confidence_threshold=confidence_threshold),
            headers={
                "Content-Type": media_type(image),
                "Idempotency-Key": _quoted(idempotency_key),
                "Prefer": f"wait={hold}",
            },
            content=image,
            wait_s=hold,
            after_s=pause_s,
        )

    answered = yield from _answered(predict, pace, left=lambda: deadline - pace.clock())
    response = _expect(answered.response, _OK, _ACCEPTED)
    if response.status_code == _OK:
        return read_classification(response)
    ended = yield from wait(read_job(response).id, timeout_s, pace, deadline=deadline)
    return classification_of(ended)


def look(job_id: str, pace: Pace) -> Exchange[Job]:
    """A job as it stands."""
    response = yield from _get(_path(job_id), pace)
    return read_job(_expect(response, _OK))


def wait(
    job_id: str,
    timeout_s: float,
    pace: Pace,
    *,
    deadline: float | None = None,
) -> Exchange[Job]:
    """A job when it is done, by long waits."""
    end = pace.deadline(timeout_s) if deadline is None else deadline
    due = 0.0

    def poll(pause_s: float) -> Request:
        nonlocal due
        asked = pace.clock() + pause_s
        hold = min(LONGEST_WAIT_S, max(0.0, end - asked))
        due = asked + hold
        return Request(method="GET", path=_path(job_id), params={"wait": f"{hold:.3f}"}, wait_s=hold, after_s=pause_s)

    pause = 0.0
    while True:
        answered = yield from _answered(poll, pace, left=lambda: end - pace.clock(), pause_s=pause)
        found = read_job(_expect(answered.response, _OK))
        now = pace.clock()
        if found.done:
            return found
        if now >= end:
            raise WaitTimeout(found, timeout_s)
        # A gateway that is about to stop answers early: it must not be asked in a tight circle.
        pause = min(retry_after(answered.response) or _PAUSE_S, end - now) if now < due else 0.0


def result(job_id: str, confidence_threshold: float | None, top_k: int | None, pace: Pace) -> Exchange[Classification]:
    """A job's result, seen with another threshold or number of predictions if wanted."""
    params = _params(confidence_threshold=confidence_threshold, top_k=top_k)
    response = yield from _get(_path(job_id, "result"), pace, params)
    if _expect(response, _OK, _ACCEPTED).status_code == _ACCEPTED:
        raise JobNotDone(read_job(response))
    return read_classification(response)


def cancel(job_id: str, pace: Pace) -> Exchange[Job]:
    """The job as it stands after it was asked to stop."""
    response = yield from _ask(Request(method="POST", path=_path(job_id, "cancel")), pace)
    return read_job(_expect(response, _OK, _ACCEPTED))


def retry(job_id: str, pace: Pace) -> Exchange[Job]:
    """The new job for the picture of one that failed, was canceled or expired; asked twice it is the same."""
    response = yield from _ask(Request(method="POST", path=_path(job_id, "retry")), pace)
    return read_job(_expect(response, _ACCEPTED))


def delete(job_id: str, pace: Pace) -> Exchange[None]:
    """Input and result are gone."""
    request = Request(method="DELETE", path=_path(job_id))
    answered = yield from _answered(lambda pause_s: replace(request, after_s=pause_s), pace)
    try:
        _expect(answered.response, _NO_CONTENT)
    except JobNotFound:
        # An earlier one may be what erased it: its answer was lost, or the server's own.
        if not answered.repeated:
            raise


def page(status: str | None, model: str | None, limit: int | None, cursor: str | None, pace: Pace) -> Exchange[JobPage]:
    """A page of jobs."""
    response = yield from _get("/v1/jobs", pace, _params(status=status, model=model, limit=limit, cursor=cursor))
    return read_page(_expect(response, _OK))


def letters(limit: int | None, cursor: str | None, pace: Pace) -> Exchange[JobPage]:
    """A page of dead letters."""
    response = yield from _get("/v1/dead-letters", pace, _params(limit=limit, cursor=cursor))
    return read_page(_expect(response, _OK))


def replay(job_id: str, pace: Pace) -> Exchange[Job]:
    """The new job for a dead letter; asked twice it is the same."""
    path = f"/v1/dead-letters/{quote(job_id, safe='')}/replay"
    response = yield from _ask(Request(method="POST", path=path), pace)
    return read_job(_expect(response, _ACCEPTED))


def replay_all(limit: int, rate_per_s: float | None) -> Exchange[Replay]:
    """New jobs for many dead letters. It is sent once: a second time it would be for the next ones."""
    request = Request(
        method="POST",
        path="/v1/dead-letters/replay",
        headers={"Content-Type": "application/json"},
        content=json.dumps({"limit": limit, "rate_per_s": rate_per_s}).encode(),
        wait_s=LONGEST_WAIT_S,
    )
    response = yield request
    return read_replay(_expect(response, _ACCEPTED))


def status(pace: Pace) -> Exchange[Status]:
    """The service at a glance."""
    response = yield from _get("/v1/status", pace)
    return read_status(_expect(response, _OK))


def unready() -> Exchange[str | None]:
    """Why the service cannot classify now, in a sentence; None when it can."""
    response = yield Request(method="GET", path="/health/ready")
    refused = 503
    if _expect(response, _OK, refused).status_code == _OK:
        return None
    return str(read_error(response))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answered:
    """An answer; `repeated` when the same request had been sent before."""

    response: httpx2.Response
    repeated: bool


def _answered(
    request: Callable[[float], Request],
    pace: Pace,
    *,
    left: Callable[[], float] = lambda: math.inf,
    pause_s: float = 0.0,
) -> Exchange[_Answered]:
    """The answer to a request, which is made from the seconds after which it is to be sent.

    It is sent again where the connection broke or the server asks for a little patience, if so much time is `left`.
    Safe for what may be sent twice: a GET, a cancel, a DELETE, and a POST with an idempotency key.
    """
    sent = 0
    while True:
        sent += 1
        last = sent > pace.retries
        try:
            response = yield request(pause_s)
        except ConnectionLost:
            pause_s = pace.pause_s(sent)
            if last or pause_s > left():
                raise
        else:
            wanted = _pause_wanted(response)
            if last or wanted is None or wanted > min(_PATIENCE_S, left()):
                return _Answered(response=response, repeated=sent > 1)
            pause_s = min(pace.asked_pause_s(sent, wanted), left())


def _ask(request: Request, pace: Pace) -> Exchange[httpx2.Response]:
    answered = yield from _answered(lambda pause_s: replace(request, after_s=pause_s), pace)
    return answered.response


def _get(path: str, pace: Pace, params: Mapping[str, str] | None = None) -> Exchange[httpx2.Response]:
    return (yield from _ask(Request(method="GET", path=path, params=params or {}), pace))


def _pause_wanted(response: httpx2.Response) -> float | None:
    # An answer that names its job is how that job has failed, and will be the same for ever.
    if response.status_code not in _BUSY or "Content-Location" in response.headers:
        return None
    return retry_after(response)


def _expect(response: httpx2.Response, *statuses: int) -> httpx2.Response:
    if response.status_code in statuses:
        return response
    if response.is_success:
        raise UnexpectedAnswer(response.status_code)
    raise read_error(response)


def _path(job_id: str, *rest: str) -> str:
    return "/".join(("/v1/jobs", quote(job_id, safe=""), *rest))


def _quoted(key: str) -> str:
    # A string as RFC 9651 has it. Bare, a key that has quotes of its own would be taken for the one between them.
    escaped = key.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def _params(**values: float | str | None) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}


def id_of(job: Job | str) -> str:
    """The id of a job that was given as such or by its id."""
    return job.id if isinstance(job, Job) else job
