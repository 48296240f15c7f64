from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from gateway import middleware
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


async def test_every_line_of_a_request_names_it_and_no_line_after_it_does() -> None:
    async with a_gateway() as gateway:
        gateway.store.overview = None  # type: ignore[assignment]
        with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
            answer = await gateway.client.get("/v1/status")
            structlog.get_logger().warning("afterwards")

    broke, request, afterwards = lines
    assert (broke["event"], request["event"]) == ("request_broke", "request")
    assert broke["request_id"] == request["request_id"] == answer.headers["X-Request-ID"]
    assert "request_id" not in afterwards


async def test_hosts_are_remembered_but_neither_long_ones_nor_many() -> None:
    middleware._known.cache_clear()
    async with a_gateway() as gateway:
        answers = [
            (await gateway.client.get("/health/live", headers={"Host": host})).status_code
            for host in [
                "localhost" + "." * 300,
                "evil" * 100,
                *(f"host-{number}" for number in range(200)),
                "localhost",
            ]
        ]

    assert answers == [200, *[403] * 201, 200]
    kept = middleware._known.cache_info()
    assert kept.currsize == kept.maxsize == 64
    assert kept.misses == 201


async def test_an_answers_own_headers_are_left_as_they_are() -> None:
    own = [(b"cache-control", b"max-age=1"), (b"x", b"y")]
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": own})

    async def send(message: Any) -> None:
        sent.append(message)

    await RequestLine(app)({"type": "http", "method": "GET", "path": "/"}, None, send)  # type: ignore[arg-type]

    assert own == [(b"cache-control", b"max-age=1"), (b"x", b"y")]
    assert [name for name, _ in sent[0]["headers"]] == [
        b"cache-control",
        b"x",
        b"x-request-id",
        b"x-content-type-options",
    ]


async def test_an_accident_after_the_head_of_an_answer_breaks_the_connection() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("too late")

    async def send(message: Any) -> None: ...

    with pytest.raises(RuntimeError, match="too late"):
        await RequestLine(app)({"type": "http", "method": "GET", "path": "/"}, None, send)  # type: ignore[arg-type]
