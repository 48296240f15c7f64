"""The contract, row by row, over HTTP against the running stack."""

import asyncio
import base64
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient, Client, Response
from PIL import Image

from shared.adapters.bell import Bell
from shared.adapters.redis_work_store import RedisWorkStore
from shared.jobs import Claim, Failure, JobSpec, Setback, new_job_id
from tests.integration.conftest import Stack
from tests.support.jobs import an_answer
from tests.support.pictures import a_photograph, encoded
from tests.support.programs import Gateway, running
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

LABELS = {"Mammal", "Bird", "Reptile", "Amphibian"}
PICTURE = encoded(a_photograph(), "JPEG")
BROKEN = PICTURE[:200]
PNG_60_MP = encoded(Image.new("1", (10_000, 6_000)))


def b64(image: bytes = PICTURE) -> str:
    return base64.b64encode(image).decode()


def problem(response: Response, status: int, code: str) -> dict[str, Any]:
    """The problem that the response must be."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = response.json()
    assert told["type"] == f"/problems/{code}"
    assert (told["code"], told["status"]) == (code, status)
    assert told["title"]
    assert told["detail"]
    assert isinstance(told["retryable"], bool)
    assert re.fullmatch(r"req_\w+", told["request_id"])
    assert len(response.content) < 2048
    return told


def submitted(http: Client, image: bytes = PICTURE, **fields: Any) -> dict[str, Any]:
    response = http.post("/v1/jobs", json={"image_base64": b64(image), **fields})
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()
    return job


def finished(http: Client, image: bytes = PICTURE, **fields: Any) -> dict[str, Any]:
    job = http.get(f"/v1/jobs/{submitted(http, image, **fields)['id']}?wait=20").json()
    assert job["done"], job
    return dict(job)


class Hand:
    """The test as a worker: it takes jobs when the test says so."""

    def __init__(self, stack: Stack) -> None:
        self.store = RedisWorkStore.from_url(stack.redis.url, bell=Bell())
        # As every worker's: its own, since the store remembers how far each has counted.
        self.name = new_job_id()

    def claimed(self, job: dict[str, Any]) -> Claim:
        """This job's claim; those queued before it are taken and left."""
        while (claim := self.store.claim(self.name)) is not None:
            if claim.spec.id == job["id"]:
                return claim
        raise AssertionError("the job does not wait")

    def claimed_when_due(self, job: dict[str, Any]) -> Claim:
        """The same of a job that may still pause."""
        claims: dict[str, Claim] = {}

        def found() -> Claim | None:
            while (claim := self.store.claim(self.name)) is not None:
                claims[claim.spec.id] = claim
            return claims.get(job["id"])

        return until(found, what="the job to be due")


@contextmanager
def a_hand(stack: Stack) -> Iterator[Hand]:
    hand = Hand(stack)
    yield hand
    hand.store.retire(hand.name)


def _age_s(stack: Stack, job: dict[str, Any]) -> float:
    with stack.redis.client() as client:
        seconds, micros = (int(part) for part in client.time())
    now = seconds + micros / 1e6
    return now - datetime.fromisoformat(str(job["created_at"])).timestamp()


def _reason(stack: Stack, job: dict[str, Any]) -> str | None:
    found: str | None = stack.http.get(f"/v1/jobs/{job['id']}").json()["queue"]["waiting_reason"]
    return found


def _state(stack: Stack, job: dict[str, Any]) -> str:
    return str(stack.http.get(f"/v1/jobs/{job['id']}").json()["status"])


# Predicting


def answered(response: Response) -> list[dict[str, Any]]:
    """The predictions of a final answer, whose whole form is checked."""
    assert response.status_code == 200, response.text
    body = response.json()
    assert set(body) == {"predictions", "latency_ms"}
    assert body["latency_ms"] > 0
    predictions: list[dict[str, Any]] = body["predictions"]
    assert all(set(prediction) == {"label", "confidence"} for prediction in predictions)
    assert all(prediction["label"] in LABELS for prediction in predictions)
    confidences = [prediction["confidence"] for prediction in predictions]
    assert confidences == sorted(confidences, reverse=True)
    return predictions


