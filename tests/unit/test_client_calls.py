"""Both clients, call by call, against answers of the contract's shapes."""

import io
import json
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from darkroom import (
    AnswerTimeout,
    AsyncClient,
    Client,
    ConnectionFailed,
    ConnectionLost,
    InputGone,
    InvalidImage,
    InvalidSurroundings,
    InvalidUrl,
    JobNotDone,
    NotFound,
    Prediction,
    Priority,
    Replay,
    Replayed,
    UnexpectedAnswer,
)
from darkroom.transport import options
from tests.support.answers import (
    CARRIERS,
    JOB_ID,
    Carrier,
    Handler,
    a_classification,
    a_job,
    a_status,
    answer,
    refusal,
)

JPEG = b"\xff\xd8\xff\xe0 not really"
PNG = b"\x89PNG\r\n\x1a\n not really"

both = pytest.mark.parametrize("carry", CARRIERS)


def recording(seen: list[httpx2.Request], *answers: httpx2.Response) -> Handler:
    left = list(answers)

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return left.pop(0)

    return handle


def always(response: Callable[[], httpx2.Response]) -> Handler:
    return lambda _: response()


@both
def test_a_submitted_picture_goes_raw_with_its_wishes_as_parameters(carry: Carrier) -> None:
    seen: list[httpx2.Request] = []
    handler = recording(seen, answer(202, a_job(metadata={"shelf": [1]})))
    priority: Priority = "high"

    job = carry(
        handler,
        lambda client: client.submit(
            PNG, confidence_threshold=0.2, top_k=3, priority=priority, metadata={"shelf": [1]}, model=None
        ),
    )

    assert (job.id, job.status, job.done, job.metadata) == (JOB_ID, "queued", False, {"shelf": [1]})
    assert job.created_at == datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    (request,) = seen
    assert (request.method, request.url.path) == ("POST", "/v1/jobs")
    assert request.headers["Content-Type"] == "image/png"
    assert request.content == PNG
    sent = dict(request.url.params)
    assert json.loads(sent.pop("metadata")) == {"shelf": [1]}
    assert sent == {"confidence_threshold": "0.2", "top_k": "3", "priority": "high"}


