"""The running stack: a real Redis, a gateway and a worker, each a program of its own."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from shared.adapters.bell import Bell
from shared.adapters.redis_store import RedisJobStore
from tests.support.programs import Gateway, Program, a_worker, running
from tests.support.redis_server import RedisServer
from tests.support.waiting import until


@dataclass
class Stack:
    """The parts, and a client that speaks to the gateway."""

    redis: RedisServer
    gateway: Gateway
    worker: Program
    http: httpx2.Client


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all tests that leave it as they found it."""
    folder = tmp_path_factory.mktemp("stack")
    server = RedisServer(folder).start()
    with (
        running(Gateway(server.url, folder / "gateway.log")) as gateway,
        running(a_worker(server.url, folder / "worker.log")) as worker,
        httpx2.Client(base_url=gateway.url, timeout=70) as http,
    ):
        until(gateway.ready, seconds=30, what="the stack to be ready")
        yield Stack(server, gateway, worker, http)
    server.stop()


@pytest.fixture(scope="session")
def workerless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose jobs wait for ever: nobody works."""
    folder = tmp_path_factory.mktemp("workerless")
    server = RedisServer(folder).start()
    with (
        running(Gateway(server.url, folder / "gateway.log")) as gateway,
        httpx2.Client(base_url=gateway.url, timeout=70) as http,
    ):
        yield Stack(server, gateway, gateway, http)
    server.stop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, to be killed and filled."""
    server = RedisServer(tmp_path).start()
    yield server
    server.stop()


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisJobStore]:
    """The gateway's view of it."""
    store = RedisJobStore.from_url(server.url, connections=4, bell=Bell())
    yield store
    await store.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, to be frozen and killed."""
    server = RedisServer(tmp_path).start()
    yield server
    server.stop()