def test_predict_answers_200_with_the_final_answer_and_its_headers(stack: Stack) -> None:
    response = stack.http.post("/predict", json={"image_base64": b64(), "confidence_threshold": 0.0})

    predictions = answered(response)
    assert {prediction["label"] for prediction in predictions} == LABELS
    assert sum(prediction["confidence"] for prediction in predictions) == pytest.approx(1, abs=1e-5)
    assert re.fullmatch(r"/v1/jobs/job_[0-9a-f]{32}", response.headers["content-location"])
    assert re.fullmatch(
        r"queue;dur=[\d.]+, decode;dur=[\d.]+, preprocess;dur=[\d.]+, predict;dur=[\d.]+",
        response.headers["server-timing"],
    )
    assert response.headers["x-model"] == "mock@1"


def test_three_bodies_get_the_same_answer(stack: Stack) -> None:
    by_json = stack.http.post("/predict", json={"image_base64": b64(), "confidence_threshold": 0.2})
    by_form = stack.http.post(
        "/predict", files={"image": ("../../x.jpg", PICTURE)}, data={"confidence_threshold": "0.2"}
    )
    by_bytes = stack.http.post(
        "/predict?confidence_threshold=0.2", content=PICTURE, headers={"content-type": "image/jpeg"}
    )

    assert answered(by_json) == answered(by_form) == answered(by_bytes) != []


@pytest.mark.parametrize(
    "text",
    [
        b64(),
        base64.urlsafe_b64encode(PICTURE).decode(),
        f"data:image/jpeg;base64,{b64()}",
    ],
)
def test_standard_and_url_safe_base64_and_data_uris_are_accepted(stack: Stack, text: str) -> None:
    assert answered(stack.http.post("/predict", json={"image_base64": text, "confidence_threshold": 0})) != []


def test_the_threshold_is_half_unless_told_and_an_empty_list_is_an_answer(stack: Stack) -> None:
    every = answered(stack.http.post("/predict", json={"image_base64": b64(), "confidence_threshold": 0}))

    default = answered(stack.http.post("/predict", json={"image_base64": b64()}))
    certain = answered(stack.http.post("/predict", json={"image_base64": b64(), "confidence_threshold": 1}))

    assert default == [prediction for prediction in every if prediction["confidence"] >= 0.5]
    assert certain == [prediction for prediction in every if prediction["confidence"] >= 1]


def test_unknown_fields_are_ignored_and_of_duplicate_keys_the_last_wins(stack: Stack) -> None:
    twice = '"image_base64": "%%%", "confidence_threshold": 1, "colour": [1], "confidence_threshold": 0'
    body = f'{{{twice}, "image_base64": "{b64()}"}}'

    response = stack.http.post("/predict", content=body, headers={"content-type": "application/json"})

    assert len(answered(response)) == 4


@pytest.mark.parametrize(
    ("prefer", "status", "applied"),
    [
        ("wait=20", 200, "wait=20"),
        ("wait=600", 200, "wait=60"),
        ("respond-async", 202, "respond-async"),
        ("wait=0", 202, "wait=0"),
    ],
)
def test_prefer_chooses_how_long_to_wait_and_is_confirmed(stack: Stack, prefer: str, status: int, applied: str) -> None:
    response = stack.http.post("/predict", json={"image_base64": b64()}, headers={"prefer": prefer})

    assert response.status_code == status
    assert response.headers["preference-applied"] == applied


def test_a_wait_that_runs_out_is_202_with_the_job(workerless: Stack) -> None:
    response = workerless.http.post("/predict", json={"image_base64": b64()}, headers={"prefer": "wait=1"})

    assert response.status_code == 202
    job = response.json()
    assert (job["status"], job["done"]) == ("queued", False)
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("image", "status", "code"),
    [
        (b"", 422, "invalid-image"),
        (BROKEN, 422, "invalid-image"),
        (b"%PDF-1.7 not a picture", 415, "unsupported-image-format"),
        (PNG_60_MP, 413, "image-too-large"),
    ],
)
def test_a_bad_picture_is_the_callers_fault(stack: Stack, image: bytes, status: int, code: str) -> None:
    told = problem(stack.http.post("/predict", json={"image_base64": b64(image)}), status, code)

    assert told["instance"] == "/predict"
    assert not told["retryable"]
    if code == "image-too-large":
        assert (told["limit"], told["actual"]) == (50_000_000, 60_000_000)


