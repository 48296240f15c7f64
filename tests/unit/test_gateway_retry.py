import asyncio
from typing import Any

import pytest

from shared.clock import epoch_us
from shared.jobs import LEASE_MS, Failure, Setback
from tests.support.gateways import PAYLOAD, PICTURE, WORKER, Gateway, ShakyStore, a_gateway, work
from tests.support.jobs import a_failure, a_report, an_answer
from tests.support.waiting import eventually

WISHES: dict[str, Any] = {
    "confidence_threshold": 0.25,
    "top_k": 2,
    "priority": "high",
    "queue_ttl_s": 60,
    "result_ttl_s": 7200,
    "metadata": {"shelf": 7},
}


class Clock:
    """A store whose time the test moves."""

    def __init__(self) -> None:
        self.later_s = 0.0
        self.store = ShakyStore()
        self.store._now_us = lambda: epoch_us() + int(self.later_s * 1e6)


async def answered(gateway: Gateway, method: str, path: str) -> tuple[int, str]:
    answer = await gateway.client.request(method, path)
    return answer.status_code, answer.json()["code"]


async def seen(gateway: Gateway, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await gateway.client.get(f"/v1/jobs/{job_id}")).json()
    return found


async def test_a_retry_is_a_new_job_that_keeps_all_that_was_asked_for() -> None:
    async with a_gateway() as gateway:
        old = await gateway.finished(a_failure(), **WISHES)
        answer = await gateway.client.post(f"/v1/jobs/{old}/retry")
        before = await seen(gateway, old)
        claim = work(gateway.store, an_answer(0.1, 0.6, 0.25, 0.05))
        after = await seen(gateway, claim.spec.id)

    new = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == new["links"]["self"] == f"/v1/jobs/{claim.spec.id}"
    assert answer.headers["Retry-After"] == "1"
    assert (new["status"], new["attempt"], new["retry_of"], new["retried_as"]) == ("queued", 0, old, None)
    assert {name: new[name] for name in WISHES if name in new} == {name: WISHES[name] for name in WISHES if name in new}
    assert (before["status"], before["retried_as"], before["retry_of"]) == ("failed", new["id"], None)
    assert (claim.image, claim.spec.queue_ttl_ms, claim.spec.result_ttl_ms) == (PICTURE, 60_000, 7_200_000)
    assert [item["label"] for item in after["result"]["predictions"]] == ["Bird", "Reptile"]


async def test_asked_again_a_retry_gives_the_same_new_job_however_it_stands() -> None:
    async with a_gateway() as gateway:
        path = f"/v1/jobs/{await gateway.finished(a_failure())}/retry"
        first = await gateway.client.post(path)
        work(gateway.store)
        again = await gateway.client.post(path)

    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert again.json()["status"] == "succeeded"
    assert "Retry-After" not in again.headers


async def test_a_canceled_and_an_expired_job_can_be_tried_again() -> None:
    clock = Clock()
    async with a_gateway(clock.store) as gateway:
        canceled, expired = await gateway.submitted(), await gateway.submitted(queue_ttl_s=1)
        await gateway.client.post(canceled["links"]["cancel"])
        clock.later_s = 2
        await clock.store.reap()
        links = [(await seen(gateway, job["id"]))["links"]["retry"] for job in (canceled, expired)]
        answers = [await gateway.client.post(link) for link in links]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert [answer.json()["retry_of"] for answer in answers] == [canceled["id"], expired["id"]]


async def test_a_job_that_waits_runs_or_succeeded_is_not_tried_again() -> None:
    async with a_gateway() as gateway:
        done = await gateway.finished()
        running = (await gateway.submitted())["id"]
        gateway.store.claim(WORKER)
        queued = (await gateway.submitted())["id"]
        answers = [await answered(gateway, "POST", f"/v1/jobs/{job_id}/retry") for job_id in (done, running, queued)]
        links = [(await seen(gateway, job_id))["links"]["retry"] for job_id in (done, running, queued)]

    assert answers == [(409, "job-running")] * 3
    assert links == [None] * 3


async def test_once_the_picture_is_erased_a_retry_is_410() -> None:
    clock = Clock()
    async with a_gateway(clock.store, retry_keep_s=60) as gateway:
        old = await gateway.finished(a_failure())
        clock.later_s = 61
        answer = await answered(gateway, "POST", f"/v1/jobs/{old}/retry")

    assert answer == (410, "input-gone")


async def test_where_no_picture_is_kept_no_retry_is_offered() -> None:
    async with a_gateway(retry_keep_s=0) as gateway:
        old = await gateway.finished(a_failure())
        job = await seen(gateway, old)
        answer = await answered(gateway, "POST", f"/v1/jobs/{old}/retry")

    assert job["links"]["retry"] is None
    assert answer == (410, "input-gone")


