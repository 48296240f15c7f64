"""What a server answers, as the client's tests need it, and a way to speak through both clients."""

import asyncio
from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

import httpx2

from darkroom import AsyncClient, Client
from darkroom.exchanges import Request

T = TypeVar("T")
Handler: TypeAlias = Callable[[httpx2.Request], httpx2.Response]
Carrier: TypeAlias = Callable[[Handler, Callable[[Any], Any]], Any]

URL = "http://127.0.0.1:8000"
JOB_ID = "job_0123456789abcdef0123456789abcdef"


def a_classification(*pairs: tuple[str, float], latency_ms: float = 7.4) -> dict[str, Any]:
    """A ClassificationResponse."""
    predictions = [{"label": label, "confidence": confidence} for label, confidence in pairs]
    return {"predictions": predictions, "latency_ms": latency_ms}


def a_problem(code: str = "invalid-image", status: int = 422, **changes: Any) -> dict[str, Any]:
    """A problem as a job stores it."""
    fields = {
        "type": f"/problems/{code}",
        "title": "A title",
        "status": status,
        "detail": f"A sentence about {code}.",
        "code": code,
        "retryable": False,
        "errors": [],
    }
    return {**fields, **changes}


def a_job(status: str = "queued", **changes: Any) -> dict[str, Any]:
    """A job object; a succeeded one has a result."""
    done = status not in {"queued", "running"}
    fields = {
        "id": JOB_ID,
        "status": status,
        "done": done,
        "model": "mock",
        "model_version": "1",
        "confidence_threshold": 0.5,
        "priority": "normal",
        "attempt": 1 if done else 0,
        "max_attempts": 3,
        "queue": {"position": None, "estimated_wait_ms": None, "waiting_reason": None},
        "result": a_classification(("Bird", 0.91)) if status == "succeeded" else None,
        "error": a_problem() if status == "failed" else None,
        "timings": {
            "queue_ms": 2.5,
            "fetch_ms": 0.5,
            "decode_ms": 3.0,
            "preprocess_ms": 4.0,
            "predict_ms": 0.4,
            "latency_ms": 7.4,
            "total_ms": 11.0,
        },
        "created_at": "2026-01-02T03:04:05.678901Z",
        "started_at": None,
        "finished_at": None,
        "expires_at": None,
        "retry_of": None,
        "retried_as": None,
        "links": {"self": f"/v1/jobs/{JOB_ID}", "result": f"/v1/jobs/{JOB_ID}/result", "events": None},
        "metadata": {},
    }
    return {**fields, **changes}


def a_status(**changes: Any) -> dict[str, Any]:
    """The answer of /v1/status with one worker."""
    worker = {
        "id": "w1",
        "state": "idle",
        "model": "mock",
        "model_version": "1",
        "rss_bytes": 80_000_000,
        "jobs_done": 5,
        "last_heard_s": 0.4,
    }
    fields = {
        "uptime_s": 1.5,
        "serving": {"model": "mock", "model_version": "1"},
        "jobs": {"queued": 0, "running": 0, "succeeded": 5, "failed": 0, "canceled": 0, "expired": 0},
        "queue": {"depth": 0, "oldest_age_s": None, "estimated_wait_ms": 0},
        "workers": [worker],
    }
    return {**fields, **changes}


def answer(status: int, document: Any = None, **headers: str) -> httpx2.Response:
    """An answer; underscores in a header's name stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if document is None:
        return httpx2.Response(status, headers=named)
    return httpx2.Response(status, json=document, headers=named)


def refusal(code: str, status: int, *, retry_after: str | None = None, **changes: Any) -> httpx2.Response:
    """An answer that is a problem."""
    document = a_problem(code, status, instance="/predict", request_id="req_1", **changes)
    headers = {"Content-Type": "application/problem+json", **({"Retry-After": retry_after} if retry_after else {})}
    return httpx2.Response(status, json=document, headers=headers)


def drive(
    exchange: Generator[Request, httpx2.Response, T],
    *answers: httpx2.Response | Exception,
    before_answer: Callable[[Request], object] = lambda request: None,
) -> tuple[T, list[Request]]:
    """Carry an exchange to its end with these answers: what it returns and all that it asked.

    Raises: what the exchange raises; AssertionError when it asks more or less than there are answers.
    """
    asked = [next(exchange)]
    left = list(answers)
    while True:
        assert left, f"one request too many: {asked[-1]}"
        before_answer(asked[-1])
        given = left.pop(0)
        try:
            asked.append(exchange.throw(given) if isinstance(given, Exception) else exchange.send(given))
        except StopIteration as stop:
            assert not left, f"never asked for: {left}"
            return stop.value, asked


def through_client(handler: Handler, call: Callable[[Any], Any]) -> Any:
    """The call's result by way of the client that blocks."""
    with Client(URL, transport=httpx2.MockTransport(handler)) as client:
        found = call(client)
        return list(found) if hasattr(found, "__next__") else found


def through_async_client(handler: Handler, call: Callable[[Any], Any]) -> Any:
    """The call's result by way of the client for asyncio."""

    async def run() -> Any:
        async with AsyncClient(URL, transport=httpx2.MockTransport(handler)) as client:
            found = call(client)
            return [item async for item in found] if hasattr(found, "__anext__") else await found

    return asyncio.run(run())


CARRIERS = (through_client, through_async_client)
