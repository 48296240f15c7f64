"""The one table from error code to RFC 9457 problem, and how errors of every origin become one.

No problem repeats what the caller sent: pydantic's sentences are used only where they are made of our schema alone.
"""

import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Scope

from gateway.schemas import ErrorItem, JobError, Problem
from shared.errors import DarkroomError, InternalError, InvalidRequest, TooLarge, TransientError
from shared.jobs import Failure

MEDIA_TYPE: Final = "application/problem+json"

_MAX_INSTANCE: Final = 200
_RETRY_AFTER_S: Final = 1
_MOST_ERRORS: Final = 20
"""A caller who did a thousand things wrong need not be told each."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How a code is told over HTTP."""

    status: HTTPStatus
    title: str
    retryable: bool = False


TABLE: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "bad-request": Rule(HTTPStatus.BAD_REQUEST, "The request cannot be understood"),
        "unauthorized": Rule(HTTPStatus.UNAUTHORIZED, "A key is needed"),
        "forbidden": Rule(HTTPStatus.FORBIDDEN, "Not allowed"),
        "method-not-allowed": Rule(HTTPStatus.METHOD_NOT_ALLOWED, "This path has no such method"),
        "not-acceptable": Rule(HTTPStatus.NOT_ACCEPTABLE, "No acceptable form of the answer"),
        "request-timeout": Rule(HTTPStatus.REQUEST_TIMEOUT, "The request took too long to come", retryable=True),
        "uri-too-long": Rule(HTTPStatus.REQUEST_URI_TOO_LONG, "The address is too long"),
        "headers-too-large": Rule(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large"),
        "job-not-found": Rule(HTTPStatus.NOT_FOUND, "No such job"),
        "model-not-found": Rule(HTTPStatus.NOT_FOUND, "No such model"),
        "not-found": Rule(HTTPStatus.NOT_FOUND, "Nothing is here"),
        "job-expired": Rule(HTTPStatus.GONE, "The job's record has run out"),
        "deadline-exceeded": Rule(HTTPStatus.GONE, "No worker took the job in time"),
        "input-gone": Rule(HTTPStatus.GONE, "The picture was erased"),
        "job-already-finished": Rule(HTTPStatus.CONFLICT, "The job has ended"),
        "job-canceled": Rule(HTTPStatus.CONFLICT, "The job was canceled"),
        "job-running": Rule(HTTPStatus.CONFLICT, "The job's state does not allow this"),
        "swap-in-progress": Rule(HTTPStatus.CONFLICT, "The model is being changed"),
        "training-in-progress": Rule(HTTPStatus.CONFLICT, "A training is under way"),
        "validation-failed": Rule(HTTPStatus.CONFLICT, "The version did not pass"),
        "validation-required": Rule(HTTPStatus.CONFLICT, "The version was not checked"),
        "payload-too-large": Rule(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large"),
        "image-too-large": Rule(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The image is too large"),
        "batch-too-large": Rule(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The batch is too large"),
        "unsupported-media-type": Rule(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body's type is not read here"),
        "unsupported-image-format": Rule(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The image's format is not read"),
        "validation-error": Rule(HTTPStatus.UNPROCESSABLE_ENTITY, "The request has the wrong shape"),
        "invalid-base64": Rule(HTTPStatus.UNPROCESSABLE_ENTITY, "The text is not base64"),
        "invalid-image": Rule(HTTPStatus.UNPROCESSABLE_ENTITY, "The image cannot be decoded"),
        "decode-timeout": Rule(HTTPStatus.UNPROCESSABLE_ENTITY, "The image takes too long to decode"),
        "out-of-memory": Rule(HTTPStatus.UNPROCESSABLE_ENTITY, "The image takes too much memory to decode"),
        "idempotency-key-reused": Rule(HTTPStatus.UNPROCESSABLE_ENTITY, "The key stands for another request"),
        "package-invalid": Rule(HTTPStatus.UNPROCESSABLE_ENTITY, "The model package is not valid"),
        "webhook-url-not-allowed": Rule(HTTPStatus.UNPROCESSABLE_ENTITY, "This webhook may not be called"),
        "quota-exceeded": Rule(HTTPStatus.TOO_MANY_REQUESTS, "The quota is used up", retryable=True),
        "inference-failed": Rule(HTTPStatus.INTERNAL_SERVER_ERROR, "The model failed"),
        "internal-error": Rule(HTTPStatus.INTERNAL_SERVER_ERROR, "Something broke on our side"),
        "queue-full": Rule(HTTPStatus.SERVICE_UNAVAILABLE, "The queue is full", retryable=True),
        "no-workers": Rule(HTTPStatus.SERVICE_UNAVAILABLE, "No worker is alive", retryable=True),
        "broker-unavailable": Rule(HTTPStatus.SERVICE_UNAVAILABLE, "The job store is not available", retryable=True),
        "storage-full": Rule(HTTPStatus.SERVICE_UNAVAILABLE, "There is no room for more jobs", retryable=True),
        "worker-crashed": Rule(HTTPStatus.SERVICE_UNAVAILABLE, "Workers were lost over this job", retryable=True),
    },
)

_BY_STATUS: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        404: ("not-found", "There is nothing at this path."),
        405: ("method-not-allowed", "See the Allow header for the methods of this path."),
    },
)

_SAFE: Final = frozenset(
    {
        "bool_type",
        "dict_type",
        "extra_forbidden",
        "finite_number",
        "float_parsing",
        "float_type",
        "greater_than",
        "greater_than_equal",
        "int_from_float",
        "int_parsing",
        "int_parsing_size",
        "int_type",
        "json_invalid",
        "less_than_equal",
        "literal_error",
        "missing",
        "model_type",
        "string_type",
        "enum",
    },
)


class JobFailed(Exception):
    """A job whose result was asked for has failed; its stored failure is the answer."""

    def __init__(self, job_id: str, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.job_id = job_id
        self.failure = failure


def job_error(
    code: str,
    detail: str,
    *,
    errors: Iterable[tuple[str, str]] = (),
    limit: int | None = None,
    actual: int | None = None,
) -> JobError:
    """The problem of `code`, without what belongs to a request. A code outside the table is an internal error."""
    known = code if code in TABLE else InternalError.code
    rule = TABLE[known]
    return JobError(
        type=f"/problems/{known}",
        title=rule.title,
        status=rule.status,
        detail=detail,
        code=known,
        retryable=rule.retryable,
        errors=[ErrorItem(pointer=pointer, detail=sentence) for pointer, sentence in errors],
        limit=limit,
        actual=actual,
    )


def stored_error(failure: Failure) -> JobError:
    """A job's stored failure as a problem."""
    return job_error(failure.code, failure.detail, limit=failure.limit, actual=failure.actual)


def response(scope: Scope, error: JobError, headers: Mapping[str, str] | None = None) -> Response:
    """The problem as an answer to the request of `scope`; one that passes by itself says when to try again."""
    instance = quote(scope["path"], safe="/:@!$&'()*+,;=-._~", errors="replace")
    problem = Problem(
        **error.model_dump(),
        instance=re.sub(r"%[0-9A-F]?$", "", instance[:_MAX_INSTANCE]),
        request_id=scope.get("state", {}).get("request_id", ""),
    )
    answer = Response(problem.model_dump_json(), status_code=error.status, media_type=MEDIA_TYPE)
    if error.retryable:
        answer.headers["Retry-After"] = str(_RETRY_AFTER_S)
    answer.headers.update(headers or {})
    return answer


def told(scope: Scope, error: DarkroomError) -> Response:
    """An error of our tree as an answer to the request of `scope`."""
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, TransientError) else None
    problem = job_error(
        error.code,
        error.detail,
        errors=error.errors if isinstance(error, InvalidRequest) else (),
        limit=error.limit if isinstance(error, TooLarge) else None,
        actual=error.actual if isinstance(error, TooLarge) else None,
    )
    return response(scope, problem, headers)


def invalid(errors: Iterable[Mapping[str, Any]]) -> InvalidRequest:
    """Pydantic's errors as ours: pointers to fields of the schema only, and no word of the input."""
    pairs = tuple((_pointer(error), _sentence(error)) for error in islice(errors, _MOST_ERRORS))
    return InvalidRequest("The request has the wrong shape; see errors.", pairs)


def invalid_model(error: ValidationError) -> InvalidRequest:
    """See `invalid`."""
    return invalid(error.errors(include_url=False, include_input=False))


def _pointer(error: Mapping[str, Any]) -> str:
    place = [part for part in error["loc"] if part not in {"query", "path", "header", "body"}]
    # Of a field that has no place only the parent can be named: its own name is the caller's text.
    if error["type"] == "extra_forbidden" or not place:
        return "#"
    return f"#/{place[0]}"


def _sentence(error: Mapping[str, Any]) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return str(error["msg"]) + "." if error["type"] in _SAFE else "This is not what the schema asks for."


async def _darkroom_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DarkroomError)
    return told(request.scope, error)


async def _job_failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, JobFailed)
    return response(request.scope, stored_error(error.failure), {"Content-Location": f"/v1/jobs/{error.job_id}"})