async def test_a_retry_for_a_version_that_is_gone_is_404_and_loses_nothing() -> None:
    async with a_gateway() as gateway:
        first, second = await gateway.finished(a_failure()), await gateway.finished(a_failure())
        new = (await gateway.client.post(f"/v1/jobs/{first}/retry")).json()
        labels, gateway.app.state.jobs._labels = gateway.app.state.jobs._labels, {}
        refused = await answered(gateway, "POST", f"/v1/jobs/{second}/retry")
        again = await gateway.client.post(f"/v1/jobs/{first}/retry")
        gateway.app.state.jobs._labels = labels
        later = await gateway.client.post(f"/v1/jobs/{second}/retry")

    assert refused == (404, "model-not-found")
    assert again.json()["id"] == new["id"]
    assert later.status_code == 202


async def test_a_job_whose_record_ran_out_is_not_tried_again() -> None:
    clock = Clock()
    async with a_gateway(clock.store) as gateway:
        old = await gateway.finished(a_failure(), result_ttl_s=60)
        clock.later_s = 61
        answer = await answered(gateway, "POST", f"/v1/jobs/{old}/retry")

    assert answer == (410, "job-expired")


async def test_a_retry_takes_no_parameters_and_knows_no_other_ids() -> None:
    async with a_gateway() as gateway:
        old = await gateway.finished(a_failure())
        odd = await answered(gateway, "POST", f"/v1/jobs/{old}/retry?wait=1")
        absent = [await answered(gateway, "POST", f"/v1/jobs/{name}/retry") for name in ("x", f"job_{'0' * 32}")]

    assert odd == (422, "validation-error")
    assert absent == [(404, "job-not-found")] * 2


async def test_a_job_that_was_set_back_tells_when_it_is_tried_again() -> None:
    async with a_gateway() as gateway:
        gateway.store.beat(a_report(work_ms=100.0))
        job = await gateway.submitted()
        work(gateway.store, Setback(failure=a_failure(), repeats=2))
        shown = await seen(gateway, job["id"])

    assert (shown["status"], shown["done"], shown["attempt"]) == ("queued", False, 1)
    assert (shown["queue"]["position"], shown["queue"]["waiting_reason"]) == (None, "retry_backoff")
    assert 500 < shown["queue"]["estimated_wait_ms"] <= 1100


async def test_who_knows_no_wait_says_none_and_why_all_the_same() -> None:
    async with a_gateway() as gateway:
        job = await gateway.submitted()
        work(gateway.store, Setback(failure=a_failure(), repeats=2))
        gateway.app.state.jobs._outlook_until = 0
        gateway.store.down = True
        outlook = await gateway.app.state.jobs.outlook()
        gateway.store.down = False
        shown = await seen(gateway, job["id"])

    assert outlook is None
    assert shown["queue"] == {"position": None, "estimated_wait_ms": None, "waiting_reason": "retry_backoff"}


async def test_the_gateway_takes_back_what_lost_workers_held_and_who_waits_is_told_of_its_end() -> None:
    clock = Clock()
    async with a_gateway(clock.store) as gateway:
        job = await gateway.submitted()
        waiting = asyncio.create_task(gateway.client.get(job["links"]["result"], params={"wait": "20"}))
        for _ in range(3):
            await eventually(lambda: asyncio.sleep(0, clock.store.claim(WORKER)), what="the job to wait")
            clock.later_s += LEASE_MS / 1000 + 1
        answer = await waiting
        shown = await seen(gateway, job["id"])

    assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (503, "worker-crashed", True)
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Content-Location"] == job["links"]["self"]
    assert (shown["status"], shown["attempt"], shown["error"]["code"]) == ("failed", 3, "worker-crashed")
    assert (shown["error"]["status"], shown["error"]["retryable"]) == (503, True)


async def test_without_a_worker_a_job_expires_all_the_same() -> None:
    clock = Clock()
    async with a_gateway(clock.store) as gateway:
        job = await gateway.submitted(queue_ttl_s=1)
        clock.later_s = 2
        shown = (await gateway.client.get(job["links"]["self"], params={"wait": "20"})).json()

    assert shown["status"] == "expired"
    assert shown["error"]["code"] == "deadline-exceeded"


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Failure(code="decode-timeout", detail="It takes too long.", dead=True), 422),
        (Failure(code="out-of-memory", detail="It takes too much.", dead=True), 422),
        (Failure(code="inference-failed", detail="The model failed.", dead=True), 500),
    ],
)
async def test_predict_answers_a_failed_job_with_its_problem(failure: Failure, status: int) -> None:
    async with a_gateway() as gateway:
        predicting = asyncio.create_task(gateway.client.post("/predict", json=PAYLOAD))
        await eventually(lambda: asyncio.sleep(0, len(gateway.waiters) == 1))
        work(gateway.store, failure)
        answer = await predicting

    assert (answer.status_code, answer.json()["code"]) == (status, failure.code)
