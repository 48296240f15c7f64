import asyncio
from typing import Any

import pytest

from shared.clock import epoch_us
from shared.errors import BrokerUnavailable
from shared.jobs import Failure, Job, JobSpec
from tests.support.gateways import WORKER, Gateway, ShakyStore, a_gateway
from tests.support.jobs import a_failure

DEAD = Failure(code="inference-failed", detail="The model failed.", dead=True)
REPLAY = "/v1/dead-letters/replay"


class Retries(ShakyStore):
    """Tells of the retries asked for, goes away after `until_down` of them, and has a time that the test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.until_down = 10_000
        self.later_s = 0.0
        self.pauses: list[int] = []
        self.under_way = self.most_under_way = 0
        self._now_us = lambda: epoch_us() + int(self.later_s * 1e6)

    async def retry(self, job_id: str, owner: str, spec: JobSpec, pause_ms: int = 0) -> Job:
        if self.until_down == 0:
            raise BrokerUnavailable("The job store does not answer just now.")
        self.until_down -= 1
        self.pauses.append(pause_ms)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        return await super().retry(job_id, owner, spec, pause_ms)


async def a_letter(gateway: Gateway, **fields: object) -> str:
    return await gateway.finished(DEAD, **fields)


async def listed(gateway: Gateway) -> list[str]:
    return [job["id"] for job in (await gateway.client.get("/v1/dead-letters")).json()["items"]]


async def replayed(gateway: Gateway, body: object = None) -> dict[str, Any]:
    answer = await gateway.client.post(REPLAY, json=body) if body else await gateway.client.post(REPLAY)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_dead_letters_are_the_jobs_that_failed_for_good_newest_first() -> None:
    async with a_gateway() as gateway:
        await gateway.finished(a_failure())
        letters = [await a_letter(gateway) for _ in range(3)]
        await gateway.finished()
        await gateway.submitted()
        first = (await gateway.client.get("/v1/dead-letters", params={"limit": "2"})).json()
        rest = (await gateway.client.get("/v1/dead-letters", params={"cursor": first["next_cursor"]})).json()

    assert [job["id"] for job in first["items"] + rest["items"]] == letters[::-1]
    assert rest["next_cursor"] is None
    assert first["items"][0]["error"]["code"] == "inference-failed"


@pytest.mark.parametrize("ask", ["limit=0", "limit=201", "cursor=x", "status=failed", "nonsense=1"])
async def test_dead_letters_cannot_be_asked_for_nonsense(ask: str) -> None:
    async with a_gateway() as gateway:
        answer = await gateway.client.get(f"/v1/dead-letters?{ask}")

    assert (answer.status_code, answer.json()["code"]) == (422, "validation-error")


async def test_a_replayed_letter_is_a_new_job_and_no_letter_any_more() -> None:
    async with a_gateway() as gateway:
        letter = await a_letter(gateway)
        answers = [await gateway.client.post(f"/v1/dead-letters/{letter}/replay") for _ in range(2)]
        left = await listed(gateway)

    new = answers[0].json()
    assert [(answer.status_code, answer.json()["id"]) for answer in answers] == [(202, new["id"])] * 2
    assert (new["status"], new["retry_of"]) == ("queued", letter)
    assert answers[0].headers["Location"] == f"/v1/jobs/{new['id']}"
    assert left == []


async def test_what_is_no_dead_letter_is_not_replayed() -> None:
    async with a_gateway() as gateway:
        plain, done = await gateway.finished(a_failure()), await gateway.finished()
        ids = (plain, done, "x", f"job_{'0' * 32}")
        answers = [await gateway.client.post(f"/v1/dead-letters/{job_id}/replay") for job_id in ids]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "job-not-found")] * 4


async def test_a_letter_without_its_picture_is_410_and_stays_listed() -> None:
    store = Retries()
    async with a_gateway(store, retry_keep_s=60) as gateway:
        letter = await a_letter(gateway)
        store.later_s = 61
        answer = await gateway.client.post(f"/v1/dead-letters/{letter}/replay")
        left = await listed(gateway)

    assert (answer.status_code, answer.json()["code"]) == (410, "input-gone")
    assert left == [letter]


async def test_a_replay_of_all_needs_no_body_and_names_old_and_new() -> None:
    async with a_gateway() as gateway:
        letters = [await a_letter(gateway) for _ in range(12)]
        told = await replayed(gateway)
        left = await listed(gateway)
        new = [(await gateway.client.get(f"/v1/jobs/{pair['id']}")).json() for pair in told["replayed"]]

    assert [pair["retry_of"] for pair in told["replayed"]] == letters[::-1]
    assert [(job["status"], job["retry_of"]) for job in new] == [("queued", letter) for letter in letters[::-1]]
    assert told["gone"] == 0
    assert left == []


async def test_a_replay_of_many_leaves_the_store_to_others_too() -> None:
    store = Retries()
    async with a_gateway(store) as gateway:
        for _ in range(30):
            await a_letter(gateway)
        await replayed(gateway)
        fast, store.most_under_way = store.most_under_way, 0
        for _ in range(3):
            await a_letter(gateway)
        await replayed(gateway, {"rate_per_s": 1000})

    assert (fast, store.most_under_way) == (8, 1)


async def test_a_replay_stops_at_its_limit_with_the_newest_first() -> None:
    async with a_gateway() as gateway:
        letters = [await a_letter(gateway) for _ in range(12)]
        told = await replayed(gateway, {"limit": 10})
        left = await listed(gateway)

    assert [pair["retry_of"] for pair in told["replayed"]] == letters[:1:-1]
    assert left == letters[1::-1]


async def test_letters_without_pictures_are_counted_and_hold_nobody_up() -> None:
    store = Retries()
    async with a_gateway(store, retry_keep_s=60) as gateway:
        good = await a_letter(gateway)
        bad = [await a_letter(gateway) for _ in range(230)]
        for job_id in bad:
            store._pictures.pop(job_id)
        told = await replayed(gateway, {"limit": 1})
        left = await listed(gateway)

    assert [pair["retry_of"] for pair in told["replayed"]] == [good]
    assert told["gone"] == 230
    assert left == bad[:-51:-1]


async def test_with_a_rate_the_new_jobs_join_the_queue_one_after_the_other() -> None:
    store = Retries()
    async with a_gateway(store) as gateway:
        letters = [await a_letter(gateway, queue_ttl_s=1) for _ in range(4)]
        store._pictures.pop(letters[2])
        told = await replayed(gateway, {"rate_per_s": 0.5})
        jobs = [(await gateway.client.get(f"/v1/jobs/{pair['id']}")).json() for pair in told["replayed"]]
        taken = []
        for later_s in (2.5, 4.5):
            store.later_s = later_s
            await store.reap()
            claim = store.claim(WORKER)
            taken.append(claim and claim.spec.id)

    assert (len(told["replayed"]), told["gone"]) == (3, 1)
    assert sorted(set(store.pauses)) == [0, 2000, 4000]
    assert [job["queue"]["waiting_reason"] for job in jobs] == ["no_workers", "retry_backoff", "retry_backoff"]
    assert taken == [jobs[1]["id"], jobs[2]["id"]]


async def test_a_store_that_goes_away_in_the_middle_loses_nothing() -> None:
    store = Retries()
    async with a_gateway(store) as gateway:
        letters = [await a_letter(gateway) for _ in range(12)]
        store.until_down = 3
        refused = await gateway.client.post(REPLAY)
        store.until_down = 10_000
        left = await listed(gateway)
        told = await replayed(gateway)
        jobs = (await gateway.client.get("/v1/jobs?status=queued")).json()["items"]

    assert (refused.status_code, refused.json()["code"]) == (503, "broker-unavailable")
    assert refused.headers["Retry-After"] == "1"
    assert left == letters[8::-1]
    assert [pair["retry_of"] for pair in told["replayed"]] == left
    assert sorted(job["retry_of"] for job in jobs) == sorted(letters)


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"{", "application/json", 422, "validation-error"),
        (b"[]", "application/json", 422, "validation-error"),
        (b"null", "application/json", 422, "validation-error"),
        (b'{"limit": 0}', "application/json", 422, "validation-error"),
        (b'{"limit": 1001}', "application/json", 422, "validation-error"),
        (b'{"limit": "5"}', "application/json", 422, "validation-error"),
        (b'{"rate_per_s": 0}', "application/json", 422, "validation-error"),
        (b'{"rate_per_s": NaN}', "application/json", 422, "validation-error"),
        (b'{"rate_per_s": 1e999}', "application/json", 422, "validation-error"),
        (b'{"rate_per_s": 0.001}', "application/json", 422, "validation-error"),
        (b'{"colour": "green"}', "application/json", 422, "validation-error"),
        (b'{"limit": 5}', "text/plain", 415, "unsupported-media-type"),
        (b'{"limit": 5}', "", 415, "unsupported-media-type"),
        (b" " * 20_000, "application/json", 413, "payload-too-large"),
    ],
)
async def test_a_replay_in_the_wrong_shape_is_refused(body: bytes, kind: str, status: int, code: str) -> None:
    async with a_gateway() as gateway:
        answer = await gateway.client.post(REPLAY, content=body, headers={"Content-Type": kind})

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_rate_that_would_take_days_says_so() -> None:
    async with a_gateway() as gateway:
        answer = await gateway.client.post(REPLAY, json={"rate_per_s": 0.001})
        slow = await gateway.client.post(REPLAY, json={"rate_per_s": 0.001, "limit": 80})

    assert answer.json()["errors"] == [
        {"pointer": "#", "detail": "At this rate the last of so many would join the queue after more than a day."}
    ]
    assert slow.status_code == 202


async def test_a_replay_takes_no_parameters() -> None:
    async with a_gateway() as gateway:
        answers = [await gateway.client.post(f"/v1/dead-letters/{path}replay?limit=1") for path in ("", "x/")]

    assert [answer.json()["code"] for answer in answers] == ["validation-error"] * 2
