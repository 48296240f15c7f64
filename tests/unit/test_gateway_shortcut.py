"""The short way answers what FastAPI would have answered, and nothing that is not its own."""

import re
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.routing import APIRoute, iter_route_contexts

from gateway.config import GatewaySettings
from gateway.main import create_app
from gateway.shortcut import Shortcut
from shared.memory_store import MemoryStore
from tests.support.gateways import PAYLOAD, a_gateway, work

SHORT = {
    ("POST", "/predict"),
    ("POST", "/v1/jobs"),
    ("GET", "/v1/jobs/{job_id}"),
    ("GET", "/v1/jobs/{job_id}/result"),
}


def an_app() -> FastAPI:
    return create_app(GatewaySettings(), store=MemoryStore())


def of(app: FastAPI) -> Shortcut:
    (found,) = (part for part in app.user_middleware if is_short(part))
    routes: Any = found.args[0]
    return Shortcut(app, routes)


def is_short(part: Any) -> bool:
    return part.cls is Shortcut


def without(app: FastAPI) -> None:
    """Take the short way out of an application that has not answered yet."""
    app.user_middleware = [part for part in app.user_middleware if not is_short(part)]
    app.middleware_stack = None


def test_the_short_way_leads_to_the_calls_that_are_made_for_every_picture_and_no_others() -> None:
    app = an_app()
    shortcut = of(app)

    found = {}
    for context in iter_route_contexts(app.routes):
        for method in context.methods or ():
            path = (context.path or "").replace("{job_id}", "job_1").replace("{name}", "a.css")
            short = shortcut.find(method, path)
            if short is not None:
                found[method, context.path] = short

    assert set(found) == SHORT
    # Each is the route that the application knows at that place.
    assert all(route.path == path and method in (route.methods or ()) for (method, path), (route, _) in found.items())
    assert found["GET", "/v1/jobs/{job_id}"][1] == {"job_id": "job_1"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/predict"),
        ("DELETE", "/v1/jobs/job_1"),
        ("POST", "/v1/jobs/job_1/cancel"),
        ("GET", "/v1/jobs/"),
        ("GET", "/v1/jobs/a/b"),
        ("GET", "/x/v1/jobs/job_1"),
        ("GET", "/v1/jobs"),
    ],
)
def test_what_is_not_its_own_goes_on(method: str, path: str) -> None:
    assert of(an_app()).find(method, path) is None


@pytest.mark.parametrize(
    "asked",
    [
        {"method": "POST", "url": "/predict", "json": PAYLOAD, "headers": {"Prefer": "wait=0"}},
        {"method": "POST", "url": "/predict", "json": {}},
        {"method": "POST", "url": "/predict", "json": PAYLOAD, "headers": {"Idempotency-Key": "\x01"}},
        {"method": "POST", "url": "/v1/jobs?a=1", "json": PAYLOAD},
        {"method": "POST", "url": "/v1/jobs", "json": {**PAYLOAD, "model": "none"}},
        {"method": "GET", "url": "/v1/jobs/{id}"},
        {"method": "HEAD", "url": "/v1/jobs/{id}"},
        {"method": "GET", "url": "/v1/jobs/{id}?wait=x"},
        {"method": "GET", "url": "/v1/jobs/{id}/result?top_k=1&confidence_threshold=0"},
        {"method": "GET", "url": "/v1/jobs/{id}/result?top_k=0"},
        {"method": "GET", "url": "/v1/jobs/nothing/result"},
    ],
)
async def test_both_ways_answer_the_same(asked: dict[str, Any]) -> None:
    answers = []
    for short in (True, False):
        async with a_gateway() as gateway:
            if not short:
                without(gateway.app)
            job_id = await gateway.finished()
            answer = await gateway.client.request(**{**asked, "url": asked["url"].format(id=job_id)})
        answers.append(answer)

    one, other = answers
    assert one.status_code == other.status_code
    assert [*one.headers] == [*other.headers]
    assert _without_names(one.text) == _without_names(other.text)


def _without_names(text: str) -> str:
    return re.sub(r'(job|req)_[0-9a-f]{32}|"[^"]*_at":"[^"]*"|"(queue|total)_ms":[0-9.]+', "", text)


async def test_a_parameter_that_comes_twice_counts_the_last_time() -> None:
    async with a_gateway() as gateway:
        job_id = await gateway.finished()
        taken = await gateway.client.get(f"/v1/jobs/{job_id}/result?top_k=x&top_k=1&confidence_threshold=0")
        refused = await gateway.client.get(f"/v1/jobs/{job_id}/result?top_k=1&top_k=x")

    assert len(taken.json()["predictions"]) == 1
    assert refused.json()["errors"][0]["pointer"] == "#/top_k"


async def test_what_nobody_foresaw_on_the_short_way_is_an_internal_error_too() -> None:
    async with a_gateway() as gateway:
        gateway.store.enqueue = None  # type: ignore[assignment]
        answer = await gateway.client.post("/predict", json=PAYLOAD)
        nothing_held = len(gateway.waiters) == 0

    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert answer.headers["X-Request-ID"] == answer.json()["request_id"]
    assert nothing_held


async def test_a_handler_that_takes_more_than_its_request_or_depends_on_more_goes_the_long_way() -> None:
    async def bare(request: Request) -> None: ...

    async def more(request: Request, limit: int) -> None: ...

    async def none() -> None: ...

    routes = [
        APIRoute("/bare", bare),
        APIRoute("/more", more),
        APIRoute("/none", none),
        APIRoute("/guarded", bare, dependencies=[Depends(none)]),
    ]

    shortcut = Shortcut(an_app(), routes)

    assert [route.path for route in routes if shortcut.find("GET", route.path)] == ["/bare"]


async def test_a_job_is_worked_on_whichever_way_it_came() -> None:
    async with a_gateway() as gateway:
        without(gateway.app)
        job = await gateway.submitted()
        claim = work(gateway.store)
        looked = await gateway.client.get(f"/v1/jobs/{job['id']}")

    assert looked.json()["id"] == claim.spec.id
    assert looked.json()["done"] is True
