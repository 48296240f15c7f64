import asyncio
from datetime import datetime
from typing import Any

import pytest

from shared.clock import epoch_us
from tests.support.gateways import PAYLOAD, WORKER, Gateway, ShakyStore, a_gateway, work
from tests.support.jobs import a_failure, a_report, an_answer
from tests.support.waiting import eventually

UNKNOWN = f"/v1/jobs/job_{'0' * 32}"


async def asked(gateway: Gateway, method: str, path: str) -> tuple[int, str]:
    answer = await gateway.client.request(method, path)
    return answer.status_code, answer.json()["code"]


async def test_a_submitted_job_has_every_field_of_the_contract() -> None:
    async with a_gateway() as gateway:
        answer = await gateway.client.post("/v1/jobs", json={**PAYLOAD, "metadata": {"a": 1}})

    job = answer.json()
    path = f"/v1/jobs/{job['id']}"
    assert answer.status_code == 202
    assert answer.headers["Location"] == path
    assert datetime.fromisoformat(job.pop("created_at")).utcoffset() is not None
    assert job == {
        "id": job["id"],
        "status": "queued",
        "done": False,
        "model": "mock",
        "model_version": "1",
        "confidence_threshold": 0.5,
        "priority": "normal",
        "attempt": 0,
        "max_attempts": 3,
        "queue": {"position": 1, "estimated_wait_ms": None, "waiting_reason": "no_workers"},
        "result": None,
        "error": None,
        "timings": dict.fromkeys(
            ["queue_ms", "fetch_ms", "decode_ms", "preprocess_ms", "predict_ms", "latency_ms", "total_ms"],
        ),
        "started_at": None,
        "finished_at": None,
        "expires_at": None,
        "retry_of": None,
        "retried_as": None,
        "links": {"self": path, "result": f"{path}/result", "events": None, "cancel": f"{path}/cancel", "retry": None},
        "metadata": {"a": 1},
    }


async def test_a_submit_never_waits() -> None:
    async with a_gateway() as gateway:
        answer = await gateway.client.post("/v1/jobs", json=PAYLOAD, headers={"Prefer": "wait=20"})

    assert answer.status_code == 202
    assert "Preference-Applied" not in answer.headers


async def test_a_finished_job_shows_its_result_times_and_timings() -> None:
    async with a_gateway() as gateway:
        job_id = await gateway.finished(
            an_answer(0.1, 0.6, 0.25, 0.05), confidence_threshold=0.05, top_k=2, result_ttl_s=60
        )
        answer = await gateway.client.get(f"/v1/jobs/{job_id}")

    job = answer.json()
    assert "Retry-After" not in answer.headers
    assert (job["status"], job["done"], job["attempt"], job["error"]) == ("succeeded", True, 1, None)
    assert [item["label"] for item in job["result"]["predictions"]] == ["Bird", "Reptile"]
    assert job["queue"] == {"position": None, "estimated_wait_ms": None, "waiting_reason": None}
    assert (job["timings"]["fetch_ms"], job["timings"]["latency_ms"]) == (0.1, 1.8)
    assert job["timings"]["total_ms"] >= job["timings"]["queue_ms"] >= 0
    finished, expires = (datetime.fromisoformat(job[name]) for name in ("finished_at", "expires_at"))
    assert (expires - finished).total_seconds() == 60


async def test_a_failed_job_shows_its_error_without_what_belongs_to_a_request() -> None:
    async with a_gateway() as gateway:
        job_id = await gateway.finished(a_failure())
        job = (await gateway.client.get(f"/v1/jobs/{job_id}")).json()

    assert job["status"] == "failed"
    assert job["result"] is None
    assert job["error"] == {
        "type": "/problems/invalid-image",
        "title": "The image cannot be decoded",
        "status": 422,
        "detail": "The image does not decode.",
        "code": "invalid-image",
        "retryable": False,
        "errors": [],
    }


@pytest.mark.parametrize("ask", [{"params": {"wait": "20"}}, {"headers": {"Prefer": "wait=20"}}])
async def test_a_look_can_wait_for_the_end(ask: dict[str, Any]) -> None:
    async with a_gateway() as gateway:
        job = await gateway.submitted()
        looking = asyncio.create_task(gateway.client.get(job["links"]["self"], **ask))
        await eventually(lambda: asyncio.sleep(0, len(gateway.waiters) == 1))
        work(gateway.store)
        answer = await looking

    assert answer.json()["done"] is True
    assert answer.headers.get("Preference-Applied") == ("wait=20" if "headers" in ask else None)


