import pytest

from shared.jobs import JobState
from tests.support.gateways import ShakyStore, a_gateway
from tests.support.jobs import a_failure, a_report


class DistrustedStore(ShakyStore):
    """A store that says it may lose jobs."""

    async def faults(self) -> list[str]:
        self._answer()
        return ["It keeps no log.", "It evicts."]


async def test_alive_asks_nobody() -> None:
    async with a_gateway() as gateway:
        gateway.store.down = True
        answer = await gateway.client.get("/health/live")

    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


async def test_ready_with_a_store_that_can_be_trusted_and_a_worker() -> None:
    async with a_gateway() as gateway:
        gateway.store.beat(a_report())
        answer = await gateway.client.get("/health/ready")

    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize("report", [None, a_report(model="other"), a_report(model_version="2")])
async def test_not_ready_without_a_worker_that_has_the_model(report: object) -> None:
    async with a_gateway() as gateway:
        if report is not None:
            gateway.store.beat(report)  # type: ignore[arg-type]
        answer = await gateway.client.get("/health/ready")

    assert (answer.status_code, answer.json()["code"]) == (503, "no-workers")
    assert answer.headers["Retry-After"] == "1"


async def test_not_ready_on_a_store_that_may_lose_jobs_and_all_that_is_missing_is_named() -> None:
    async with a_gateway(DistrustedStore()) as gateway:
        gateway.store.beat(a_report())
        answer = await gateway.client.get("/health/ready")

    assert (answer.status_code, answer.json()["code"]) == (503, "broker-unavailable")
    assert answer.json()["detail"] == "It keeps no log. It evicts."


async def test_ready_on_a_store_to_throw_away_when_that_is_allowed() -> None:
    async with a_gateway(DistrustedStore(), throwaway_redis=True) as gateway:
        gateway.store.beat(a_report())
        answer = await gateway.client.get("/health/ready")

    assert answer.status_code == 200


@pytest.mark.parametrize("throwaway", [False, True])
@pytest.mark.parametrize("path", ["/health/ready", "/v1/status"])
async def test_a_store_that_does_not_answer_is_said(path: str, throwaway: bool) -> None:
    async with a_gateway(DistrustedStore(), throwaway_redis=throwaway) as gateway:
        gateway.store.down = True
        answer = await gateway.client.get(path)

    assert (answer.status_code, answer.json()["code"]) == (503, "broker-unavailable")


async def test_the_status_of_a_service_that_does_nothing() -> None:
    async with a_gateway() as gateway:
        status = (await gateway.client.get("/v1/status")).json()

    assert status.pop("uptime_s") >= 0
    assert status == {
        "serving": {"model": "mock", "model_version": "1"},
        "jobs": {state.value: 0 for state in JobState},
        "queue": {"depth": 0, "oldest_age_s": None, "estimated_wait_ms": None},
        "workers": [],
        "waiters": 0,
    }


async def test_the_status_counts_jobs_and_shows_workers() -> None:
    async with a_gateway() as gateway:
        await gateway.finished()
        await gateway.finished(a_failure())
        waiting = [await gateway.submitted() for _ in range(3)]
        await gateway.client.post(waiting[2]["links"]["cancel"])
        before = (await gateway.client.get("/v1/status")).json()
        gateway.store.beat(a_report(work_ms=10.0))
        after = (await gateway.client.get("/v1/status")).json()

    assert after["jobs"] == {"queued": 2, "running": 0, "succeeded": 1, "failed": 1, "canceled": 1, "expired": 0}
    assert before["queue"]["estimated_wait_ms"] is None
    assert (after["queue"]["depth"], after["queue"]["estimated_wait_ms"]) == (2, 20)
    assert after["queue"]["oldest_age_s"] >= 0
    (worker,) = after["workers"]
    assert worker.pop("last_heard_s") < 10
    assert worker == {
        "id": "w1",
        "state": "idle",
        "model": "mock",
        "model_version": "1",
        "rss_bytes": 50_000_000,
        "jobs_done": 3,
    }