@pytest.mark.parametrize("text", ["%%%", "YQ", "YQ==\n", "Y Q=", "data:text/html;base64,YQ==", "é"])
def test_what_is_not_strict_base64_is_refused(stack: Stack, text: str) -> None:
    problem(stack.http.post("/predict", json={"image_base64": text}), 422, "invalid-base64")


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[]",
        "{}",
        '{"image_base64": 5}',
        '{"image_base64": "YQ==", "confidence_threshold": "0.5"}',
        '{"image_base64": "YQ==", "confidence_threshold": true}',
        '{"image_base64": "YQ==", "confidence_threshold": NaN}',
        '{"image_base64": "YQ==", "confidence_threshold": 1.01}',
        '{"image_base64": "\\ud800"}',
        "",
    ],
)
def test_a_body_of_the_wrong_shape_is_422_and_never_echoed(stack: Stack, body: str) -> None:
    told = problem(
        stack.http.post("/predict", content=body, headers={"content-type": "application/json"}),
        422,
        "validation-error",
    )

    assert all(set(error) == {"pointer", "detail"} for error in told["errors"])


def test_a_body_of_another_type_is_415(stack: Stack) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded"):
        response = stack.http.post("/predict", content=b"x", headers={"content-type": content_type})
        problem(response, 415, "unsupported-media-type")


def test_a_body_over_the_limit_is_413_with_limit_and_actual(stack: Stack) -> None:
    told = problem(
        stack.http.post("/predict", content=b"x" * 16_000_000, headers={"content-type": "image/jpeg"}),
        413,
        "payload-too-large",
    )

    assert told["limit"] == 15 * 1024 * 1024
    assert told["actual"] >= 16_000_000


# Submitting


def test_submit_answers_202_with_the_whole_job(workerless: Stack) -> None:
    response = workerless.http.post(
        "/v1/jobs", json={"image_base64": b64(), "metadata": {"album": "zoo"}, "priority": "high", "top_k": 2}
    )

    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert set(job) == {
        *("id", "status", "done", "model", "model_version", "confidence_threshold", "priority", "attempt"),
        *("max_attempts", "queue", "result", "error", "timings", "created_at", "started_at", "finished_at"),
        *("expires_at", "retry_of", "retried_as", "links", "metadata"),
    }
    assert (job["status"], job["done"], job["attempt"], job["max_attempts"]) == ("queued", False, 0, 3)
    assert (job["model"], job["model_version"], job["priority"]) == ("mock", "1", "high")
    assert job["queue"]["position"] >= 1
    assert job["queue"]["waiting_reason"] == "no_workers"
    assert set(job["timings"]) == {
        *("queue_ms", "fetch_ms", "decode_ms", "preprocess_ms", "predict_ms", "latency_ms", "total_ms")
    }
    assert set(job["links"]) == {"self", "result", "events", "cancel", "retry"}
    assert job["metadata"] == {"album": "zoo"}
    assert datetime.fromisoformat(job["created_at"]).utcoffset() is not None


def test_submit_takes_the_three_bodies(stack: Stack) -> None:
    by_form = stack.http.post("/v1/jobs?top_k=1&confidence_threshold=0", files={"image": PICTURE})
    by_bytes = stack.http.post(
        "/v1/jobs?top_k=1&confidence_threshold=0", content=PICTURE, headers={"content-type": "image/jpeg"}
    )

    for response in (by_form, by_bytes):
        assert response.status_code == 202, response.text
        job = stack.http.get(f"{response.headers['location']}?wait=20").json()
        assert len(job["result"]["predictions"]) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"colour": "green"},
        {"priority": "urgent"},
        {"top_k": 0},
        {"queue_ttl_s": 86_401},
        {"result_ttl_s": 0},
        {"metadata": {"long": "x" * 5000}},
        {"metadata": {"1": {"2": {"3": {"4": {"5": {"6": {"7": {"8": {"9": 1}}}}}}}}}},
        {"metadata": []},
    ],
)
def test_under_v1_what_is_unknown_or_out_of_bounds_is_refused(stack: Stack, fields: dict[str, Any]) -> None:
    problem(stack.http.post("/v1/jobs", json={"image_base64": b64(), **fields}), 422, "validation-error")


