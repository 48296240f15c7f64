import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
import requests
import schemathesis
from fastapi import APIRouter, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from hypothesis import HealthCheck, given, settings

from gateway.config import GatewaySettings
from gateway.main import create_app
from tests.support.gateways import HERE, ShakyStore, a_gateway


def an_app() -> FastAPI:
    return create_app(GatewaySettings(), store=ShakyStore())


def dependants(root: Dependant) -> Iterator[Dependant]:
    yield root
    for child in root.dependencies:
        yield from dependants(child)


def may_read_a_body(route: APIRoute) -> bool:
    """Whether the handler, or anything it depends on, is given the request or a part of its body."""
    return any(found.request_param_name or found.body_params for found in dependants(route.dependant))


def bodies_without_schema(app: FastAPI) -> list[str]:
    """Routes that may read a body which /openapi.json does not describe."""
    paths = app.openapi()["paths"]
    found = []
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if not isinstance(route, APIRoute):
            continue
        for method in set(route.methods or ()) & {"POST", "PUT", "PATCH"}:
            operation = paths.get(context.path_format, {}).get(method.lower(), {})
            content = operation.get("requestBody", {}).get("content", {})
            described = content and all(kind.get("schema") for kind in content.values())
            if may_read_a_body(route) and not described:
                found.append(f"{method} {context.path}")
    return found


def test_every_route_that_reads_a_body_describes_it() -> None:
    app = an_app()

    assert bodies_without_schema(app) == []
    assert {path for path, item in app.openapi()["paths"].items() if "requestBody" in item.get("post", {})} == {
        "/predict",
        "/v1/jobs",
        "/v1/dead-letters/replay",
    }


@pytest.mark.parametrize("included", [False, True])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_route_that_reads_an_undescribed_body_is_found(method: str, included: bool) -> None:
    app = an_app()
    router = APIRouter()

    async def planted(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    (router if included else app).add_api_route("/planted", planted, methods=[method])
    app.include_router(router)

    assert bodies_without_schema(app) == [f"{method} /planted"]


@pytest.mark.parametrize(("path", "model"), [("/predict", "PayloadRequest"), ("/v1/jobs", "JobRequest")])
def test_all_three_kinds_of_body_are_described(path: str, model: str) -> None:
    document = an_app().openapi()

    content = document["paths"][path]["post"]["requestBody"]["content"]
    assert content["application/json"]["schema"] == {"$ref": f"#/components/schemas/{model}"}
    assert set(content["multipart/form-data"]["schema"]["properties"]) == {"image", "confidence_threshold"}
    assert content["image/*"]["schema"] == {"type": "string", "format": "binary"}
    threshold = document["components"]["schemas"][model]["properties"]["confidence_threshold"]
    assert {"type": "number", "minimum": 0, "maximum": 1, "default": 0.5}.items() <= threshold.items()


def test_every_reference_of_the_document_leads_somewhere() -> None:
    document = an_app().openapi()

    names = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert names
    assert names <= set(document["components"]["schemas"])


def test_every_operation_tells_its_problems() -> None:
    for item in an_app().openapi()["paths"].values():
        for operation in item.values():
            problems = [answer for status, answer in operation["responses"].items() if status >= "4"]
            assert len(problems) >= 3
            assert all(set(problem["content"]) == {"application/problem+json"} for problem in problems)


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_names_no_other_host_and_all_that_it_names_is_there(path: str) -> None:
    async with a_gateway() as gateway:
        page = await gateway.client.get(path)
        named = re.findall(r'(?:href|src)="([^"]+)"', page.text)
        answers = {name: await gateway.client.get(name) for name in named if not name.startswith("data:,")}

    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "//" not in page.text.replace("<!doctype html>", "")
    assert answers
    assert all(name.startswith("/") for name in answers)
    assert {name for name, answer in answers.items() if answer.status_code != 200} <= {"/health/ready"}
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]


async def test_what_starts_the_reference_names_our_document_alone() -> None:
    async with a_gateway() as gateway:
        start = await gateway.client.get("/docs/start.js")
        style = await gateway.client.get("/docs/swagger-ui.css")
        script = await gateway.client.get("/docs/swagger-ui-bundle.js")

    assert 'url: "/openapi.json"' in start.text
    assert "//" not in start.text
    assert set(re.findall(r"https?://([\w.]+)", style.text)) <= {"www.w3.org"}
    assert style.headers["Content-Type"].startswith("text/css")
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert "SwaggerUIBundle" in script.text
    assert script.headers["Cache-Control"] == "public, max-age=86400"


OPERATIONS: list[Any] = [
    found.ok() for found in cast("Any", schemathesis.openapi.from_dict(an_app().openapi())).get_all_operations()
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.path}")
def test_what_the_document_describes_is_what_is_served(operation: Any) -> None:
    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def hold(case: Any) -> None:
        asyncio.run(served_as_described(case))

    hold()


async def served_as_described(case: Any) -> None:
    prepared: Any = requests.Request(**case.as_transport_kwargs(base_url=HERE)).prepare()
    described = case.operation.definition.raw["responses"]
    async with a_gateway(default_wait_s=0, max_wait_s=0) as gateway:
        answer = await gateway.client.request(
            str(prepared.method),
            str(prepared.url),
            content=prepared.body,
            headers={name: value for name, value in prepared.headers.items() if name.lower() != "host"},
        )

    assert str(answer.status_code) in described, answer.text
    assert answer.status_code < 500 or answer.json()["code"] == "no-workers"
    if answer.content:
        kind = answer.headers["Content-Type"].partition(";")[0]
        assert kind in described[str(answer.status_code)]["content"]