@both
@pytest.mark.parametrize("kind", ["path", "text", "bytes", "bytearray", "file"])
def test_a_picture_may_be_a_path_bytes_or_a_file(carry: Carrier, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(JPEG)
    picture = {"path": path, "text": str(path), "bytes": JPEG, "bytearray": bytearray(JPEG), "file": io.BytesIO(JPEG)}
    seen: list[httpx2.Request] = []

    carry(recording(seen, answer(202, a_job())), lambda client: client.submit(picture[kind]))

    assert seen[0].content == JPEG
    assert not dict(seen[0].url.params)


@both
def test_a_picture_that_cannot_be_read_is_an_os_error_and_nothing_is_sent(carry: Carrier, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        carry(recording([]), lambda client: client.submit(tmp_path / "absent.png"))


@both
def test_an_answer_at_once_carries_model_timings_and_job(carry: Carrier) -> None:
    seen: list[httpx2.Request] = []
    found = answer(
        200,
        a_classification(("Bird", 0.91), ("Mammal", 0.05)),
        Content_Location=f"/v1/jobs/{JOB_ID}",
        X_Model="animals@3",
        Server_Timing="queue;dur=2.5, decode;dur=3, preprocess;dur=4, predict;dur=0.4, elsewhere;dur=9, odd",
    )

    classification = carry(
        recording(seen, found), lambda client: client.classify(JPEG, confidence_threshold=0.05, timeout=7.9)
    )

    assert classification.best == Prediction(label="Bird", confidence=0.91)
    assert (classification.job_id, classification.model, classification.latency_ms) == (JOB_ID, "animals@3", 7.4)
    timings = classification.timings
    assert (timings.queue_ms, timings.decode_ms, timings.predict_ms, timings.latency_ms) == (2.5, 3.0, 0.4, 7.4)
    assert timings.total_ms is None
    assert seen[0].url.path == "/predict"
    assert seen[0].headers["Prefer"] == "wait=7"
    assert dict(seen[0].url.params) == {"confidence_threshold": "0.05"}


@both
def test_an_empty_list_is_an_answer_without_a_best(carry: Carrier) -> None:
    classification = carry(always(lambda: answer(200, a_classification())), lambda client: client.classify(JPEG))

    assert classification.predictions == ()
    assert classification.best is None
    assert classification.job_id is None


@both
def test_a_classification_that_takes_longer_goes_on_as_a_job(carry: Carrier) -> None:
    seen: list[httpx2.Request] = []
    handler = recording(seen, answer(202, a_job("running")), answer(200, a_job("succeeded")))

    classification = carry(handler, lambda client: client.classify(JPEG))

    assert (classification.job_id, classification.model) == (JOB_ID, "mock@1")
    assert classification.timings.total_ms == 11.0
    assert [request.url.path for request in seen] == ["/predict", f"/v1/jobs/{JOB_ID}"]


@both
def test_a_job_that_failed_raises_what_the_direct_way_would(carry: Carrier) -> None:
    handler = recording([], answer(202, a_job()), answer(200, a_job("failed")))

    with pytest.raises(InvalidImage, match="A sentence about invalid-image") as raised:
        carry(handler, lambda client: client.classify(JPEG))

    assert raised.value.problem.code == "invalid-image"


@both
def test_waiting_gives_the_job_however_it_ended(carry: Carrier) -> None:
    job = carry(always(lambda: answer(200, a_job("failed"))), lambda client: client.wait(JOB_ID))

    assert job.done
    assert job.error.code == "invalid-image"


@both
def test_a_result_may_be_seen_with_another_threshold(carry: Carrier) -> None:
    seen: list[httpx2.Request] = []
    handler = recording(seen, answer(200, a_classification(("Bird", 0.91), ("Mammal", 0.02))))

    found = carry(handler, lambda client: client.result(JOB_ID, confidence_threshold=0, top_k=2))

    assert [item.label for item in found.predictions] == ["Bird", "Mammal"]
    assert seen[0].url.path == f"/v1/jobs/{JOB_ID}/result"
    assert dict(seen[0].url.params) == {"confidence_threshold": "0", "top_k": "2"}


@both
def test_a_result_of_an_unfinished_job_raises_with_the_job(carry: Carrier) -> None:
    waiting = {"position": 1, "estimated_wait_ms": None, "waiting_reason": "no_workers"}

    with pytest.raises(JobNotDone, match="no_workers") as raised:
        carry(always(lambda: answer(202, a_job(queue=waiting))), lambda client: client.result(JOB_ID))

    assert raised.value.job.queue.position == 1


@both
def test_the_other_calls_go_where_the_contract_has_them(carry: Carrier) -> None:
    seen: list[httpx2.Request] = []
    handler = recording(
        seen,
        answer(200, a_job("running")),
        answer(202, a_job("running")),
        answer(204),
        answer(200, a_status()),
        answer(200, {"status": "ready"}),
        refusal("no-workers", 503, retry_after="1"),
    )

    job = carry(handler, lambda client: client.job("job_a/b"))
    canceled = carry(handler, lambda client: client.cancel(job))
    carry(handler, lambda client: client.delete(JOB_ID))
    status = carry(handler, lambda client: client.status())
    readiness = [carry(handler, lambda client: client.ready()) for _ in range(2)]

    assert not canceled.done
    assert (status.workers[0].id, status.queue.depth, status.jobs["succeeded"]) == ("w1", 0, 5)
    assert readiness == [True, False]
    assert [(request.method, request.url.raw_path.decode()) for request in seen] == [
        ("GET", "/v1/jobs/job_a%2Fb"),
        ("POST", f"/v1/jobs/{JOB_ID}/cancel"),
        ("DELETE", f"/v1/jobs/{JOB_ID}"),
        ("GET", "/v1/status"),
        ("GET", "/health/ready"),
        ("GET", "/health/ready"),
    ]


def pages(*sizes: int) -> list[httpx2.Response]:
    last = len(sizes) - 1
    return [
        answer(200, {"items": [a_job()] * size, "next_cursor": None if number == last else f"c{number}"})
        for number, size in enumerate(sizes)
    ]


@both
@pytest.mark.parametrize(("limit", "wanted", "asked"), [(None, 5, [200, 200]), (4, 4, [4, 1]), (2, 2, [2]), (0, 0, [])])
def test_jobs_come_page_by_page_up_to_the_limit(
    carry: Carrier, limit: int | None, wanted: int, asked: list[int]
) -> None:
    seen: list[httpx2.Request] = []

    jobs = carry(recording(seen, *pages(3, 2)), lambda client: client.jobs(status="queued", limit=limit))

    assert len(jobs) == wanted
    assert [int(request.url.params["limit"]) for request in seen] == asked
    assert [request.url.params.get("cursor") for request in seen] == [None, "c0"][: len(asked)]


@both
def test_dead_letters_come_page_by_page_up_to_the_limit(carry: Carrier) -> None:
    seen: list[httpx2.Request] = []

    letters = carry(recording(seen, *pages(3, 2)), lambda client: client.dead_letters(limit=4))

    assert len(letters) == 4
    assert {request.url.path for request in seen} == {"/v1/dead-letters"}
    assert [dict(request.url.params) for request in seen] == [{"limit": "4"}, {"limit": "1", "cursor": "c0"}]


@both
def test_a_job_that_failed_is_tried_again_as_another(carry: Carrier) -> None:
    seen: list[httpx2.Request] = []
    new = a_job(id="job_2", retry_of=JOB_ID)
    handler = recording(seen, answer(202, new), answer(202, a_job("succeeded", id="job_2", retry_of=JOB_ID)))

    again = carry(handler, lambda client: client.retry(JOB_ID))
    replayed = carry(handler, lambda client: client.replay("job_a/b"))

    assert [(job.id, job.retry_of, job.retried_as) for job in (again, replayed)] == [("job_2", JOB_ID, None)] * 2
    assert [(request.method, request.url.raw_path.decode()) for request in seen] == [
        ("POST", f"/v1/jobs/{JOB_ID}/retry"),
        ("POST", "/v1/dead-letters/job_a%2Fb/replay"),
    ]


@both
def test_many_dead_letters_are_replayed_with_one_request(carry: Carrier) -> None:
    seen: list[httpx2.Request] = []
    told = {"replayed": [{"id": "job_2", "retry_of": "job_1", "shelf": 7}], "gone": 3, "more": True}

    replay = carry(recording(seen, answer(202, told)), lambda client: client.replay_all(limit=5, rate_per_s=0.5))

    assert replay == Replay(replayed=(Replayed(id="job_2", retry_of="job_1"),), gone=3)
    assert (seen[0].method, seen[0].url.path) == ("POST", "/v1/dead-letters/replay")
    assert seen[0].headers["Content-Type"] == "application/json"
    assert json.loads(seen[0].content) == {"limit": 5, "rate_per_s": 0.5}


@both
def test_a_picture_that_is_gone_is_an_error_of_its_own(carry: Carrier) -> None:
    with pytest.raises(InputGone):
        carry(always(lambda: refusal("input-gone", 410)), lambda client: client.retry(JOB_ID))


@both
def test_the_pause_that_a_busy_server_asks_for_is_kept(carry: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def fake_wait(_: object, seconds: float) -> bool:
        pauses.append(seconds)
        return False

    async def fake_sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("darkroom.lines.threading.Event.wait", fake_wait)
    monkeypatch.setattr("darkroom.async_client.asyncio.sleep", fake_sleep)
    handler = recording([], refusal("queue-full", 503, retry_after="2"), answer(200, a_job()))

    job = carry(handler, lambda client: client.job(JOB_ID))

    assert job.id == JOB_ID
    (pause,) = [seconds for seconds in pauses if seconds]
    assert 2 <= pause <= 2.5


@both
def test_a_problem_becomes_its_typed_error(carry: Carrier) -> None:
    fields = [{"pointer": "#/top_k", "detail": "Too small."}]

    with pytest.raises(NotFound) as raised:
        carry(always(lambda: refusal("job-not-found", 404, errors=fields)), lambda client: client.job(JOB_ID))

    problem = raised.value.problem
    assert (problem.status, problem.request_id, problem.retryable) == (404, "req_1", False)
    assert problem.errors[0].pointer == "#/top_k"


@both
@pytest.mark.parametrize(
    "response",
    [
        lambda: httpx2.Response(501, text="<h1>Not here</h1>"),
        lambda: httpx2.Response(500, text="{", headers={"Content-Type": "application/problem+json"}),
        lambda: answer(404, {"code": 1}),
        lambda: answer(200, [1]),
        lambda: answer(200, {"id": JOB_ID}),
        lambda: answer(200, a_job(created_at="yesterday")),
        lambda: httpx2.Response(200, content=b"\xff"),
        lambda: answer(204),
        lambda: answer(302, None, Location="http://127.0.0.1:9/"),
    ],
)
def test_an_answer_of_something_else_is_unexpected(carry: Carrier, response: Callable[[], httpx2.Response]) -> None:
    with pytest.raises(UnexpectedAnswer, match="is not one of Darkroom's"):
        carry(always(response), lambda client: client.job(JOB_ID))


@both
@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.status(),
        lambda client: client.jobs(),
        lambda client: client.classify(JPEG),
        lambda client: client.result(JOB_ID),
    ],
)
def test_an_empty_document_is_unexpected_whatever_was_asked(carry: Carrier, call: Callable[[Any], Any]) -> None:
    with pytest.raises(UnexpectedAnswer):
        carry(always(lambda: answer(200, {})), call)


@both
@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (httpx2.ConnectError("refused"), ConnectionFailed),
        (httpx2.ConnectTimeout("late"), ConnectionFailed),
        (httpx2.ReadTimeout("late"), AnswerTimeout),
        (httpx2.WriteTimeout("late"), AnswerTimeout),
        (httpx2.PoolTimeout("late"), AnswerTimeout),
        (httpx2.RemoteProtocolError("hung up"), ConnectionLost),
        (httpx2.WriteError("broken pipe"), ConnectionLost),
    ],
)
def test_trouble_on_the_way_is_a_connection_error_that_names_the_place(
    carry: Carrier, cause: Exception, kind: type[ConnectionFailed]
) -> None:
    def handle(_: httpx2.Request) -> httpx2.Response:
        raise cause

    with pytest.raises(ConnectionFailed, match=r"http://127\.0\.0\.1:8000") as raised:
        carry(handle, lambda client: client.unready())

    assert type(raised.value) is kind


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "http://host:port", "nonsense", ""])
def test_what_is_no_url_is_refused_when_the_client_is_made(url: str) -> None:
    with pytest.raises(InvalidUrl, match="is not a URL"):
        Client(url)


