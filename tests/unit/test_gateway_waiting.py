import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from gateway import waiting
from gateway.waiting import Waiters
from shared.jobs import new_job_id
from shared.store import Ending
from tests.support.gateways import ShakyStore, work
from tests.support.jobs import a_spec
from tests.support.waiting import eventually


async def test_several_callers_wait_for_one_job() -> None:
    store = ShakyStore()
    waiters = Waiters(store, sweep_s=60)
    spec = a_spec()
    async with waiters.running():
        await eventually(lambda: asyncio.sleep(0, store.listeners))
        await store.enqueue(spec, b"")
        with (
            waiters.register(spec.id) as one,
            waiters.register(spec.id) as two,
            waiters.register(new_job_id()) as other,
        ):
            counted = len(waiters)
            work(store)
            await asyncio.wait_for(asyncio.gather(one, two), 5)
            untouched = not other.done()

    assert counted == 3
    assert untouched
    assert len(waiters) == 0
    assert not waiters._waiting


async def test_an_end_that_the_subscription_missed_is_swept_up() -> None:
    store = ShakyStore()
    store.mute = True
    waiters = Waiters(store, sweep_s=0.01)
    spec = a_spec()
    await store.enqueue(spec, b"")
    async with waiters.running():
        with waiters.register(spec.id) as ending, waiters.register(new_job_id()) as never_was:
            work(store)
            await asyncio.wait_for(asyncio.gather(ending, never_was), 5)

    assert len(waiters) == 0


async def test_the_subscription_and_the_sweep_survive_a_store_that_goes_away() -> None:
    store = ShakyStore()
    waiters = Waiters(store, sweep_s=0.01)
    lost, swept = a_spec(), a_spec()
    for spec in (lost, swept):
        await store.enqueue(spec, b"")
    async with waiters.running():
        await eventually(lambda: asyncio.sleep(0, store.listeners))
        with waiters.register(lost.id) as first, waiters.register(swept.id) as second:
            store.down = True
            work(store)
            await eventually(lambda: asyncio.sleep(0, store.listeners > 1), what="another subscription")
            nobody_knows = not first.done()
            store.down = False
            work(store)
            await asyncio.wait_for(asyncio.gather(first, second), 5)

    assert nobody_knows


class BrokenStore(ShakyStore):
    """Raises what nobody foresaw, for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.accidents = 4

    def _stumble(self) -> None:
        if self.accidents:
            self.accidents -= 1
            raise RuntimeError("stumbled")

    async def endings(self) -> AsyncIterator[Ending]:
        self._stumble()
        async for ending in super().endings():
            yield ending

    async def ended(self, job_ids: object) -> set[str]:
        self._stumble()
        return await super().ended(job_ids)  # type: ignore[arg-type]


async def test_an_unforeseen_error_ends_neither_the_subscription_nor_the_sweep() -> None:
    store = BrokenStore()
    waiters = Waiters(store, sweep_s=0.01)
    spec = a_spec()
    await store.enqueue(spec, b"")
    async with waiters.running():
        with waiters.register(spec.id) as ending:
            await eventually(lambda: asyncio.sleep(0, not store.accidents))
            work(store)
            await asyncio.wait_for(ending, 5)

    assert len(waiters) == 0


async def test_whoever_comes_after_the_gateway_began_to_stop_does_not_wait() -> None:
    waiters = Waiters(ShakyStore())
    with waiters.register("a") as before:
        waiters.dismiss()
        with waiters.register("a") as after:
            assert before.done()
            assert after.done()


async def test_a_caller_is_taken_for_gone_only_once_it_is() -> None:
    messages = iter([{"type": "http.request"}, {"type": "http.disconnect"}])
    gate = asyncio.Event()

    async def receive() -> dict[str, str]:
        await gate.wait()
        return next(messages)

    with waiting.leaving(receive) as left:
        early, _ = await asyncio.wait({left}, timeout=0.02)
        gate.set()
        await asyncio.wait_for(left, 5)

    assert not early


@pytest.mark.parametrize("count", [2500])
async def test_a_sweep_asks_for_many_in_several_strides(count: int) -> None:
    asked: list[int] = []

    class Counting(ShakyStore):
        async def ended(self, job_ids: Sequence[str]) -> set[str]:
            asked.append(len(job_ids))
            return await super().ended(job_ids)

    waiters = Waiters(Counting(), sweep_s=0.01)
    async with waiters.running():
        endings = []
        for number in range(count):
            waiter = waiters.register(str(number))
            endings.append((waiter, waiter.__enter__()))
        await asyncio.wait_for(asyncio.gather(*[ending for _, ending in endings]), 10)
        for waiter, _ in endings:
            waiter.__exit__(None, None, None)

    assert [size for size in asked if size][:3] == [1000, 1000, 500]
    assert len(waiters) == 0


async def test_a_wait_that_ends_soon_says_so_and_another_goes_on() -> None:
    waiters = Waiters(ShakyStore())
    loop = asyncio.get_running_loop()
    with waiters.register("a") as waiter:
        late = await waiting.soon(waiter, 0.01)
        still_waiting = not waiter.done()
        loop.call_soon(waiter.set_result, Ending(job_id="a"))
        early = await waiting.soon(waiter, 60)
        again = await waiting.soon(waiter, 60)

    assert (late, still_waiting, early, again) == (False, True, True, True)
