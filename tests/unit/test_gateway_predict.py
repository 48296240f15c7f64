import asyncio
import json
import socket

import pytest

from shared.jobs import Failure
from tests.support.gateways import PAYLOAD, PICTURE, ShakyStore, a_gateway, a_live_gateway, work
from tests.support.jobs import a_failure, an_answer
from tests.support.waiting import eventually, until


async def waiting(count: int, gateway_waiters: object) -> None:
    async def reached() -> bool:
        return len(gateway_waiters) == count  # type: ignore[arg-type]

    await eventually(reached, what=f"{count} waiters")


async def test_predict_answers_the_final_answer_and_nothing_else() -> None:
    async with a_gateway() as gateway:
        asking = asyncio.create_task(gateway.client.post("/predict", json={**PAYLOAD, "confidence_threshold": 0.1}))
        await waiting(1, gateway.waiters)
        claim = work(gateway.store, an_answer(0.1, 0.6, 0.25, 0.05))
        answer = await asking

    assert answer.status_code == 200
    assert answer.json() == {
        "predictions": [
            {"label": "Bird", "confidence": 0.6},
            {"label": "Reptile", "confidence": 0.25},
            {"label": "Mammal", "confidence": 0.1},
        ],
        "latency_ms": 1.8,
    }
    assert answer.headers["Content-Location"] == f"/v1/jobs/{claim.spec.id}"
    assert answer.headers["X-Model"] == "mock@1"
    spans = [part.split(";dur=") for part in answer.headers["Server-Timing"].split(", ")]
    assert [name for name, _ in spans] == ["queue", "decode", "preprocess", "predict"]
    assert [float(span) for _, span in spans[1:]] == [1.0, 0.5, 0.2]
    assert claim.image == PICTURE
    assert len(gateway.waiters) == 0