@pytest.mark.parametrize(
    ("url", "by_proxy"),
    [
        ("http://127.0.0.1:8000", False),
        ("http://[::1]:8000", False),
        ("http://localhost", False),
        ("http://darkroom.example", True),
        ("http://192.0.2.1", True),
    ],
)
def test_a_proxy_is_never_asked_for_the_loopback(url: str, by_proxy: bool) -> None:
    assert options(url)["trust_env"] is by_proxy


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ALL_PROXY", "socks5://bob:hunter2@host:1", "SOCKS"),
        ("HTTP_PROXY", "foo://bob:hunter2@host", "no address"),
        ("HTTPS_PROXY", "http://bob:hunter2/@host", "no address"),
        ("SSL_CERT_FILE", "/nowhere", "certificates"),
    ],
)
def test_surroundings_that_are_of_no_use_are_one_error_without_a_password(
    kind: type[Client | AsyncClient], name: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(InvalidSurroundings, match=sentence) as raised:
        kind("http://darkroom.example")

    assert name in str(raised.value)
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))
    # Of the loopback nothing is asked of the environment.
    kind("http://127.0.0.1:8000")


def a_queue(**changes: Any) -> dict[str, Any]:
    return {"position": None, "estimated_wait_ms": None, "waiting_reason": None, **changes}


