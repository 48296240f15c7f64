"""What can go wrong for a caller, by what the caller can do about it.

DarkroomError
├── ConnectionFailed            no answer came: nobody listens, or not in time
│   └── ConnectionLost          the connection broke before the answer was there
├── UnexpectedAnswer            an answer came that is not Darkroom's
├── JobNotDone                  there is no result yet; carries `job`
│   └── WaitTimeout             and the patience given ran out
└── ApiError                    the server's own word; carries `problem`
    ├── InvalidRequest          mend the request
    │   └── TooLarge            … make it smaller; see `problem.limit`
    ├── NotAllowed              no key, or not with this one
    ├── NotFound                no such thing
    ├── Gone                    it was there, and its time has run out
    ├── Conflict                not in the state it is in
    ├── InvalidImage            this picture cannot be classified
    ├── JobCanceled             the job was canceled
    ├── DeadlineExceeded        no worker took the job in time
    ├── QuotaExceeded           slower, please; see `problem.retry_after_s`
    ├── Unavailable             try again later; see `problem.retry_after_s`
    └── ServerFault             the server is broken
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from darkroom.types import Job, Problem


class DarkroomError(Exception):
    """The root."""


class InvalidUrl(DarkroomError, ValueError):
    """The address given is not a URL of http or https."""

    def __init__(self, url: str) -> None:
        super().__init__(f"{url!r} is not a URL of http or https.")
        self.url = url


class ConnectionFailed(DarkroomError):
    """The server could not be reached, or did not answer in time. `url` is where it was looked for."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"No answer from {url}: {reason}.")
        self.url = url


class ConnectionLost(ConnectionFailed):
    """The connection broke before the answer was there; the request may or may not have been served."""


class UnexpectedAnswer(DarkroomError):
    """Something answered, and not as Darkroom does."""

    def __init__(self, status: int) -> None:
        super().__init__(f"The answer with status {status} is not one of Darkroom's: is this its address?")
        self.status = status


class JobNotDone(DarkroomError):
    """The job has no result yet. `job` is how it stood."""

    def __init__(self, job: Job, sentence: str | None = None) -> None:
        reason = job.queue.waiting_reason
        waiting = f"{job.status}, waiting for: {reason}" if reason else job.status
        super().__init__(f"{sentence or 'The job has not ended.'} It is {waiting}.")
        self.job = job


class WaitTimeout(JobNotDone):
    """The job did not end within the `timeout_s` seconds that were given. It goes on."""

    def __init__(self, job: Job, timeout_s: float) -> None:
        super().__init__(job, f"The job did not end within {timeout_s:g} s.")
        self.timeout_s = timeout_s


class ApiError(DarkroomError):
    """The server said no, or the job failed. A code this client does not know comes as this class."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title or problem.code)
        self.problem = problem


class InvalidRequest(ApiError):
    """The same request will fail again; `problem.errors` may name the fields."""


class TooLarge(InvalidRequest):
    """The request is over a limit; `problem.limit` and `problem.actual` are in the same unit."""


class NotAllowed(ApiError):
    """The caller is not known, or may not do this."""


class NotFound(ApiError):
    """There is nothing by that name, or it is somebody else's."""


class Gone(ApiError):
    """It was there, and its time has run out."""


class Conflict(ApiError):
    """The thing is in a state that does not allow the call."""


class InvalidImage(ApiError):
    """The picture cannot be classified, whoever tries."""


class JobCanceled(ApiError):
    """The job was canceled, so it has no result."""


class DeadlineExceeded(ApiError):
    """No worker took the job within its `queue_ttl_s`."""


class QuotaExceeded(ApiError):
    """Too many requests; wait for `problem.retry_after_s` seconds."""


class Unavailable(ApiError):
    """Not now; try again after `problem.retry_after_s` seconds."""


class ServerFault(ApiError):
    """The server's fault, not the picture's."""


_FAMILIES: Final[Mapping[type[ApiError], tuple[str, ...]]] = MappingProxyType(
    {
        InvalidRequest: (
            "bad-request",
            "method-not-allowed",
            "not-acceptable",
            "request-timeout",
            "uri-too-long",
            "headers-too-large",
            "unsupported-media-type",
            "validation-error",
            "idempotency-key-reused",
            "package-invalid",
            "webhook-url-not-allowed",
        ),
        TooLarge: ("payload-too-large", "batch-too-large"),
        NotAllowed: ("unauthorized", "forbidden"),
        NotFound: ("not-found", "job-not-found", "model-not-found"),
        Gone: ("job-expired", "input-gone"),
        Conflict: (
            "job-already-finished",
            "job-running",
            "swap-in-progress",
            "training-in-progress",
            "validation-failed",
            "validation-required",
        ),
        InvalidImage: (
            "invalid-image",
            "invalid-base64",
            "unsupported-image-format",
            "image-too-large",
            "decode-timeout",
            "out-of-memory",
        ),
        JobCanceled: ("job-canceled",),
        DeadlineExceeded: ("deadline-exceeded",),
        QuotaExceeded: ("quota-exceeded",),
        Unavailable: ("queue-full", "no-workers", "broker-unavailable", "storage-full", "worker-crashed"),
        ServerFault: ("inference-failed", "internal-error"),
    },
)
_BY_CODE: Final = {code: family for family, codes in _FAMILIES.items() for code in codes}


def error_of(problem: Problem) -> ApiError:
    """The typed error of a problem, by its code."""
    return _BY_CODE.get(problem.code, ApiError)(problem)