async def _request_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return told(request.scope, invalid(error.errors()))


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, detail = _BY_STATUS.get(error.status_code, ("bad-request", "The request cannot be understood."))
    headers = {"Allow": _allowed(request)} if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED else None
    return response(request.scope, job_error(code, detail), headers)


def _allowed(request: Request) -> str:
    """Every method of the path: each of several routes over one path knows only its own."""
    methods = {
        method
        for context in iter_route_contexts(request.app.routes)
        if context.path_regex.fullmatch(request.scope["path"])
        for method in context.methods or ()
    }
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


async def _client_left(request: Request, _: Exception) -> Response:
    return response(request.scope, job_error("bad-request", "The request ended before its body."))


HANDLERS: Final[dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]]] = {
    DarkroomError: _darkroom_error,
    JobFailed: _job_failed,
    RequestValidationError: _request_validation,
    HTTPException: _http_exception,
    ClientDisconnect: _client_left,
}
"""For the application: which exception is answered by what."""


async def answered(request: Request, error: Exception) -> Response:
    """What `HANDLERS` make of the error.

    Raises: the error itself where none of them knows it.
    """
    handler = next((HANDLERS[kind] for kind in type(error).__mro__ if kind in HANDLERS), None)
    if handler is None:
        raise error
    return await handler(request, error)