@both
@pytest.mark.parametrize(
    "changes",
    [
        {"id": 5},
        {"done": "no"},
        {"done": 1},
        {"attempt": True},
        {"attempt": 1.5},
        {"confidence_threshold": "0.5"},
        {"confidence_threshold": None},
        {"queue": a_queue(position="first")},
        {"queue": "capacity"},
        {"queue": []},
        {"result": 0},
        {"result": a_classification(("Bird", 0.9), latency_ms="soon")},  # type: ignore[arg-type]
        {"result": {"predictions": [{"label": 5, "confidence": 0.9}], "latency_ms": 7}},
        {"result": {"predictions": [{"label": "Bird", "confidence": True}], "latency_ms": 7}},
        {"result": {"predictions": {}, "latency_ms": 7}},
        {"error": ""},
        {"error": {"code": 1, "status": 422, "title": "", "detail": ""}},
        {"error": {"code": "x", "status": 422, "title": "", "detail": "", "errors": {}}},
        {"timings": None},
        {"links": []},
        {"metadata": None},
        {"created_at": "2026-01-02T03:04:05"},
        {"expires_at": 5},
    ],
    ids=str,
)
def test_an_answer_of_other_types_is_unexpected(carry: Carrier, changes: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedAnswer):
        carry(always(lambda: answer(200, a_job(**changes))), lambda client: client.job(JOB_ID))