def test_an_unknown_model_is_404(stack: Stack) -> None:
    for fields in ({"model": "oracle"}, {"version": "9"}):
        problem(stack.http.post("/v1/jobs", json={"image_base64": b64(), **fields}), 404, "model-not-found")


# One job


def test_a_wait_answers_200_when_the_job_is_done(stack: Stack) -> None:
    job = finished(stack.http, confidence_threshold=0.0)

    assert job["status"] == "succeeded"
    assert len(job["result"]["predictions"]) == 4
    assert all(value is not None and value >= 0 for value in job["timings"].values())
    assert job["timings"]["latency_ms"] == job["result"]["latency_ms"]
    parts = sum(job["timings"][f"{part}_ms"] for part in ("decode", "preprocess", "predict"))
    assert parts == pytest.approx(job["timings"]["latency_ms"], abs=0.1)
    assert job["created_at"] <= job["started_at"] <= job["finished_at"] < job["expires_at"]
    assert job["queue"] == {"position": None, "estimated_wait_ms": None, "waiting_reason": None}


@pytest.mark.parametrize("ask", [{"params": {"wait": "1"}}, {"headers": {"prefer": "wait=1"}}, {}])
def test_a_wait_that_runs_out_answers_200_as_it_stands(workerless: Stack, ask: dict[str, Any]) -> None:
    job = submitted(workerless.http)

    response = workerless.http.get(f"/v1/jobs/{job['id']}", **ask)

    assert response.status_code == 200
    assert (response.json()["status"], response.json()["done"]) == ("queued", False)
    assert int(response.headers["retry-after"]) >= 1


def test_a_finished_job_names_no_time_to_retry(stack: Stack) -> None:
    response = stack.http.get(f"/v1/jobs/{finished(stack.http)['id']}")

    assert "retry-after" not in response.headers


def test_a_failed_job_holds_its_problem_without_instance_and_request(stack: Stack) -> None:
    job = finished(stack.http, BROKEN)

    assert job["status"] == "failed"
    assert job["error"]["code"] == "invalid-image"
    assert not {"instance", "request_id"} & set(job["error"])
    assert job["result"] is None


def test_an_unknown_job_is_404_everywhere(stack: Stack) -> None:
    for method, path in [
        ("GET", "/v1/jobs/job_0"),
        ("GET", "/v1/jobs/job_0/result"),
        ("POST", "/v1/jobs/job_0/cancel"),
        ("POST", "/v1/jobs/job_0/retry"),
        ("POST", "/v1/dead-letters/job_0/replay"),
        ("DELETE", "/v1/jobs/job_0"),
    ]:
        problem(stack.http.request(method, path), 404, "job-not-found")
        problem(stack.http.request(method, f"{path}?colour=green"), 422, "validation-error")


def test_a_job_whose_record_ran_out_is_410(stack: Stack) -> None:
    job = finished(stack.http, result_ttl_s=1)

    until(lambda: stack.http.get(f"/v1/jobs/{job['id']}").status_code == 410, seconds=10, what="the record to go")

    problem(stack.http.get(f"/v1/jobs/{job['id']}"), 410, "job-expired")
    problem(stack.http.get(f"/v1/jobs/{job['id']}/result"), 410, "job-expired")


# The result of a job


def test_another_threshold_and_top_k_cost_no_inference(stack: Stack) -> None:
    job = finished(stack.http, confidence_threshold=1.0)
    path = f"/v1/jobs/{job['id']}/result"

    every = answered(stack.http.get(path, params={"confidence_threshold": 0}))
    two = answered(stack.http.get(path, params={"confidence_threshold": 0, "top_k": 2}))
    own = answered(stack.http.get(path))

    assert len(every) == 4
    assert two == every[:2]
    assert own == [prediction for prediction in every if prediction["confidence"] >= 1]
    assert stack.http.get(f"/v1/jobs/{job['id']}").json()["attempt"] == 1


def test_the_result_waits_when_asked(stack: Stack) -> None:
    job = submitted(stack.http)

    assert answered(stack.http.get(f"/v1/jobs/{job['id']}/result?wait=20&confidence_threshold=0"))


def test_the_result_of_an_unfinished_job_is_202_with_the_job(workerless: Stack) -> None:
    job = submitted(workerless.http)

    response = workerless.http.get(f"/v1/jobs/{job['id']}/result")

    assert response.status_code == 202
    assert response.json()["id"] == job["id"]
    assert int(response.headers["retry-after"]) >= 1


