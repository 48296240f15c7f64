"""What can go wrong for a caller, by what the caller can do about it.

DarkroomError
├── InvalidUrl                  (a ValueError) the client was given no address
├── InvalidKey                  (a ValueError) … or a key that no header can carry
├── InvalidSurroundings         (a ValueError) … or its environment names a proxy or certificates that are of no use
├── ConnectionFailed            no answer came: nobody listens
│   ├── ConnectionLost          … the connection broke before the answer was there
│   └── AnswerTimeout           … or somebody listens, and the answer did not come in time
├── UnexpectedAnswer            an answer came that is not Darkroom's
├── JobNotDone                  there is no result yet; carries `job`
│   └── WaitTimeout             and the patience given ran out
└── ApiError                    the server's own word; carries `problem`
    ├── InvalidRequest          mend the request
    │   ├── BadRequest, MethodNotAllowed, NotAcceptable, RequestTimeout, UriTooLong, HeadersTooLarge,
    │   │   UnsupportedMediaType, ValidationError, IdempotencyKeyReused, PackageInvalid, WebhookUrlNotAllowed
    │   └── TooLarge            … make it smaller; see `problem.limit`
    │       └── PayloadTooLarge, BatchTooLarge
    ├── NotAllowed              no key, or not with this one
    │   └── Unauthorized, Forbidden
    ├── NotFound                no such thing
    │   └── JobNotFound, ModelNotFound, NothingHere
    ├── Gone                    it was there, and its time has run out
    │   └── JobExpired, InputGone
    ├── Conflict                not in the state it is in
    │   └── JobAlreadyFinished, JobRunning, SwapInProgress, TrainingInProgress, ValidationFailed, ValidationRequired
    ├── InvalidImage            this picture cannot be classified
    │   └── BrokenImage, UnsupportedImageFormat, ImageTooLarge, InvalidBase64, DecodeTimeout, OutOfMemory
    ├── JobCanceled             the job was canceled
    ├── DeadlineExceeded        no worker took the job in time
    ├── QuotaExceeded           slower, please; see `problem.retry_after_s`
    ├── Unavailable             try again later; see `problem.retry_after_s`
    │   └── QueueFull, NoWorkers, BrokerUnavailable, StorageFull, WorkerCrashed
    └── ServerFault             the server is broken
        └── InferenceFailed, InternalError
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

from darkroom.types import Job, Problem

_BY_CODE: Final[dict[str, "type[ApiError]"]] = {}

# As far as the last @: what is no URL may have a password with any sign in it.
_USERINFO: Final = re.compile(r"^([a-z][a-z0-9+.-]*://)?.*@", re.IGNORECASE | re.DOTALL)


class DarkroomError(Exception):
    """The root. A picture's path that cannot be read is the one error that is none of these: it is an `OSError`.

    Catch what you can do something about:

    >>> try:
    ...     client.classify(b"no picture at all")
    ... except InvalidImage as error:
    ...     print(type(error).__name__, error.problem.code, error.problem.retryable)
    UnsupportedImageFormat unsupported-image-format False

    Every error can be pickled, so that it crosses from one process to another.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """The parts to make it from again: what it was made from is no longer known."""
        return _made_again, (type(self), self.args), self.__dict__


class InvalidUrl(DarkroomError, ValueError):
    """The address given is not a URL of http or https. `url` is the address without name and password."""

    def __init__(self, url: str) -> None:
        self.url = _USERINFO.sub(r"\1***@", url)
        super().__init__(f"{self.url!r} is not a URL of http or https, like http://localhost:8000.")


class InvalidKey(DarkroomError, ValueError):
    """A key that no header can carry. The message does not repeat it."""


class InvalidSurroundings(DarkroomError, ValueError):
    """The environment names a proxy or certificates that are of no use. The message does not repeat them."""


