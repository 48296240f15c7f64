import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException

from gateway.errors import MEDIA_TYPE, TABLE, invalid, job_error, response
from shared import errors
from tests.support.gateways import a_gateway, work

ROOT = Path(__file__).resolve().parents[2]
SCOPE = {"type": "http", "path": "/predict", "state": {"request_id": "req_1"}}


def every_error(root: type[errors.DarkroomError] = errors.DarkroomError) -> Iterator[type[errors.DarkroomError]]:
    yield root
    for child in root.__subclasses__():
        yield from every_error(child)


def written_codes() -> Iterator[tuple[Path, str]]:
    """Every text that our programs write down as a code: `code = "…"` and `code="…"`."""
    for package in ("gateway", "shared", "worker"):
        for path in (ROOT / package).rglob("*.py"):
            yield from ((path, code) for code in codes_in(path.read_text(encoding="utf-8")))


def codes_in(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.keyword(arg="code", value=ast.Constant(value=str(code))):
                yield code
            case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code))):
                yield code
            case ast.AnnAssign(target=ast.Name(id="code"), value=ast.Constant(value=str(code))):
                yield code
            case _:
                pass


def test_every_error_of_the_tree_stands_in_the_table() -> None:
    assert {error.code for error in every_error()} <= set(TABLE)


def test_every_code_that_a_program_writes_stands_in_the_table() -> None:
    found = list(written_codes())

    assert len(found) > 10
    assert [(path.name, code) for path, code in found if code not in TABLE] == []


def test_a_code_outside_the_table_would_be_found() -> None:
    assert list(codes_in('Failure(code="gone-fishing", detail="")')) == ["gone-fishing"]
    assert list(codes_in('class A:\n    code = "b"\n    code: str = "c"')) == ["b", "c"]


def test_transient_codes_are_the_retryable_ones() -> None:
    assert {code for code, rule in TABLE.items() if rule.retryable} == {
        "request-timeout",
        "quota-exceeded",
        "queue-full",
        "no-workers",
        "broker-unavailable",
        "storage-full",
        "worker-crashed",
    }


def test_a_stored_code_that_nobody_knows_any_more_is_an_internal_error() -> None:
    assert (job_error("gone-fishing", "x").code, job_error("gone-fishing", "x").status) == ("internal-error", 500)


@pytest.mark.parametrize("path", ["/a" * 500, "/\udcff", '/é\n"<', "/" + "é" * 100])
def test_the_instance_is_a_short_path_of_safe_characters(path: str) -> None:
    answer = response({**SCOPE, "path": path}, job_error("not-found", "x"))

    instance = json.loads(bytes(answer.body))["instance"]
    assert len(instance) <= 200
    assert instance.isascii()
    assert not set(instance) & set('"<\n ')


def test_a_kind_of_error_that_nobody_checked_is_told_in_our_words() -> None:
    error = invalid([{"type": "brand_new", "loc": ("query", "limit"), "msg": "You sent s3cr3t"}])

    assert error.errors == (("#/limit", "This is not what the schema asks for."),)


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "allow"),
    [
        ("GET", "/nothing", 404, "not-found", None),
        ("GET", "/predict/", 404, "not-found", None),
        ("GET", "/v1/jobs/", 404, "not-found", None),
        ("GET", "/docs/nothing.js", 404, "not-found", None),
        ("GET", "/predict", 405, "method-not-allowed", "POST"),
        ("PUT", "/v1/jobs", 405, "method-not-allowed", "GET, HEAD, POST"),
        ("PATCH", "/v1/jobs/x", 405, "method-not-allowed", "DELETE, GET, HEAD"),
        ("OPTIONS", "/health/live", 405, "method-not-allowed", "GET, HEAD"),
        ("POST", "/openapi.json", 405, "method-not-allowed", "GET, HEAD"),
    ],
)
async def test_paths_and_methods_that_are_not_there(
    method: str,
    path: str,
    status: int,
    code: str,
    allow: str | None,
) -> None:
    async with a_gateway() as gateway:
        answer = await gateway.client.request(method, path)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert answer.headers.get("Allow") == allow
    assert answer.headers["Content-Type"] == MEDIA_TYPE
    assert problem["type"] == f"/problems/{code}"
    assert problem["instance"] == path
    assert problem["request_id"] == answer.headers["X-Request-ID"]


async def test_what_nobody_foresaw_is_an_internal_error_without_its_story() -> None:
    async with a_gateway() as gateway:
        await gateway.submitted()
        gateway.store.overview = None  # type: ignore[assignment]
        answer = await gateway.client.get("/v1/status")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert answer.headers["X-Request-ID"] == answer.json()["request_id"]
    assert "NoneType" not in answer.text


async def test_a_refusal_of_the_framework_is_a_problem_too() -> None:
    async with a_gateway() as gateway:

        async def refuse() -> None:
            raise HTTPException(418, "teapot s3cr3t")

        gateway.app.get("/refuse")(refuse)
        answer = await gateway.client.get("/refuse")

    assert answer.json()["code"] == "bad-request"
    assert "s3cr3t" not in answer.text


async def test_a_job_of_a_model_that_is_gone_does_not_break_the_list() -> None:
    async with a_gateway() as gateway:
        await gateway.submitted()
        claim = work(gateway.store)
        gateway.app.state.jobs._labels = {}
        listed = await gateway.client.get("/v1/jobs")
        result = await gateway.client.get(f"/v1/jobs/{claim.spec.id}/result")

    assert listed.json()["items"][0]["result"] is None
    assert (result.status_code, result.json()["code"]) == (404, "model-not-found")