def test_the_result_of_a_failed_job_is_its_problem_and_status(stack: Stack) -> None:
    job = finished(stack.http, BROKEN)

    problem(stack.http.get(f"/v1/jobs/{job['id']}/result"), 422, "invalid-image")


def test_the_result_of_a_canceled_job_is_409(workerless: Stack) -> None:
    job = submitted(workerless.http)
    workerless.http.post(f"/v1/jobs/{job['id']}/cancel")

    problem(workerless.http.get(f"/v1/jobs/{job['id']}/result"), 409, "job-canceled")


def test_a_job_that_no_worker_took_in_time_is_expired_and_its_result_410(workerless: Stack) -> None:
    job = submitted(workerless.http, queue_ttl_s=1)
    until(lambda: _age_s(workerless, job) > 1, what="its time to pass")

    with a_hand(workerless) as hand:
        until(lambda: hand.store.claim(hand.name) is None, what="the queue to run dry")

    problem(workerless.http.get(f"/v1/jobs/{job['id']}/result"), 410, "deadline-exceeded")
    told = workerless.http.get(f"/v1/jobs/{job['id']}").json()
    assert (told["done"], told["error"]["code"]) == (True, "deadline-exceeded")


# Retry and dead letters


def retried(response: Response, old: dict[str, Any]) -> dict[str, Any]:
    """The new job that the response must be."""
    assert response.status_code == 202, response.text
    new: dict[str, Any] = response.json()
    assert new["retry_of"] == old["id"] != new["id"]
    assert response.headers["location"] == f"/v1/jobs/{new['id']}"
    return new


def dead(http: Client, hand: Hand, **fields: Any) -> dict[str, Any]:
    """A job that has become a dead letter."""
    job = submitted(http, **fields)
    failure = Failure(code="inference-failed", detail="The model failed.", dead=True)
    hand.store.finish(hand.name, hand.claimed(job), failure, then_claim=False)
    return job


def letters(http: Client) -> list[str]:
    page = http.get("/v1/dead-letters?limit=200").json()
    assert set(page) == {"items", "next_cursor"}
    return [job["id"] for job in page["items"]]


def test_a_retry_is_a_new_job_that_ends_by_itself_and_a_repeat_names_the_same(stack: Stack) -> None:
    old = finished(stack.http, BROKEN, confidence_threshold=0.25, metadata={"album": "zoo"}, priority="low")

    first = retried(stack.http.post(f"/v1/jobs/{old['id']}/retry"), old)
    ended = stack.http.get(f"/v1/jobs/{first['id']}?wait=20").json()
    again = retried(stack.http.post(f"/v1/jobs/{old['id']}/retry"), old)

    assert old["links"]["retry"] == f"/v1/jobs/{old['id']}/retry"
    assert (again["id"], again["done"]) == (first["id"], True)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "invalid-image")
    for name in ("model", "model_version", "confidence_threshold", "priority", "metadata"):
        assert first[name] == old[name]
    before = stack.http.get(f"/v1/jobs/{old['id']}").json()
    assert (before["status"], before["retried_as"], before["finished_at"]) == (
        "failed",
        first["id"],
        old["finished_at"],
    )


def test_a_canceled_and_an_expired_job_are_tried_again_with_their_pictures(workerless: Stack) -> None:
    canceled, expired = submitted(workerless.http), submitted(workerless.http, queue_ttl_s=1)
    workerless.http.post(canceled["links"]["cancel"])
    until(lambda: _state(workerless, expired) == "expired", what="a queue without workers to expire it")

    again = [retried(workerless.http.post(f"/v1/jobs/{job['id']}/retry"), job) for job in (canceled, expired)]
    with a_hand(workerless) as hand:
        pictures = [hand.claimed(job).image for job in again]

    assert pictures == [PICTURE, PICTURE]


def test_a_job_that_is_queued_running_or_succeeded_is_not_tried_again(stack: Stack, workerless: Stack) -> None:
    queued, running = submitted(workerless.http), submitted(workerless.http)
    done = finished(stack.http)
    with a_hand(workerless) as hand:
        hand.claimed(running)
        queued = submitted(workerless.http)

        for http, job in ((workerless.http, queued), (workerless.http, running), (stack.http, done)):
            problem(http.post(f"/v1/jobs/{job['id']}/retry"), 409, "job-running")
            assert http.get(f"/v1/jobs/{job['id']}").json()["links"]["retry"] is None