class ConnectionFailed(DarkroomError):
    """The server could not be reached. `url` is where it was looked for."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"No answer from {url}: {reason}.")
        self.url = url


class ConnectionLost(ConnectionFailed):
    """The connection broke before the answer was there; the request may or may not have been served."""


class AnswerTimeout(ConnectionFailed):
    """The server was reached, and did not answer in time; the request may or may not have been served."""


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
        super().__init__(f"{sentence or 'The job has not ended.'} It is {waiting} ({job.id}).")
        self.job = job


class WaitTimeout(JobNotDone):
    """The job did not end within the `timeout_s` seconds that were given. It goes on."""

    def __init__(self, job: Job, timeout_s: float) -> None:
        super().__init__(job, f"The job did not end within {timeout_s:g} s.")
        self.timeout_s = timeout_s


class ApiError(DarkroomError):
    """The server said no, or the job failed. A code this client does not know comes as its family, or as this class."""

    code: ClassVar[str | None] = None
    """The one code that the class stands for; None for a family. What the server said is in `problem.code`."""

    def __init_subclass__(cls, code: str | None = None) -> None:
        super().__init_subclass__()
        if code is not None:
            cls.code = code
            _BY_CODE[code] = cls

    def __init__(self, problem: Problem) -> None:
        sentence = problem.detail or problem.title or problem.code
        super().__init__(" ".join([sentence, *(f"{fault.pointer}: {fault.detail}" for fault in problem.errors)]))
        self.problem = problem


class InvalidRequest(ApiError):
    """The same request will fail again; `problem.errors` may name the fields."""


class BadRequest(InvalidRequest, code="bad-request"):
    """The request cannot be understood."""


class MethodNotAllowed(InvalidRequest, code="method-not-allowed"):
    """The path has no such method."""


class NotAcceptable(InvalidRequest, code="not-acceptable"):
    """The answer has no form that the request accepts."""


class RequestTimeout(InvalidRequest, code="request-timeout"):
    """The request took too long to come."""


class UriTooLong(InvalidRequest, code="uri-too-long"):
    """The address is too long."""


class HeadersTooLarge(InvalidRequest, code="headers-too-large"):
    """The headers are too large."""


class UnsupportedMediaType(InvalidRequest, code="unsupported-media-type"):
    """The body is of a type that is not read there."""


class ValidationError(InvalidRequest, code="validation-error"):
    """A field is missing, unknown or out of its range; see `problem.errors`."""


class IdempotencyKeyReused(InvalidRequest, code="idempotency-key-reused"):
    """The idempotency key stands for another picture, model or threshold."""


class PackageInvalid(InvalidRequest, code="package-invalid"):
    """The model package is not valid."""


class WebhookUrlNotAllowed(InvalidRequest, code="webhook-url-not-allowed"):
    """That address may not be called."""


class TooLarge(InvalidRequest):
    """The request is over a limit; `problem.limit` and `problem.actual` are in the same unit."""


class PayloadTooLarge(TooLarge, code="payload-too-large"):
    """The picture's file has more bytes than the server takes."""


class BatchTooLarge(TooLarge, code="batch-too-large"):
    """More pictures in one request than the server takes."""


class NotAllowed(ApiError):
    """The caller is not known, or may not do this."""


class Unauthorized(NotAllowed, code="unauthorized"):
    """The key is missing or wrong."""


class Forbidden(NotAllowed, code="forbidden"):
    """Not with this key, or not from there."""


class NotFound(ApiError):
    """There is nothing by that name, or it is somebody else's."""


class JobNotFound(NotFound, code="job-not-found"):
    """There never was such a job, or it was deleted, or it is somebody else's."""


class ModelNotFound(NotFound, code="model-not-found"):
    """No such model, or not in that version."""


class NothingHere(NotFound, code="not-found"):
    """The server has nothing at that path."""


class Gone(ApiError):
    """It was there, and its time has run out."""


class JobExpired(Gone, code="job-expired"):
    """The job's record has run out."""


