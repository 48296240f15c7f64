"""That the hot path has not become dearer: it makes few calls, and costs less than plain lines in turn with it.

What it costs is measured in `benchmarks/`. Here margins are wide: these fail when something comes in that does not
belong there, a model for each answer or a pass over all pixels.
"""

import base64
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Message, Scope

from benchmarks import bare
from gateway.config import GatewaySettings
from gateway.main import create_app
from gateway.shortcut import Shortcut
from shared.jobs import Job, JobSpec, JobState
from shared.memory_store import MemoryStore
from shared.store import Once
from tests.support.calls import Calls
from tests.support.pictures import a_picture, encoded
from worker.classify import decode_and_preprocess
from worker.preprocessing import Mode

MOST_CALLS = 550
"""A third more than there are; by way of FastAPI's layers alone there would be 680."""

JPEG = encoded(a_picture(640, 480), "JPEG")


class Accepting(MemoryStore):
    """Takes every job and keeps none."""

    async def enqueue(self, spec: JobSpec, image: bytes, once: Once | None = None) -> Job:
        assert image == JPEG
        return Job(spec=spec, state=JobState.QUEUED, attempt=0, created_us=0, position=1)


async def calls_of(path: str, body: bytes) -> int:
    app = create_app(GatewaySettings(default_wait_s=0), store=Accepting())
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
    }
    statuses = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        statuses.append(message.get("status"))

    counts = []
    async with app.router.lifespan_context(app):
        for _ in range(5):
            with Calls() as calls:
                await app(dict(scope), receive, send)
            counts.append(calls.count)
    assert {status for status in statuses if status} == {202}
    # The first ones load what is loaded late, and now and then something else ticks in between.
    return min(counts)


@pytest.mark.parametrize("path", ["/predict", "/v1/jobs"])
async def test_a_picture_is_taken_in_with_few_calls(path: str) -> None:
    body = b'{"image_base64": "%b"}' % base64.b64encode(JPEG)

    assert await calls_of(path, body) <= MOST_CALLS


async def test_calls_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shortcut, "find", lambda *_: None)
    body = b'{"image_base64": "%b"}' % base64.b64encode(JPEG)

    assert await calls_of("/predict", body) > MOST_CALLS


def cpu_s(work: Callable[[], Any], times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        work()
    return time.process_time() - start


@pytest.mark.parametrize(
    ("size", "mode", "most"),
    [((640, 480), "exact", 1.0), ((640, 480), "fast", 0.85), ((1920, 1080), "fast", 0.6), ((224, 224), "fast", 0.85)],
)
def test_preprocessing_costs_no_more_than_the_plain_formula(size: tuple[int, int], mode: Mode, most: float) -> None:
    text = base64.b64encode(encoded(a_picture(*size), "JPEG")).decode()
    times = 4 if size[0] > 1000 else 12
    ratios = []

    for _ in range(7):
        before = cpu_s(lambda: bare.tensor(text), times)
        ours = cpu_s(lambda: decode_and_preprocess(text, mode=mode), times)
        after = cpu_s(lambda: bare.tensor(text), times)
        ratios.append(ours / ((before + after) / 2))

    assert statistics.median(ratios) <= most
