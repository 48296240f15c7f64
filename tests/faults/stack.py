"""The product as it is deployed: a Redis, gateways and workers, each a program that is started again when it dies."""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx2

from tests.faults.keeper import Keeper
from tests.faults.members import Member
from tests.support.redis_server import RedisServer, free_port
from tests.support.waiting import until

_OURS: Final = ("DARKROOM_", "X_API_KEY", "COVERAGE_", "COV_")
_PAUSE_S: Final = 0.02


class Stack:
    """Starts all when entered and ends all when left, whatever happened in between.

    `gateway_redis_url` and `worker_redis_url` may be set before it is entered, to lead through a proxy.
    """

    def __init__(
        self,
        folder: Path,
        *,
        gateways: int = 2,
        workers: int = 2,
        redis_options: Sequence[str] = ("--appendfsync", "everysec"),
        gateway_environ: Mapping[str, str] | None = None,
        worker_environ: Mapping[str, str] | None = None,
        worker_module: str = "worker",
        restart_s: float = 0.2,
        redis_folder: Path | None = None,
    ) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.redis = RedisServer(redis_folder or folder, *redis_options)
        self.gateway_redis_url = self.redis.url
        self.worker_redis_url = self.redis.url
        # No picture may be left when all jobs have ended.
        self.gateway_environ = {"DARKROOM_GATEWAY_RETRY_KEEP_S": "0", **(gateway_environ or {})}
        self.worker_environ = dict(worker_environ or {})
        self.worker_module = worker_module
        self.restart_s = restart_s
        self.gateways: list[Member] = []
        self.workers: list[Member] = []
        self.urls: list[str] = []
        """One for each gateway, in their order."""
        self._planned = (gateways, workers)
        self._keeper = Keeper()
        self._closing = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        gateways, workers = self._planned
        try:
            self.start_redis()
            for _ in range(gateways):
                self.start_gateway()
            for _ in range(workers):
                self.start_worker()
            self._supervisor.start()
            for url in self.urls:
                until(partial(_answers, f"{url}/health/live"), seconds=30, what="a gateway to live")
            if workers:
                self.wait_ready()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def start_gateway(self, *, redis_url: str | None = None, **environ: str) -> Member:
        """One more gateway, on a port of its own that it keeps over restarts."""
        port = free_port()
        member = self._member(
            f"gateway-{len(self.gateways)}",
            "gateway",
            redis_url or self.gateway_redis_url,
            {**self.gateway_environ, "DARKROOM_GATEWAY_PORT": str(port), **environ},
        )
        self.gateways.append(member)
        self.urls.append(f"http://127.0.0.1:{port}")
        return member

    def start_worker(self, *, redis_url: str | None = None, module: str | None = None, **environ: str) -> Member:
        """One more worker."""
        member = self._member(
            f"worker-{len(self.workers)}",
            module or self.worker_module,
            redis_url or self.worker_redis_url,
            {**self.worker_environ, **environ},
        )
        self.workers.append(member)
        return member

    def start_redis(self) -> None:
        """Start Redis, for the first time or again, on what it left behind."""
        self.redis.start()
        assert self.redis.process is not None
        self._keeper.keep(self.redis.process.pid)

    def kill_redis(self, pause_s: float = 0.5) -> None:
        """SIGKILL Redis and start it again after a pause."""
        assert self.redis.process is not None
        self._keeper.forget(self.redis.process.pid)
        self.redis.kill()
        time.sleep(pause_s)
        self.start_redis()

    def ready(self) -> bool:
        """Whether every gateway would take jobs and have them done."""
        return all(_answers(f"{url}/health/ready") for url in self.urls)

    def wait_ready(self, seconds: float = 40) -> None:
        """Wait for that.

        Raises: TimeoutError after so many seconds.
        """
        until(self.ready, seconds=seconds, what=f"the stack in {self.folder} to be ready")

    def wait_workers(self, number: int, seconds: float = 40) -> None:
        """Wait until the gateways have heard of exactly so many workers.

        Raises: TimeoutError after so many seconds.
        """
        until(lambda: self.heard() == number, seconds=seconds, what=f"{number} workers to be heard of")

    def heard(self) -> int | None:
        """Of how many live workers a gateway has heard; None when none answers."""
        for url in self.urls:
            try:
                answer = httpx2.get(f"{url}/v1/status", timeout=5)
            except httpx2.TransportError:
                continue
            if answer.status_code == 200:
                return len(answer.json()["workers"])
        return None

    def orphans(self) -> list[int]:
        """Ids of processes whose main process has died."""
        return [pid for member in (*self.gateways, *self.workers) for pid in member.orphans()]

    def _member(self, name: str, module: str, redis_url: str, environ: Mapping[str, str]) -> Member:
        theirs = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
        member = Member(name, module, {**theirs, "DARKROOM_REDIS_URL": redis_url, **environ}, self.folder, self._keeper)
        member.start()
        return member

    def _supervise(self) -> None:
        while not self._closing.wait(_PAUSE_S):
            for member in (*self.gateways, *self.workers):
                if member.found_dead() and member.supervised:
                    assert member.died_s is not None
                    if time.monotonic() - member.died_s >= self.restart_s:
                        member.start()

    def _close(self) -> None:
        self._closing.set()
        if self._supervisor.is_alive():
            self._supervisor.join()
        try:
            for member in (*self.workers, *self.gateways):
                member.end()
            self.redis.stop()
        finally:
            self._keeper.close()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5).status_code == 200
    except httpx2.TransportError:
        return False
