"""The reaper asks again and again, whatever happens to the store."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from shared.adapters import keys
from shared.errors import BrokerUnavailable
from shared.memory_store import MemoryStore
from shared.reaper import EVERY_S, WORKER_EVERY_S, reap_forever, reap_until
from shared.store import Reaped
from tests.support.waiting import eventually, until


class Scripted(MemoryStore):
    """Answers as it was told to, and with nothing to do ever after."""

    def __init__(self, *answers: Reaped | Exception) -> None:
        super().__init__()
        self.answers: Iterator[Reaped | Exception] = iter(answers)
        self.asked = 0

    async def reap(self) -> Reaped:
        return self.reap_now()

    def reap_now(self) -> Reaped:
        self.asked += 1
        answer = next(self.answers, Reaped())
        if isinstance(answer, Exception):
            raise answer
        return answer


TROUBLE = (
    BrokerUnavailable("The job store does not answer just now."),
    RuntimeError("nobody foresaw this"),
    Reaped(taken_back=1, expired=2),
)


async def test_a_gateway_s_reaper_outlives_trouble() -> None:
    store = Scripted(*TROUBLE)
    task = asyncio.create_task(reap_forever(store, every_s=0.001))

    await eventually(lambda: _soon(store.asked > 5), what="the reaper to go on")

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _soon(value: bool) -> bool:
    return value


def test_a_worker_s_reaper_outlives_trouble_and_ends_when_told() -> None:
    store, stopped = Scripted(*TROUBLE), threading.Event()
    thread = threading.Thread(target=reap_until, args=(stopped, store), kwargs={"every_s": 0.001})
    thread.start()

    until(lambda: store.asked > 5, what="the reaper to go on")

    stopped.set()
    thread.join(5)
    assert not thread.is_alive()


async def test_what_is_left_is_asked_for_at_once() -> None:
    store = Scripted(Reaped(more=True), Reaped(more=True))
    task = asyncio.create_task(reap_forever(store, every_s=3600))

    await eventually(lambda: _soon(store.asked == 3), what="three questions in a row")

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_worker_asks_at_once_for_what_is_left() -> None:
    store, stopped = Scripted(Reaped(more=True), Reaped(more=True)), threading.Event()
    thread = threading.Thread(target=reap_until, args=(stopped, store), kwargs={"every_s": 3600})
    thread.start()

    until(lambda: store.asked == 3, what="three questions in a row")

    stopped.set()
    thread.join(5)
    assert not thread.is_alive()


def test_whoever_is_left_asks_often_enough_that_it_never_looks_like_an_outage() -> None:
    # Two questions may be missed, and each may wait for an answer.
    assert 2 * max(EVERY_S, WORKER_EVERY_S) * 1000 < keys.OUTAGE_MS
