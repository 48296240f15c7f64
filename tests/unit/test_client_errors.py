"""Every code of the contract has its place in the client's error tree."""

import pytest

from darkroom import errors
from darkroom.types import Problem

CODES = {
    errors.InvalidRequest: "bad-request method-not-allowed not-acceptable request-timeout uri-too-long "
    "headers-too-large unsupported-media-type validation-error idempotency-key-reused package-invalid "
    "webhook-url-not-allowed",
    errors.TooLarge: "payload-too-large batch-too-large",
    errors.NotAllowed: "unauthorized forbidden",
    errors.NotFound: "not-found job-not-found model-not-found",
    errors.Gone: "job-expired input-gone",
    errors.Conflict: "job-already-finished job-running swap-in-progress training-in-progress validation-failed "
    "validation-required",
    errors.InvalidImage: "invalid-image invalid-base64 unsupported-image-format image-too-large decode-timeout "
    "out-of-memory",
    errors.JobCanceled: "job-canceled",
    errors.DeadlineExceeded: "deadline-exceeded",
    errors.QuotaExceeded: "quota-exceeded",
    errors.Unavailable: "queue-full no-workers broker-unavailable storage-full worker-crashed",
    errors.ServerFault: "inference-failed internal-error",
    errors.ApiError: "a-code-of-tomorrow",
}


@pytest.mark.parametrize(("kind", "code"), [(kind, code) for kind, codes in CODES.items() for code in codes.split()])
def test_a_code_has_its_class(kind: type[errors.ApiError], code: str) -> None:
    error = errors.error_of(Problem(code=code, status=400, title="A title", detail=""))

    assert type(error) is kind
    assert str(error) == "A title"


def test_no_code_of_the_server_is_unknown_to_the_client() -> None:
    table = pytest.importorskip("gateway.errors").TABLE

    unknown = {
        code
        for code in table
        if type(errors.error_of(Problem(code=code, status=400, title="", detail=""))) is errors.ApiError
    }

    assert not unknown
