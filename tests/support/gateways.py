"""A gateway in this process, over the store in memory, asked over HTTP."""

import asyncio
import base64
import socket
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI

from gateway.auth import Key
from gateway.config import GatewaySettings
from gateway.main import create_app
from gateway.waiting import Waiters
from shared.errors import BrokerUnavailable
from shared.jobs import Claim, Job, JobSpec, Outcome
from shared.memory_store import MemoryStore
from shared.store import Ending, Once, Overview
from tests.support.jobs import an_answer
from tests.support.pictures import a_png
from tests.support.waiting import until

PICTURE = a_png(4, 3)
BASE64 = base64.b64encode(PICTURE).decode()
PAYLOAD = {"image_base64": BASE64}
HERE = "http://127.0.0.1"
WORKER = "w1"


class ShakyStore(MemoryStore):
    """The store in memory, which answers nobody while `down`, and tells of no ending while `mute`."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.mute = False
        self.overviews = 0
        self.listeners = 0

    def _answer(self) -> None:
        if self.down:
            raise BrokerUnavailable("The job store does not answer just now.")

    async def enqueue(self, spec: JobSpec, image: bytes, once: Once | None = None) -> Job:
        self._answer()
        return await super().enqueue(spec, image, once)

    async def get(self, job_id: str, owner: str) -> Job:
        self._answer()
        return await super().get(job_id, owner)

    async def ended(self, job_ids: Sequence[str]) -> set[str]:
        self._answer()
        return await super().ended(job_ids)

    async def endings(self) -> AsyncIterator[Ending]:
        self.listeners += 1
        async for ending in super().endings():
            self._answer()
            if not self.mute:
                yield ending

    async def overview(self) -> Overview:
        self.overviews += 1
        self._answer()
        return await super().overview()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A running gateway, a client of it, and the store behind it."""

    client: httpx2.AsyncClient
    store: ShakyStore
    app: FastAPI

    @property
    def waiters(self) -> Waiters:
        waiters: Waiters = self.app.state.waiters
        return waiters

    async def submitted(self, **fields: object) -> dict[str, Any]:
        """A job's object just after it was accepted."""
        answer = await self.client.post("/v1/jobs", json={**PAYLOAD, **fields})
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    async def finished(self, outcome: Outcome | None = None, **fields: object) -> str:
        """The id of a job that has ended so."""
        job = await self.submitted(**fields)
        work(self.store, outcome)
        return str(job["id"])


@asynccontextmanager
async def a_gateway(
    store: ShakyStore | None = None, *, key: str | None = None, **settings: Any
) -> AsyncIterator[Gateway]:
    """A gateway whose clients call it without a socket between."""
    store = store or ShakyStore()
    app = create_app(GatewaySettings(**settings), store=store, key=None if key is None else Key.of(key))
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url=HERE, timeout=20) as client,
    ):
        yield Gateway(client=client, store=store, app=app)


@contextmanager
def a_live_gateway(store: ShakyStore | None = None, **settings: Any) -> Iterator[tuple[int, FastAPI]]:
    """A gateway behind a real socket, in a thread of its own: its port and its application."""
    app = create_app(GatewaySettings(**settings), store=store or ShakyStore())
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", ws="none", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    # Without a handler of its own for the signals: those belong to the main thread.
    thread = threading.Thread(target=lambda: asyncio.run(_serve(server, listener)), daemon=True)
    thread.start()
    try:
        until(lambda: server.started, what="the gateway to start")
        yield int(listener.getsockname()[1]), app
    finally:
        app.state.waiters.dismiss()
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def _serve(server: uvicorn.Server, listener: socket.socket) -> Coroutine[Any, Any, None]:
    return server._serve([listener])


def work(store: MemoryStore, outcome: Outcome | None = None) -> Claim:
    """Take the next job and end it, as a worker would."""
    claim = store.claim(WORKER)
    assert claim is not None
    counted, _ = store.finish(WORKER, claim, outcome or an_answer(), then_claim=False)
    assert counted
    return claim