async def test_a_look_that_waits_in_vain_answers_200_and_when_to_look_again() -> None:
    async with a_gateway() as gateway:
        job = await gateway.submitted()
        answers = [await gateway.client.get(job["links"]["self"], params=ask) for ask in ({}, {"wait": "0.05"})]

    assert [(answer.status_code, answer.json()["done"]) for answer in answers] == [(200, False)] * 2
    assert [answer.headers["Retry-After"] for answer in answers] == ["1", "1"]


async def test_the_parameter_goes_before_the_preference() -> None:
    async with a_gateway() as gateway:
        job = await gateway.submitted()
        answer = await gateway.client.get(job["links"]["self"], params={"wait": "0"}, headers={"Prefer": "wait=60"})

    assert answer.status_code == 200
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize("ask", ["wait=-1", "wait=soon", "wait=nan", "wait=inf", "waits=1"])
@pytest.mark.parametrize("path", [UNKNOWN, f"{UNKNOWN}/result"])
async def test_parameters_of_the_wrong_shape_are_refused(path: str, ask: str) -> None:
    async with a_gateway() as gateway:
        answer = await asked(gateway, "GET", f"{path}?{ask}")

    assert answer == (422, "validation-error")


async def test_a_result_is_seen_through_other_thresholds_without_inference() -> None:
    async with a_gateway() as gateway:
        job_id = await gateway.finished(an_answer(0.1, 0.6, 0.25, 0.05))
        path = f"/v1/jobs/{job_id}/result"
        own = await gateway.client.get(path)
        lower = await gateway.client.get(path, params={"confidence_threshold": "0.2"})
        every = await gateway.client.get(path, params={"confidence_threshold": "0"})
        first = await gateway.client.get(path, params={"confidence_threshold": "0", "top_k": "1"})

    counts = [len(answer.json()["predictions"]) for answer in (own, lower, every, first)]
    assert counts == [1, 2, 4, 1]
    assert own.headers["Content-Location"] == f"/v1/jobs/{job_id}"
    assert set(own.json()) == {"predictions", "latency_ms"}


async def test_a_result_before_its_time_is_202_and_the_job() -> None:
    async with a_gateway() as gateway:
        job = await gateway.submitted()
        answer = await gateway.client.get(job["links"]["result"], params={"wait": "0.05"})

    assert answer.status_code == 202
    assert answer.headers["Location"] == job["links"]["self"]
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["id"] == job["id"]


async def test_the_result_of_a_failed_job_is_its_stored_problem() -> None:
    async with a_gateway() as gateway:
        job_id = await gateway.finished(a_failure())
        answer = await asked(gateway, "GET", f"/v1/jobs/{job_id}/result")

    assert answer == (422, "invalid-image")


async def test_a_canceled_job_stays_canceled_and_has_no_result() -> None:
    async with a_gateway() as gateway:
        job = await gateway.submitted()
        answers = [await gateway.client.post(job["links"]["cancel"]) for _ in range(2)]
        result = await asked(gateway, "GET", job["links"]["result"])

    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "canceled")] * 2
    assert answers[0].json()["error"] is None
    assert result == (409, "job-canceled")


async def test_a_running_job_is_asked_to_stop_and_its_late_result_does_not_count() -> None:
    async with a_gateway() as gateway:
        job = await gateway.submitted()
        claim = gateway.store.claim(WORKER)
        assert claim is not None
        asked_to = [await gateway.client.post(job["links"]["cancel"]) for _ in range(2)]
        while_running = await asked(gateway, "DELETE", job["links"]["self"])
        gateway.store.finish(WORKER, claim, an_answer(), then_claim=False)
        after = await gateway.client.post(job["links"]["cancel"])

    assert [(answer.status_code, answer.json()["status"]) for answer in asked_to] == [(202, "running")] * 2
    assert while_running == (409, "job-running")
    assert (after.status_code, after.json()["status"]) == (200, "canceled")


async def test_a_finished_job_cannot_be_canceled() -> None:
    async with a_gateway() as gateway:
        job_id = await gateway.finished()
        answer = await asked(gateway, "POST", f"/v1/jobs/{job_id}/cancel")

    assert answer == (409, "job-already-finished")


async def test_a_deleted_job_was_never_here() -> None:
    async with a_gateway() as gateway:
        job_id = await gateway.finished()
        deleted = await gateway.client.delete(f"/v1/jobs/{job_id}")
        after = [await asked(gateway, method, f"/v1/jobs/{job_id}") for method in ("GET", "DELETE")]

    assert (deleted.status_code, deleted.content) == (204, b"")
    assert after == [(404, "job-not-found")] * 2