def test_once_the_picture_was_erased_a_retry_is_410(stack: Stack) -> None:
    job = finished(stack.http, BROKEN)
    with stack.redis.client() as client:
        client.pexpire(f"darkroom:picture:{job['id']}", 1)
        until(lambda: not client.exists(f"darkroom:picture:{job['id']}"), what="the picture to go")

    problem(stack.http.post(f"/v1/jobs/{job['id']}/retry"), 410, "input-gone")


def test_a_failure_that_may_pass_pauses_the_job_and_tries_it_again(workerless: Stack) -> None:
    job = submitted(workerless.http)
    with a_hand(workerless) as hand:
        failure = Failure(code="decode-timeout", detail="It took too long.")
        hand.store.finish(hand.name, hand.claimed(job), Setback(failure=failure, repeats=1), then_claim=False)
        pausing = workerless.http.get(f"/v1/jobs/{job['id']}").json()
        until(lambda: _reason(workerless, job) != "retry_backoff", what="the pause to end")
        hand.store.finish(hand.name, hand.claimed(job), Setback(failure=failure, repeats=1), then_claim=False)

    assert (pausing["status"], pausing["done"], pausing["attempt"]) == ("queued", False, 1)
    assert (pausing["queue"]["position"], pausing["queue"]["waiting_reason"]) == (None, "retry_backoff")
    problem(workerless.http.get(f"/v1/jobs/{job['id']}/result"), 422, "decode-timeout")
    assert job["id"] in letters(workerless.http)


def test_a_job_that_lost_its_workers_is_503_and_says_when_to_try_again(workerless: Stack) -> None:
    job = submitted(workerless.http)
    with a_hand(workerless) as hand, workerless.redis.client() as client:
        for _ in range(3):
            until(lambda: _state(workerless, job) == "queued", what="the job to be taken back")
            hand.claimed(job)
            # Its lease ended long ago: as if the worker had not been heard from since.
            client.zadd("darkroom:leases", {job["id"]: 1})
        until(lambda: _state(workerless, job) == "failed", what="the attempts to be used up")

    response = workerless.http.get(f"/v1/jobs/{job['id']}/result")
    told = problem(response, 503, "worker-crashed")
    shown = workerless.http.get(f"/v1/jobs/{job['id']}").json()
    assert told["retryable"]
    assert int(response.headers["retry-after"]) >= 1
    assert (shown["attempt"], shown["error"]["code"], shown["error"]["retryable"]) == (3, "worker-crashed", True)
    assert job["id"] in letters(workerless.http)


def test_dead_letters_are_listed_replayed_and_then_gone_from_the_list(workerless: Stack) -> None:
    with a_hand(workerless) as hand:
        first, second, third = (dead(workerless.http, hand) for _ in range(3))
        listed = letters(workerless.http)

        one = retried(workerless.http.post(f"/v1/dead-letters/{second['id']}/replay"), second)
        again = retried(workerless.http.post(f"/v1/dead-letters/{second['id']}/replay"), second)
        rest = workerless.http.post("/v1/dead-letters/replay", json={"limit": 2, "rate_per_s": 2}).json()

        assert listed[:3] == [third["id"], second["id"], first["id"]]
        assert one["id"] == again["id"]
        assert [pair["retry_of"] for pair in rest["replayed"]] == [third["id"], first["id"]]
        assert not {first["id"], second["id"], third["id"]} & set(letters(workerless.http))
        for pair in rest["replayed"]:
            assert hand.claimed_when_due(pair).image == PICTURE


def test_what_is_no_dead_letter_is_404_and_a_replay_in_the_wrong_shape_422(stack: Stack) -> None:
    job = finished(stack.http, BROKEN)

    problem(stack.http.post(f"/v1/dead-letters/{job['id']}/replay"), 404, "job-not-found")
    for body in ({"limit": 0}, {"limit": 1001}, {"rate_per_s": 0}, {"colour": "green"}):
        problem(stack.http.post("/v1/dead-letters/replay", json=body), 422, "validation-error")
    assert stack.http.post("/v1/dead-letters/replay").json() == {"replayed": [], "gone": 0}


