"""The composition root: every part of a gateway is made and joined here."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from fastapi import FastAPI
from starlette.middleware import Middleware

from gateway.auth import Key, KeyOnly
from gateway.config import GatewaySettings
from gateway.dead_letters import DeadLetters
from gateway.errors import HANDLERS
from gateway.health import Health
from gateway.jobs import Jobs
from gateway.middleware import LoopbackOnly, RequestLine
from gateway.openapi import describe
from gateway.room import Room
from gateway.routes import dead_letters, health, home, jobs, predict
from gateway.shortcut import Shortcut
from gateway.waiting import Waiters
from shared.manifest import MOCK, Manifest
from shared.reaper import reap_forever
from shared.store import JobStore

_ROUTERS: Final = (predict.router, jobs.router, dead_letters.router, health.router, home.router)


def create_app(
    settings: GatewaySettings,
    *,
    store: JobStore,
    manifests: Sequence[Manifest] = (MOCK,),
    key: Key | None = None,
) -> FastAPI:
    """A gateway over `store`, which it closes at its end. The first of `manifests` is the one that serves.

    With a `key` whoever has it may ask, from wherever; without one only this machine may.
    `app.state.waiters` is who waits, for whoever stops the server.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        serving = manifests[0]
        labels = {(manifest.name, manifest.version): manifest.labels for manifest in manifests}
        waiters = Waiters(store)
        app.state.waiters = waiters
        app.state.jobs = Jobs(store, waiters, labels=labels, serving=serving, retry_keep_s=settings.retry_keep_s)
        app.state.dead_letters = DeadLetters(store, app.state.jobs)
        app.state.health = Health(store, waiters, serving=serving, throwaway=settings.throwaway_redis)
        try:
            async with waiters.running(), _reaping(store):
                yield
        finally:
            await store.close()

    app = FastAPI(
        title="Darkroom",
        version=_version(),
        description="Pictures in, their classes out.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Nobody configures it here, and to find that out takes three looks into the environment for each request.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        middleware=[
            Middleware(RequestLine),
            Middleware(LoopbackOnly) if key is None else Middleware(KeyOnly, key),
            Middleware(Shortcut, [route for router in _ROUTERS for route in router.routes]),
        ],
        exception_handlers={**HANDLERS},
    )
    app.state.settings = settings
    app.state.room = Room(max(settings.max_held_bytes, settings.max_body_bytes))
    for router in _ROUTERS:
        app.include_router(router)
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _reaping(store: JobStore) -> AsyncIterator[None]:
    task = asyncio.create_task(reap_forever(store))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _version() -> str:
    try:
        return version("darkroom")
    except PackageNotFoundError:
        # Run from a checkout that was never installed.
        return "0.0.0"