class InputGone(Gone, code="input-gone"):
    """The job's picture was erased, so the job cannot be tried again."""


class Conflict(ApiError):
    """The thing is in a state that does not allow the call."""


class JobAlreadyFinished(Conflict, code="job-already-finished"):
    """The job has ended, so it cannot be canceled."""


class JobRunning(Conflict, code="job-running"):
    """The call needs a job in another state: one to delete must not run, one to try again has failed or the like."""


class SwapInProgress(Conflict, code="swap-in-progress"):
    """The model is being changed."""


class TrainingInProgress(Conflict, code="training-in-progress"):
    """A training is under way."""


class ValidationFailed(Conflict, code="validation-failed"):
    """The model's version did not pass its checks."""


class ValidationRequired(Conflict, code="validation-required"):
    """The model's version was not checked yet."""


class InvalidImage(ApiError):
    """The picture cannot be classified, whoever tries."""


class BrokenImage(InvalidImage, code="invalid-image"):
    """The picture cannot be decoded, or is empty."""


class UnsupportedImageFormat(InvalidImage, code="unsupported-image-format"):
    """These bytes are no picture, or one of a format that is not read."""


class ImageTooLarge(InvalidImage, code="image-too-large"):
    """The picture has too many pixels, or too long a side; see `problem.limit`."""


class InvalidBase64(InvalidImage, code="invalid-base64"):
    """The text is not base64."""


class DecodeTimeout(InvalidImage, code="decode-timeout"):
    """The picture takes too long to decode."""


class OutOfMemory(InvalidImage, code="out-of-memory"):
    """The picture takes too much memory to decode."""


class JobCanceled(ApiError, code="job-canceled"):
    """The job was canceled, so it has no result."""


class DeadlineExceeded(ApiError, code="deadline-exceeded"):
    """No worker took the job within its `queue_ttl_s`."""


class QuotaExceeded(ApiError, code="quota-exceeded"):
    """Too many requests; wait for `problem.retry_after_s` seconds."""


class Unavailable(ApiError):
    """Not now; try again after `problem.retry_after_s` seconds."""


class QueueFull(Unavailable, code="queue-full"):
    """As many jobs wait as may."""


class NoWorkers(Unavailable, code="no-workers"):
    """No worker is alive."""


class BrokerUnavailable(Unavailable, code="broker-unavailable"):
    """The server cannot reach its Redis."""


class StorageFull(Unavailable, code="storage-full"):
    """The server has no room for more jobs."""


class WorkerCrashed(Unavailable, code="worker-crashed"):
    """Workers were lost over this job until its attempts were used up. It has ended; a new one may fare better."""


class ServerFault(ApiError):
    """The server's fault, not the picture's."""


class InferenceFailed(ServerFault, code="inference-failed"):
    """The model failed."""


class InternalError(ServerFault, code="internal-error"):
    """Something broke in the server."""


_BY_STATUS: Final[Mapping[int, type[ApiError]]] = MappingProxyType(
    {
        400: InvalidRequest,
        401: NotAllowed,
        403: NotAllowed,
        404: NotFound,
        405: InvalidRequest,
        406: InvalidRequest,
        408: InvalidRequest,
        409: Conflict,
        410: Gone,
        413: TooLarge,
        414: InvalidRequest,
        415: InvalidRequest,
        422: InvalidRequest,
        429: QuotaExceeded,
        431: InvalidRequest,
        500: ServerFault,
        502: Unavailable,
        503: Unavailable,
        504: Unavailable,
    },
)


def _made_again(kind: type[DarkroomError], words: tuple[Any, ...]) -> DarkroomError:
    return kind.__new__(kind, *words)


def error_of(problem: Problem) -> ApiError:
    """The typed error of a problem: by its code, or by its status where this client does not know the code."""
    return _BY_CODE.get(problem.code, _BY_STATUS.get(problem.status, ApiError))(problem)
