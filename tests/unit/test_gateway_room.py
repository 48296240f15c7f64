"""Bodies have so much room at a time, and give it back as soon as the store has them."""

import asyncio
from typing import Any

import pytest

from gateway.room import Room
from shared.errors import QueueFull
from shared.jobs import Job, JobSpec
from shared.store import Once
from tests.support.gateways import PICTURE, ShakyStore, a_gateway, work
from tests.support.waiting import eventually

PNG = {"Content-Type": "image/png"}
ONE_BODY: Any = {"max_body_bytes": len(PICTURE), "max_held_bytes": len(PICTURE)}


class SlowStore(ShakyStore):
    """Takes a job once it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Event()
        self.asked = 0

    async def enqueue(self, spec: JobSpec, image: bytes, once: Once | None = None) -> Job:
        self.asked += 1
        await self.let.wait()
        return await super().enqueue(spec, image, once)


def test_there_is_so_much_room_and_no_more() -> None:
    room = Room(10)

    with room.share() as one:
        one.take(6)
        with room.share() as other, pytest.raises(QueueFull):
            other.take(5)
        with room.share() as other:
            other.take(4)
        one.give_back()
        one.give_back()
        with room.share() as other:
            other.take(10)
    with room.share() as all_of_it:
        all_of_it.take(10)


async def test_a_body_beyond_it_is_asked_to_come_back_and_then_taken() -> None:
    store = SlowStore()
    async with a_gateway(store, **ONE_BODY) as gateway:
        first = asyncio.create_task(gateway.client.post("/v1/jobs", content=PICTURE, headers=PNG))

        async def asked() -> bool:
            return store.asked == 1

        await eventually(asked)
        refused = await gateway.client.post("/v1/jobs", content=PICTURE, headers=PNG)
        store.let.set()
        taken = [await first, await gateway.client.post("/v1/jobs", content=PICTURE, headers=PNG)]

    assert (refused.status_code, refused.json()["code"]) == (503, "queue-full")
    assert refused.headers["Retry-After"] == "1"
    assert [answer.status_code for answer in taken] == [202, 202]


@pytest.mark.parametrize("body", [b"GIF89a", b"no picture", PICTURE[:-2], b"x" * (len(PICTURE) + 1)])
async def test_a_body_that_is_refused_gives_its_room_back(body: bytes) -> None:
    async with a_gateway(**ONE_BODY) as gateway:
        await gateway.client.post("/v1/jobs", content=body, headers=PNG)
        answer = await gateway.client.post("/v1/jobs", content=PICTURE, headers=PNG)

    assert answer.status_code == 202


async def test_who_waits_for_the_answer_holds_no_room() -> None:
    async with a_gateway(**ONE_BODY) as gateway:
        held = [asyncio.create_task(gateway.client.post("/predict", content=PICTURE, headers=PNG))]

        async def waiting() -> bool:
            return len(gateway.waiters) == len(held)

        await eventually(waiting)
        held.append(asyncio.create_task(gateway.client.post("/predict", content=PICTURE, headers=PNG)))
        await eventually(waiting)
        for _ in held:
            work(gateway.store)
        answers = [await request for request in held]

    assert [answer.status_code for answer in answers] == [200, 200]
