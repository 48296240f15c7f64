"""An open-loop client: it submits by the clock, however the answers come, and writes down what it was promised."""

import asyncio
import base64
import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import httpx2
import numpy as np
from PIL import Image

from tests.support.pictures import a_photograph, encoded
from tests.support.waiting import until

ACCEPTED: Final = "accepted.jsonl"
"""A line for each 202: `id`, `key` (the idempotency key), `tag`, `asked_s`, `accepted_s`, `tries`."""

SIGHTINGS: Final = "sightings.jsonl"
"""A line for each time a job was seen ended: `id`, `sight` (`first` or `final`), `status`, `code`, `attempt`,
`created_s`, `started_s`, `finished_s`, `seen_s`. Where the gateway did not know the job any more, `status` is its
code."""

REFUSED: Final = "refused.jsonl"
"""A line for each picture that no 202 ever came for: `key`, `tag`, `status`, `code`."""

_PAUSE_S: Final = 0.25
_WAIT_S: Final = 20
_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What is submitted: the bytes, and a word by which a verdict tells its kind."""

    tag: str
    content: bytes


Pictures = Callable[[random.Random, int], Picture]
"""The picture with this number, by these dice."""


@cache
def small_picture() -> Picture:
    """A photograph of 64 by 64 pixels: some milliseconds of work."""
    return Picture(tag="small", content=encoded(a_photograph(1, 64), "JPEG", quality=85))


@cache
def long_picture(side: int = 1800) -> Picture:
    """One colour of side by side pixels: some kilobytes that are worked on for some hundredths of a second."""
    blank = Image.fromarray(np.full((side, side, 3), 90, dtype=np.uint8))
    return Picture(tag="long", content=encoded(blank, "PNG", compress_level=6))


def mixed(dice: random.Random, number: int) -> Picture:
    """Every fifth one long, so that a worker is busy often enough to be met at work."""
    return long_picture() if dice.random() < 0.2 else small_picture()


def only_small(dice: random.Random, number: int) -> Picture:
    """As light as can be."""
    return small_picture()


def largest(dice: random.Random, number: int) -> Picture:
    """Every third one of 25 million pixels: worked on for long, with much memory. They are tagged `largest`."""
    return Picture(tag="largest", content=long_picture(5000).content) if number % 3 == 0 else small_picture()


class Load:
    """Runs in a thread of its own from entering on: submits to the gateways in turn, and asks for every job's end.

    `rate` pictures a second until there are `count` or `seconds` have passed. A submit that is refused with 429 or
    5xx, or that nobody answers, is repeated with the same idempotency key until it is accepted.
    """

    def __init__(
        self,
        folder: Path,
        urls: Sequence[str],
        *,
        rate: float,
        count: int,
        seconds: float = 3600,
        seed: int = 0,
        pictures: Pictures = mixed,
        options: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.submitted = 0
        """So many pictures were given up to the gateways, accepted or not yet."""
        self.accepted = 0
        self.refused = 0
        self.ended = 0
        self.submitting = True
        self._urls = list(urls)
        self._rate = rate
        self._count = count
        self._seconds = seconds
        self._dice = random.Random(seed)
        self._pictures = pictures
        self._options = dict(options or {})
        self._headers = dict(headers or {})
        self._run = f"{seed}-{time.time_ns()}"
        self._files: dict[str, IO[str]] = {}
        self._quit = threading.Event()
        self._finishing = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="load", daemon=True)

    def __enter__(self) -> Self:
        for name in (ACCEPTED, SIGHTINGS, REFUSED):
            self._files[name] = (self.folder / name).open("a", encoding="utf-8", buffering=1)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._quit.set()
        self._thread.join(30)
        for file in self._files.values():
            file.close()
        if self._failure is not None and error is None:
            raise self._failure

    def stop(self) -> None:
        """Submit no more; what was given up to the gateways is followed to its end."""
        self._count = self.submitted

    @property
    def waiting(self) -> int:
        """So many jobs were accepted and have not been seen ended."""
        return self.accepted - self.ended

    def finish(self, seconds: float) -> bool:
        """Wait until every accepted job has ended, then look at each once more. Stops submitting when time is up.

        Returns: whether all ended in time.
        """
        with suppress(TimeoutError):
            until(lambda: self._failure or self._over(), seconds=seconds, what="the jobs to end")
        over = self._over()
        self.stop()
        self._finishing.set()
        self._thread.join(120)
        return over

    def _answered(self) -> bool:
        return not self.submitting and self.accepted + self.refused >= self.submitted

    def _over(self) -> bool:
        return self._answered() and self.ended >= self.accepted

    def _serve(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - told where the load is left
            self._failure = error

    async def _main(self) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
        async with httpx2.AsyncClient(limits=limits, timeout=30, headers=self._headers) as http:
            jobs: set[asyncio.Task[None]] = set()
            start = time.monotonic()
            while self.submitted < self._count and not self._quit.is_set():
                due = start + self.submitted / self._rate
                if due - start > self._seconds:
                    break
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if self.submitted >= self._count:
                    break
                picture = self._pictures(self._dice, self.submitted)
                jobs.add(task := asyncio.create_task(self._follow(http, self.submitted, picture)))
                task.add_done_callback(jobs.discard)
                self.submitted += 1
            self.submitting = False
            while not self._quit.is_set() and not self._finishing.is_set():  # noqa: ASYNC110 - another thread sets them
                await asyncio.sleep(_PAUSE_S)
            for task in list(jobs):
                task.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            if not self._quit.is_set():
                await self._look_again(http)

    async def _follow(self, http: httpx2.AsyncClient, number: int, picture: Picture) -> None:
        job_id = await self._submit(http, number, picture)
        if job_id is None:
            return
        turn = number
        while True:
            turn += 1
            seen = await self._seen(http, turn, job_id, _WAIT_S)
            if seen is not None:
                self._write(SIGHTINGS, {**seen, "sight": "first"})
                self.ended += 1
                return

    async def _submit(self, http: httpx2.AsyncClient, number: int, picture: Picture) -> str | None:
        key = f"{self._run}-{number}"
        body = _body(picture.content, json.dumps(self._options))
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        asked_s = time.time()
        tries = 0
        while True:
            url = self._urls[(number + tries) % len(self._urls)]
            tries += 1
            try:
                answer = await http.post(f"{url}/v1/jobs", content=body, headers=headers)
            except httpx2.TransportError:
                await asyncio.sleep(_PAUSE_S)
                continue
            if answer.status_code == 202:
                break
            if answer.status_code != 429 and answer.status_code < 500:
                self._write(REFUSED, {"key": key, "tag": picture.tag, **_refusal(answer)})
                self.refused += 1
                return None
            await asyncio.sleep(_PAUSE_S)
        job_id = str(answer.json()["id"])
        told = {"id": job_id, "key": key, "tag": picture.tag, "asked_s": asked_s, "accepted_s": time.time()}
        self._write(ACCEPTED, {**told, "tries": tries})
        self.accepted += 1
        return job_id

    async def _seen(self, http: httpx2.AsyncClient, turn: int, job_id: str, wait_s: int) -> dict[str, Any] | None:
        url = f"{self._urls[turn % len(self._urls)]}/v1/jobs/{job_id}"
        try:
            answer = await http.get(url, params={"wait": wait_s} if wait_s else {})
        except httpx2.TransportError:
            await asyncio.sleep(_PAUSE_S)
            return None
        if answer.status_code == 200:
            job = answer.json()
            return _sighting(job) if job["done"] else None
        if answer.status_code in {404, 410}:
            return {"id": job_id, "status": _refusal(answer)["code"], "seen_s": time.time()}
        await asyncio.sleep(_PAUSE_S)
        return None

    async def _look_again(self, http: httpx2.AsyncClient) -> None:
        lines = (self.folder / ACCEPTED).read_text(encoding="utf-8").splitlines()
        gate = asyncio.Semaphore(_AT_ONCE)

        async def look(turn: int, job_id: str) -> None:
            async with gate:
                for again in range(20):
                    seen = await self._seen(http, turn + again, job_id, 0)
                    if seen is not None:
                        self._write(SIGHTINGS, {**seen, "sight": "final"})
                        return
                    if again >= 2 and not self._over():
                        return

        await asyncio.gather(*(look(turn, json.loads(line)["id"]) for turn, line in enumerate(lines)))

    def _write(self, name: str, line: Mapping[str, Any]) -> None:
        self._files[name].write(f"{json.dumps(line)}\n")


@lru_cache(maxsize=64)
def _body(content: bytes, options: str) -> bytes:
    return json.dumps({"image_base64": base64.b64encode(content).decode(), **json.loads(options)}).encode()


def _refusal(answer: httpx2.Response) -> dict[str, Any]:
    try:
        code = answer.json().get("code")
    except ValueError:
        code = None
    return {"status": answer.status_code, "code": code}


def _sighting(job: Mapping[str, Any]) -> dict[str, Any]:
    error = job["error"] or {}
    return {
        "id": job["id"],
        "status": job["status"],
        "code": error.get("code"),
        "attempt": job["attempt"],
        **{f"{name}_s": _epoch(job[f"{name}_at"]) for name in ("created", "started", "finished")},
        "seen_s": time.time(),
    }


def _epoch(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
