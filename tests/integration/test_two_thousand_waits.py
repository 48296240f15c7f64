"""Two thousand callers wait on one gateway process, over one subscription and a handful of connections."""

import asyncio
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from shared.adapters.bell import Bell
from shared.adapters.redis_store import RedisJobStore
from tests.support.jobs import a_spec
from tests.support.pictures import a_picture, encoded
from tests.support.programs import Gateway, a_worker, running
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

WAITS = 2000
MOST_CONNECTIONS = 40


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Caller:
    """One long wait over a connection of its own."""

    def __init__(self, url: str, job_id: str) -> None:
        self.address = urlsplit(url)
        self.job_id = job_id
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self) -> "Caller":
        """Connect and send the question."""
        self.reader, self.writer = await asyncio.open_connection(self.address.hostname, self.address.port)
        lines = (
            f"GET /v1/jobs/{self.job_id}?wait=55 HTTP/1.1\r\nHost: {self.address.netloc}\r\nConnection: close\r\n\r\n"
        )
        self.writer.write(lines.encode())
        await self.writer.drain()
        return self

    async def answer(self) -> tuple[int, Any]:
        """Status and body, once they come."""
        head, _, body = (await self.reader.read()).partition(b"\r\n\r\n")
        self.leave()
        return int(head.split()[1]), json.loads(body)

    def leave(self) -> None:
        """Hang up."""
        assert self.writer is not None
        self.writer.close()


def status(gateway: Gateway) -> dict[str, Any]:
    told: dict[str, Any] = httpx2.get(f"{gateway.url}/v1/status", timeout=10).json()
    return told


async def waiters(gateway: Gateway, number: int) -> None:
    async def there() -> bool:
        return bool((await asyncio.to_thread(status, gateway))["waiters"] == number)

    await eventually(there, seconds=30, what=f"{number} waiters")


def connections(server: RedisServer, gateway: Gateway) -> int:
    with server.client() as client:
        return sum(entry["name"] == f"darkroom-gateway-{gateway.pid}" for entry in client.client_list())


@pytest.mark.timeout(180)
@pytest.mark.parametrize("redis_dies", [False, True], ids=["calm", "redis killed midway"])
async def test_two_thousand_waits_are_all_answered(tmp_path: Path, redis_dies: bool) -> None:
    server = RedisServer(tmp_path).start()
    with running(Gateway(server.url, tmp_path / "gateway.log")) as gateway:
        store = RedisJobStore.from_url(server.url, connections=8, bell=Bell())
        picture = encoded(a_picture())
        jobs = [await store.enqueue(a_spec(), picture) for _ in range(WAITS)]
        callers = [await Caller(gateway.url, job.id).ask() for job in jobs]
        await waiters(gateway, WAITS)
        at_rest = connections(server, gateway)

        if redis_dies:
            server.kill()
            server.start()
        with running(a_worker(server.url, tmp_path / "worker.log")):
            answers = asyncio.gather(*(caller.answer() for caller in callers))
            busiest = at_rest
            while not answers.done():
                busiest = max(busiest, await asyncio.to_thread(connections, server, gateway))
                await asyncio.wait({answers}, timeout=0.2)
            told = await answers
            await waiters(gateway, 0)

        assert [code for code, _ in told] == [200] * WAITS
        assert [(body["id"], body["status"]) for _, body in told] == [(job.id, "succeeded") for job in jobs]
        assert 1 <= busiest <= MOST_CONNECTIONS
        await store.close()
    server.stop()


async def test_a_caller_that_leaves_frees_its_place(tmp_path: Path) -> None:
    server = RedisServer(tmp_path).start()
    with running(Gateway(server.url, tmp_path / "gateway.log")) as gateway:
        store = RedisJobStore.from_url(server.url, connections=2, bell=Bell())
        job = await store.enqueue(a_spec(), encoded(a_picture()))
        callers = [await Caller(gateway.url, job.id).ask() for _ in range(50)]
        await waiters(gateway, 50)

        for caller in callers[:30]:
            caller.leave()

        await waiters(gateway, 20)
        for caller in callers[30:]:
            caller.leave()
        await waiters(gateway, 0)
        await store.close()
    server.stop()