@both
@pytest.mark.parametrize(
    "changes",
    [
        {"uptime_s": "long"},
        {"jobs": {"queued": "many"}},
        {"jobs": []},
        {"serving": {"model": None, "model_version": "1"}},
        {"queue": {"depth": 1.5, "oldest_age_s": None, "estimated_wait_ms": None}},
        {"workers": {}},
        {"workers": [[]]},
    ],
    ids=str,
)
def test_a_status_of_other_types_is_unexpected(carry: Carrier, changes: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedAnswer):
        carry(always(lambda: answer(200, a_status(**changes))), lambda client: client.status())


@both
@pytest.mark.parametrize(
    "document",
    [
        {},
        {"replayed": {}, "gone": 0},
        {"replayed": [], "gone": None},
        {"replayed": [{"id": "job_1"}], "gone": 0},
        {"replayed": [{"id": 1, "retry_of": "job_0"}], "gone": 0},
    ],
    ids=str,
)
def test_a_replay_of_other_types_is_unexpected(carry: Carrier, document: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedAnswer):
        carry(always(lambda: answer(202, document)), lambda client: client.replay_all())


@both
@pytest.mark.parametrize("document", [{"items": {}, "next_cursor": None}, {"items": [], "next_cursor": 5}])
def test_a_page_of_other_types_is_unexpected(carry: Carrier, document: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedAnswer):
        carry(always(lambda: answer(200, document)), lambda client: client.jobs())


@both
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("place", ['"confidence_threshold": 0.5', '"metadata": {}'])
def test_a_number_that_is_none_is_unexpected_wherever_it_stands(carry: Carrier, number: str, place: str) -> None:
    whole = json.dumps(a_job())
    odd = f'"metadata": {{"shelf": {number}}}' if "metadata" in place else f'"confidence_threshold": {number}'
    assert place in whole

    with pytest.raises(UnexpectedAnswer):
        carry(always(lambda: httpx2.Response(200, text=whole.replace(place, odd))), lambda client: client.job(JOB_ID))


@both
def test_an_answer_that_is_nested_without_end_is_unexpected(carry: Carrier) -> None:
    with pytest.raises(UnexpectedAnswer):
        carry(always(lambda: httpx2.Response(200, text="[" * 100_000)), lambda client: client.job(JOB_ID))


@both
@pytest.mark.parametrize("duration", ["nan", "inf", "1e999", "soon"])
def test_a_duration_that_is_none_is_unexpected(carry: Carrier, duration: str) -> None:
    odd = lambda: answer(200, a_classification(), Server_Timing=f"queue;dur={duration}")  # noqa: E731

    with pytest.raises(UnexpectedAnswer):
        carry(always(odd), lambda client: client.classify(JPEG))