async def test_an_empty_list_of_predictions_is_an_answer() -> None:
    async with a_gateway() as gateway:
        asking = asyncio.create_task(gateway.client.post("/predict", json={**PAYLOAD, "confidence_threshold": 1}))
        await waiting(1, gateway.waiters)
        work(gateway.store)
        answer = await asking

    assert answer.status_code == 200
    assert answer.json()["predictions"] == []


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("wait=0", "wait=0"),
        ("respond-async", "respond-async"),
        ("respond-async, wait=0", "respond-async, wait=0"),
        ("handling=strict, RESPOND-ASYNC", "respond-async"),
    ],
)
async def test_a_caller_that_will_not_wait_gets_the_job_at_once(prefer: str, applied: str) -> None:
    async with a_gateway() as gateway:
        answer = await gateway.client.post("/predict", json=PAYLOAD, headers={"Prefer": prefer})

    job = answer.json()
    assert answer.status_code == 202
    assert (job["status"], job["done"]) == ("queued", False)
    assert answer.headers["Location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert answer.headers["Preference-Applied"] == applied
    assert answer.headers["Retry-After"] == "1"


async def test_a_wait_that_runs_out_answers_202_with_the_job_as_it_stands() -> None:
    async with a_gateway(default_wait_s=0.2) as gateway:
        asking = asyncio.create_task(gateway.client.post("/predict", json=PAYLOAD))
        await waiting(1, gateway.waiters)
        gateway.store.claim("w1")
        answer = await asking

    assert answer.status_code == 202
    assert answer.json()["status"] == "running"
    assert "Preference-Applied" not in answer.headers


async def test_a_wait_is_cut_to_the_gateways_limit() -> None:
    async with a_gateway(max_wait_s=0.1) as gateway:
        answer = await gateway.client.post("/predict", json=PAYLOAD, headers={"Prefer": "wait=3600"})

    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "wait=0.1"


async def test_a_preference_that_makes_no_sense_is_ignored() -> None:
    async with a_gateway(default_wait_s=0) as gateway:
        answer = await gateway.client.post("/predict", json=PAYLOAD, headers={"Prefer": "wait=soon"})

    assert answer.status_code == 202
    assert "Preference-Applied" not in answer.headers


async def test_a_failed_job_is_answered_by_its_stored_problem() -> None:
    failure = Failure(code="image-too-large", detail="The image has too many pixels.", limit=50, actual=60)
    async with a_gateway() as gateway:
        asking = asyncio.create_task(gateway.client.post("/predict", json=PAYLOAD))
        await waiting(1, gateway.waiters)
        claim = work(gateway.store, failure)
        answer = await asking

    problem = answer.json()
    assert answer.status_code == problem["status"] == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Content-Location"] == f"/v1/jobs/{claim.spec.id}"
    assert (problem["code"], problem["limit"], problem["actual"]) == ("image-too-large", 50, 60)
    assert problem["instance"] == "/predict"


async def test_a_canceled_job_is_no_answer() -> None:
    async with a_gateway() as gateway:
        asking = asyncio.create_task(gateway.client.post("/predict", json=PAYLOAD))
        await waiting(1, gateway.waiters)
        (job,) = (await gateway.client.get("/v1/jobs")).json()["items"]
        await gateway.client.post(job["links"]["cancel"])
        answer = await asking

    assert (answer.status_code, answer.json()["code"]) == (409, "job-canceled")


@pytest.mark.parametrize(
    "request_of",
    [
        {"files": {"image": ("../../etc/passwd", PICTURE)}, "data": {"confidence_threshold": "0.25"}},
        {"files": {"image": ("a", PICTURE)}, "params": {"confidence_threshold": "0.25"}},
        {"content": PICTURE, "headers": {"Content-Type": "image/png"}, "params": {"confidence_threshold": "0.25"}},
        {
            "content": PICTURE,
            "headers": {"Content-Type": "IMAGE/whatever; q=1"},
            "params": {"confidence_threshold": "2.5e-1"},
        },
        {"json": {**PAYLOAD, "confidence_threshold": 0.25, "unknown": [1]}, "params": {"also": "unknown"}},
        {"json": {**PAYLOAD, "confidence_threshold": 0.25}, "headers": {"Content-Type": "application/json; charset=x"}},
    ],
)
async def test_the_three_kinds_of_body_are_the_same_request(request_of: dict[str, object]) -> None:
    async with a_gateway(default_wait_s=0) as gateway:
        answer = await gateway.client.post("/predict", **request_of)  # type: ignore[arg-type]
        claim = gateway.store.claim("w1")

    assert answer.status_code == 202, answer.text
    assert claim is not None
    assert claim.image == PICTURE
    assert claim.spec.confidence_threshold == 0.25


async def test_a_hiccup_of_the_store_does_not_end_a_wait() -> None:
    async with a_gateway() as gateway:
        asking = asyncio.create_task(gateway.client.post("/predict", json=PAYLOAD))
        await waiting(1, gateway.waiters)
        gateway.store.down = True
        work(gateway.store)
        await asyncio.wait({asking}, timeout=0.3)
        still_waiting = not asking.done()
        gateway.store.down = False
        answer = await asking

    assert still_waiting
    assert answer.status_code == 200


async def test_a_wait_that_ends_while_the_store_is_away_answers_with_what_was_known() -> None:
    async with a_gateway(default_wait_s=0.2) as gateway:
        asking = asyncio.create_task(gateway.client.post("/predict", json=PAYLOAD))
        await waiting(1, gateway.waiters)
        gateway.store.down = True
        answer = await asking

    assert answer.status_code == 202
    assert answer.json()["queue"] == {"position": 1, "estimated_wait_ms": None, "waiting_reason": None}


async def test_a_store_that_is_away_from_the_start_is_said_at_once() -> None:
    async with a_gateway() as gateway:
        gateway.store.down = True
        answer = await gateway.client.post("/predict", json=PAYLOAD)

    assert (answer.status_code, answer.json()["code"]) == (503, "broker-unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["retryable"] is True
    assert len(gateway.waiters) == 0


def test_a_client_that_leaves_frees_its_waiter_and_does_not_cancel_the_job() -> None:
    store = ShakyStore()
    body = json.dumps(PAYLOAD).encode()
    head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with a_live_gateway(store) as (port, app):
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        for client in clients:
            client.sendall(head.encode() + body)
        until(lambda: len(app.state.waiters) == 20, what="20 waiters")

        for client in clients:
            client.close()

        # The default wait is half a minute: only their leaving can free them now.
        until(lambda: len(app.state.waiters) == 0, seconds=5, what="no waiters")
        work(store)
        work(store, a_failure())


async def test_everybody_is_let_go_with_their_job_when_the_gateway_stops() -> None:
    async with a_gateway() as gateway:
        asking = asyncio.create_task(gateway.client.post("/predict", json=PAYLOAD))
        await waiting(1, gateway.waiters)
        gateway.waiters.dismiss()
        answers = [await asking, await gateway.client.post("/predict", json=PAYLOAD)]

    assert [answer.status_code for answer in answers] == [202, 202]