# Cancel, delete, list


def test_a_queued_job_is_canceled_with_200_and_a_repeat_says_the_same(workerless: Stack) -> None:
    job = submitted(workerless.http)

    first = workerless.http.post(f"/v1/jobs/{job['id']}/cancel")
    again = workerless.http.post(f"/v1/jobs/{job['id']}/cancel")

    assert (first.status_code, first.json()["status"], first.json()["done"]) == (200, "canceled", True)
    assert (again.status_code, again.json()) == (200, first.json())


def test_a_running_job_is_asked_to_cancel_with_202_and_its_late_result_never_shows(workerless: Stack) -> None:
    job = submitted(workerless.http)
    with a_hand(workerless) as hand:
        claim = hand.claimed(job)

        asked = [workerless.http.post(f"/v1/jobs/{job['id']}/cancel") for _ in range(2)]
        hand.store.finish(hand.name, claim, an_answer(), then_claim=False)

    assert [(response.status_code, response.json()["status"]) for response in asked] == [(202, "running")] * 2
    assert _state(workerless, job) == "canceled"
    problem(workerless.http.get(f"/v1/jobs/{job['id']}/result"), 409, "job-canceled")


def test_a_running_job_is_not_deleted(workerless: Stack) -> None:
    job = submitted(workerless.http)
    with a_hand(workerless) as hand:
        hand.claimed(job)

        problem(workerless.http.delete(f"/v1/jobs/{job['id']}"), 409, "job-running")


def test_a_finished_job_is_not_canceled(stack: Stack) -> None:
    job = finished(stack.http)

    problem(stack.http.post(f"/v1/jobs/{job['id']}/cancel"), 409, "job-already-finished")


def test_a_deleted_job_is_204_and_then_unknown(stack: Stack) -> None:
    job = finished(stack.http)

    response = stack.http.delete(f"/v1/jobs/{job['id']}")

    assert (response.status_code, response.content) == (204, b"")
    problem(stack.http.get(f"/v1/jobs/{job['id']}"), 404, "job-not-found")


def test_jobs_are_listed_newest_first_page_by_page(workerless: Stack) -> None:
    ids = [submitted(workerless.http)["id"] for _ in range(5)]

    seen: list[str] = []
    cursor: str | None = None
    while len(seen) < 5:
        params = {"limit": "2", "status": "queued", "model": "mock", **({"cursor": cursor} if cursor else {})}
        page = workerless.http.get("/v1/jobs", params=params).json()
        seen += [job["id"] for job in page["items"]]
        cursor = page["next_cursor"]

    assert seen[:5] == ids[::-1]


def test_a_list_refuses_what_it_cannot_read(stack: Stack) -> None:
    for params in ({"limit": "201"}, {"limit": "0"}, {"status": "lost"}, {"cursor": "%%"}, {"colour": "green"}):
        problem(stack.http.get("/v1/jobs", params=params), 422, "validation-error")
    assert stack.http.get("/v1/jobs", params={"model": "oracle"}).json() == {"items": [], "next_cursor": None}


# Health, status, the rest


def test_live_and_ready(stack: Stack, workerless: Stack) -> None:
    assert stack.http.get("/health/live").status_code == 200
    assert stack.http.get("/health/ready").status_code == 200
    assert workerless.http.get("/health/live").status_code == 200
    told = problem(workerless.http.get("/health/ready"), 503, "no-workers")
    assert told["retryable"]
    assert "worker" in told["detail"]


def test_the_status_tells_of_jobs_queue_and_workers(stack: Stack) -> None:
    finished(stack.http)

    status = until(
        lambda: found if (found := stack.http.get("/v1/status").json())["workers"][0]["jobs_done"] else None,
        what="the worker to report",
    )

    assert status["serving"] == {"model": "mock", "model_version": "1"}
    assert status["uptime_s"] > 0
    assert set(status["jobs"]) == {"queued", "running", "succeeded", "failed", "canceled", "expired"}
    assert status["jobs"]["succeeded"] >= 1
    assert status["queue"].keys() == {"depth", "oldest_age_s", "estimated_wait_ms"}
    (worker,) = status["workers"]
    assert (worker["model"], worker["model_version"]) == ("mock", "1")
    assert worker["state"] in {"idle", "busy"}
    assert worker["rss_bytes"] > 10_000_000
    assert 0 <= worker["last_heard_s"] < 10


