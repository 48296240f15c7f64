from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.config import is_loopback
from gateway.middleware import RequestLine
from tests.support.gateways import PAYLOAD, a_gateway


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST", "localhost."])
def test_loopback_has_many_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org", "127.0.0.1.nip.io"]
)
def test_everything_else_is_foreign(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost:8000"},
        {"Host": "[::1]:8000"},
        {"Host": "127.0.0.1", "Origin": "http://127.0.0.1"},
        {"Host": "localhost:8000", "Origin": "http://LOCALHOST:8000", "Sec-Fetch-Site": "same-origin"},
        {"Host": "localhost:8000", "Sec-Fetch-Site": "none"},
    ],
)
async def test_this_machine_may_ask(headers: dict[str, str]) -> None:
    async with a_gateway() as gateway:
        answer = await gateway.client.get("/health/live", headers=headers)

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "example.org"},
        {"Host": "example.org:8000"},
        {"Host": "localhost@example.org"},
        {"Host": "example.org@localhost"},
        {"Host": "localhost#@example.org"},
        {"Host": "localhost/example.org"},
        {"Host": "192.168.1.5:8000"},
        {"Host": "[::1"},
        {"Host": ""},
        {"Origin": "http://example.org"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "http://127.0.0.1.example.org"},
        {"Origin": "null"},
        {"Origin": "file://"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "anything"},
    ],
)
async def test_a_page_of_another_site_may_not_ask(headers: dict[str, str]) -> None:
    async with a_gateway() as gateway:
        answer = await gateway.client.post("/v1/jobs", json=PAYLOAD, headers=headers)
        nothing_queued = gateway.store.claim("w1") is None

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert nothing_queued


async def test_every_answer_has_an_id_of_its_own_and_is_not_kept() -> None:
    async with a_gateway() as gateway:
        answers = [await gateway.client.get(path) for path in ("/health/live", "/nothing", "/v1/status")]

    ids = {answer.headers["X-Request-ID"] for answer in answers}
    assert len(ids) == 3
    assert all(id_.startswith("req_") and len(id_) == 36 for id_ in ids)
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/health/live", "/v1/status", "/v1/jobs"])
async def test_head_is_get_without_a_body(path: str) -> None:
    async with a_gateway() as gateway:
        got, head = await gateway.client.get(path), await gateway.client.head(path)

    assert head.status_code == got.status_code == 200
    assert head.content == b""
    assert head.headers["Content-Type"] == got.headers["Content-Type"]


async def test_a_request_leaves_one_line_with_its_route_and_nothing_of_its_own() -> None:
    async with a_gateway() as gateway:
        with capture_logs() as lines:
            await gateway.client.get("/v1/jobs/s3cr3t?wait=0", headers={"X-API-Key": "s3cr3t"})
            await gateway.client.get("/s3cr3t")

    assert [(line["event"], line["method"], line["route"], line["status"]) for line in lines] == [
        ("request", "GET", "/v1/jobs/{job_id}", 404),
        ("request", "GET", None, 404),
    ]
    assert all(line["ms"] >= 0 for line in lines)
    assert "s3cr3t" not in str(lines)


async def test_that_all_is_well_leaves_no_line_and_that_it_is_not_does() -> None:
    async with a_gateway() as gateway:
        with capture_logs() as lines:
            await gateway.client.get("/health/live")
            await gateway.client.get("/health/ready")

    assert [(line["route"], line["status"], line["log_level"]) for line in lines] == [
        ("/health/live", 200, "debug"),
        ("/health/ready", 503, "info"),
    ]


async def test_an_accident_after_the_head_of_an_answer_breaks_the_connection() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("too late")

    async def send(message: Any) -> None: ...

    with pytest.raises(RuntimeError, match="too late"):
        await RequestLine(app)({"type": "http", "method": "GET", "path": "/"}, None, send)  # type: ignore[arg-type]
