"""Whose fault an error is. This tree knows no HTTP: the gateway maps `code` to a problem, the worker to a retry rule.

DarkroomError
├── UsageError                  the caller's fault; never retried, wakes nobody
│   ├── BadRequest              bad-request
│   ├── Unauthorized            unauthorized
│   ├── Forbidden               forbidden
│   ├── NotFound                not-found
│   │   ├── JobNotFound         job-not-found
│   │   └── ModelNotFound       model-not-found
│   ├── JobExpired              job-expired
│   ├── DeadlineExceeded        deadline-exceeded
│   ├── JobAlreadyFinished      job-already-finished
│   ├── JobCanceled             job-canceled
│   ├── JobRunning              job-running
│   ├── InputGone               input-gone
│   ├── InvalidRequest          validation-error
│   ├── InvalidBase64           invalid-base64
│   ├── InvalidImage            invalid-image
│   │   └── DecoderCrashed      invalid-image
│   ├── DecodeTimeout           decode-timeout
│   ├── OutOfMemory             out-of-memory
│   ├── IdempotencyKeyReused    idempotency-key-reused
│   ├── UnsupportedMediaType    unsupported-media-type
│   ├── UnsupportedImageFormat  unsupported-image-format
│   └── TooLarge                carries `limit` and `actual`
│       ├── PayloadTooLarge     payload-too-large
│       └── ImageTooLarge       image-too-large
├── TransientError              passes by itself; carries `retry_after_s`
│   ├── BrokerUnavailable       broker-unavailable
│   ├── StorageFull             storage-full
│   ├── QueueFull               queue-full
│   ├── NoWorkers               no-workers
│   └── WorkerCrashed           worker-crashed
└── FatalError                  ours; somebody must look
    ├── InternalError           internal-error
    └── InferenceFailed         inference-failed
"""

from typing import ClassVar


class DarkroomError(Exception):
    """The root. `detail` is one sentence for the caller and never repeats the caller's input."""

    code: ClassVar[str] = "internal-error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class UsageError(DarkroomError):
    """The caller can mend it; the same request will fail again."""

    code = "bad-request"


class BadRequest(UsageError):
    """The request cannot be understood."""


class Unauthorized(UsageError):
    """The request has no key, or a wrong one."""

    code = "unauthorized"


class Forbidden(UsageError):
    """The request may not be made from where it comes."""

    code = "forbidden"


class NotFound(UsageError):
    """There is nothing here."""

    code = "not-found"


class JobNotFound(NotFound):
    """No such job, or it was deleted, or it belongs to somebody else."""

    code = "job-not-found"


class ModelNotFound(NotFound):
    """No such model or version."""

    code = "model-not-found"


class JobExpired(UsageError):
    """The job was here, and its record has run out."""

    code = "job-expired"


class DeadlineExceeded(UsageError):
    """No worker took the job within its `queue_ttl_s`."""

    code = "deadline-exceeded"


class JobAlreadyFinished(UsageError):
    """A finished job cannot be canceled."""

    code = "job-already-finished"


class JobCanceled(UsageError):
    """The job was canceled, so it has no result."""

    code = "job-canceled"


class JobRunning(UsageError):
    """The call needs a job that no worker is working on."""

    code = "job-running"


class InputGone(UsageError):
    """The job's picture was erased, so the job cannot be tried again."""

    code = "input-gone"


class InvalidRequest(UsageError):
    """The request has the wrong shape. `errors` is a tuple of (JSON pointer, sentence) pairs."""

    code = "validation-error"

    def __init__(self, detail: str, errors: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.errors = errors


class InvalidBase64(UsageError):
    """The text is not strict base64, standard or URL-safe."""

    code = "invalid-base64"


class InvalidImage(UsageError):
    """The bytes start like an image and do not decode as one, or there are none."""

    code = "invalid-image"


class DecoderCrashed(InvalidImage):
    """Decoding the image ended the process that did it."""


class DecodeTimeout(UsageError):
    """Decoding the image takes longer than it may."""

    code = "decode-timeout"


class OutOfMemory(UsageError):
    """Decoding the image needs more memory than a worker has."""

    code = "out-of-memory"


class IdempotencyKeyReused(UsageError):
    """The idempotency key already stands for another request."""

    code = "idempotency-key-reused"


class UnsupportedMediaType(UsageError):
    """The body's Content-Type is none that this route reads."""

    code = "unsupported-media-type"


class UnsupportedImageFormat(UsageError):
    """The bytes do not start like a JPEG, PNG, WebP, GIF, BMP or TIFF."""

    code = "unsupported-image-format"


class TooLarge(UsageError):
    """Something is over a limit; `limit` and `actual` are in the same unit, named in the detail."""

    code = "payload-too-large"

    def __init__(self, detail: str, *, limit: int, actual: int) -> None:
        super().__init__(detail)
        self.limit = limit
        self.actual = actual


class PayloadTooLarge(TooLarge):
    """The body has more bytes than the limit."""


class ImageTooLarge(TooLarge):
    """The image has more pixels, or a longer side, than the limit."""

    code = "image-too-large"


class TransientError(DarkroomError):
    """Our trouble, and it passes: try again after `retry_after_s` seconds."""

    code = "broker-unavailable"

    def __init__(self, detail: str, *, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class BrokerUnavailable(TransientError):
    """Redis does not answer, or answers that it cannot serve."""


class StorageFull(TransientError):
    """Redis has no room for another picture."""

    code = "storage-full"


class QueueFull(TransientError):
    """There is more to take in just now than can be taken."""

    code = "queue-full"


class NoWorkers(TransientError):
    """The call needs a worker and none is alive."""

    code = "no-workers"


class WorkerCrashed(TransientError):
    """As many workers were lost over the job as it has attempts."""

    code = "worker-crashed"


class FatalError(DarkroomError):
    """Our fault: no input whatever may cause one."""


class InternalError(FatalError):
    """Something broke that nobody foresaw."""


class InferenceFailed(FatalError):
    """The model raised on an image that decoded."""

    code = "inference-failed"