def test_the_status_takes_no_parameters(stack: Stack) -> None:
    problem(stack.http.get("/v1/status?colour=green"), 422, "validation-error")


def test_openapi_shows_three_bodies_and_the_docs_are_our_own(stack: Stack) -> None:
    described = stack.http.get("/openapi.json").json()

    for path in ("/predict", "/v1/jobs"):
        bodies = described["paths"][path]["post"]["requestBody"]["content"]
        assert {"application/json", "multipart/form-data", "image/*"} <= set(bodies)
        assert all(body["schema"] for body in bodies.values())
    page = stack.http.get("/docs").text
    addresses = [address for address in re.findall(r'(?:src|href)="([^"]+)"', page) if not address.startswith("data:")]
    assert addresses
    for address in addresses:
        assert address.startswith("/")
        assert stack.http.get(address).status_code == 200


def test_home_is_a_page_of_links(stack: Stack) -> None:
    page = stack.http.get("/")

    assert page.headers["content-type"].startswith("text/html")
    for address in re.findall(r'href="([^"]+)"', page.text):
        assert stack.http.get(address).status_code == 200


def test_what_is_not_there_is_a_problem_too(stack: Stack) -> None:
    problem(stack.http.get("/nowhere"), 404, "not-found")
    told = stack.http.put("/predict")
    problem(told, 405, "method-not-allowed")
    assert told.headers["allow"] == "POST"


def test_on_loopback_without_keys_a_foreign_host_or_origin_is_403(stack: Stack) -> None:
    for headers in (
        {"host": "evil.example"},
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
    ):
        problem(stack.http.post("/predict", json={"image_base64": b64()}, headers=headers), 403, "forbidden")


def test_every_answer_names_its_request(stack: Stack) -> None:
    ids = {stack.http.get("/health/live").headers["x-request-id"] for _ in range(5)}

    assert len(ids) == 5
    assert all(re.fullmatch(r"req_\w{16,}", request_id) for request_id in ids)


def test_a_picture_is_erased_when_its_job_succeeds_and_kept_for_an_hour_when_it_fails(stack: Stack) -> None:
    succeeded, failed = finished(stack.http), finished(stack.http, BROKEN)

    with stack.redis.client() as client:
        assert client.exists(f"darkroom:picture:{succeeded['id']}") == 0
        assert 3590 < client.ttl(f"darkroom:picture:{failed['id']}") <= 3600


def test_one_pixel_is_a_picture(stack: Stack) -> None:
    buffer = BytesIO()
    Image.new("LA", (1, 1)).save(buffer, "PNG")

    assert finished(stack.http, buffer.getvalue())["status"] == "succeeded"


def test_a_spec_has_the_defaults_of_the_contract() -> None:
    spec = JobSpec(id="job_1", owner="anonymous", model="mock", model_version="1")

    assert (spec.confidence_threshold, spec.queue_ttl_ms, spec.result_ttl_ms) == (0.5, 3_600_000, 3_600_000)


async def test_a_frozen_redis_is_503_within_two_seconds_for_more_callers_than_connections(tmp_path: Path) -> None:
    server = RedisServer(tmp_path).start()
    with ExitStack() as ending:
        ending.callback(server.stop)
        gateway = ending.enter_context(running(Gateway(server.url, tmp_path / "log")))
        async with AsyncClient(base_url=gateway.url, timeout=30) as http:
            ready = await http.post("/v1/jobs", json={"image_base64": b64()})
            server.signal(signal.SIGSTOP)
            try:
                answers = await asyncio.gather(
                    *(http.post("/v1/jobs", json={"image_base64": b64()}) for _ in range(50)),
                    *(http.get(f"/v1/jobs/{ready.json()['id']}") for _ in range(50)),
                )
                alive = await http.get("/health/live")
            finally:
                server.signal(signal.SIGCONT)
            again = await http.post("/v1/jobs", json={"image_base64": b64()})

    for answer in answers:
        told = problem(answer, 503, "broker-unavailable")
        assert told["retryable"]
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.elapsed.total_seconds() < 2
    assert alive.status_code == 200
    assert again.status_code == 202