async def test_who_waits_for_a_job_that_is_deleted_hears_of_it() -> None:
    async with a_gateway() as gateway:
        job = await gateway.submitted()
        looking = asyncio.create_task(asked(gateway, "GET", f"{job['links']['self']}?wait=20"))
        await eventually(lambda: asyncio.sleep(0, len(gateway.waiters) == 1))
        await gateway.client.delete(job["links"]["self"])
        answer = await looking

    assert answer == (404, "job-not-found")


@pytest.mark.parametrize("path", [UNKNOWN, "/v1/jobs/x", "/v1/jobs/%00", "/v1/jobs/%ff", f"/v1/jobs/job_{'a' * 5000}"])
async def test_an_unknown_id_is_404_whatever_is_asked_of_it(path: str) -> None:
    calls = [("GET", ""), ("GET", "/result"), ("POST", "/cancel"), ("DELETE", "")]
    async with a_gateway() as gateway:
        answers = [await asked(gateway, method, f"{path}{more}") for method, more in calls]

    assert answers == [(404, "job-not-found")] * 4


async def test_a_record_that_ran_out_is_410() -> None:
    offset = 0
    store = ShakyStore()
    store._now_us = lambda: epoch_us() + offset
    async with a_gateway(store) as gateway:
        job_id = await gateway.finished(result_ttl_s=60)
        offset = 61_000_000
        answer = await asked(gateway, "GET", f"/v1/jobs/{job_id}")

    assert answer == (410, "job-expired")


async def test_a_job_that_no_worker_took_in_time_tells_so() -> None:
    offset = 0
    store = ShakyStore()
    store._now_us = lambda: epoch_us() + offset
    async with a_gateway(store) as gateway:
        job = await gateway.submitted(queue_ttl_s=1)
        offset = 2_000_000
        store.claim(WORKER)
        shown = (await gateway.client.get(job["links"]["self"])).json()
        result = await asked(gateway, "GET", job["links"]["result"])

    assert (shown["status"], shown["error"]["code"], shown["error"]["status"]) == ("expired", "deadline-exceeded", 410)
    assert result == (410, "deadline-exceeded")


@pytest.mark.parametrize("fields", [{"model": "other"}, {"version": "9"}, {"model": "", "version": "1"}])
async def test_an_unknown_model_or_version_is_404(fields: dict[str, str]) -> None:
    async with a_gateway() as gateway:
        answer = await gateway.client.post("/v1/jobs", json={**PAYLOAD, **fields})

    assert (answer.status_code, answer.json()["code"]) == (404, "model-not-found")


async def test_the_list_is_paged_newest_first() -> None:
    async with a_gateway() as gateway:
        ids = [(await gateway.submitted())["id"] for _ in range(5)]
        seen, cursor = [], None
        while True:
            params = {"limit": "2", **({"cursor": cursor} if cursor else {})}
            page = (await gateway.client.get("/v1/jobs", params=params)).json()
            seen.append([job["id"] for job in page["items"]])
            cursor = page["next_cursor"]
            if cursor is None:
                break

    assert seen == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]


async def test_the_list_is_narrowed_by_state_and_model() -> None:
    async with a_gateway() as gateway:
        done = await gateway.finished()
        await gateway.submitted()
        succeeded = (await gateway.client.get("/v1/jobs?status=succeeded")).json()["items"]
        others = (await gateway.client.get("/v1/jobs?model=other")).json()["items"]

    assert [job["id"] for job in succeeded] == [done]
    assert others == []


@pytest.mark.parametrize(
    "ask",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "status=lost",
        "cursor=x",
        "cursor=",
        "cursor=%C3%A9",
        "cursor=LTE",
        "nonsense=1",
    ],
)
async def test_a_list_cannot_be_asked_for_nonsense(ask: str) -> None:
    async with a_gateway() as gateway:
        answer = await asked(gateway, "GET", f"/v1/jobs?{ask}")

    assert answer == (422, "validation-error")


async def test_a_waiting_job_is_told_its_outlook() -> None:
    async with a_gateway() as gateway:
        gateway.store.beat(a_report(id="w1", work_ms=10.0))
        gateway.store.beat(a_report(id="w2", work_ms=30.0))
        gateway.store.beat(a_report(id="w3", work_ms=None))
        await gateway.submitted()
        job = await gateway.submitted()

    assert job["queue"] == {"position": 2, "estimated_wait_ms": 13, "waiting_reason": "capacity"}


async def test_the_outlook_is_asked_for_once_a_second_also_when_nobody_answers() -> None:
    async with a_gateway() as gateway:
        await asyncio.gather(*[gateway.submitted() for _ in range(10)])

    assert gateway.store.overviews == 1
