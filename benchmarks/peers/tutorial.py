"""The server that tutorials build of FastAPI and Celery: the picture in the message, the result in a backend.

`uvicorn benchmarks.peers.tutorial:app` and `celery --app benchmarks.peers.tutorial:queue worker`.
The work is the bare loop's.
"""

import os
import time
from functools import cache
from typing import Any, cast

from celery import Celery
from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.bare import tensor
from worker.sessions.mock import MockSession

REDIS_URL = os.environ.get("TUTORIAL_REDIS_URL", "redis://127.0.0.1:6379/0")


class Payload(BaseModel):
    """What a caller sends."""

    image_base64: str
    confidence_threshold: float = 0.5


app = FastAPI()
queue = Celery("tutorial", broker=REDIS_URL, backend=REDIS_URL)
queue.conf.broker_connection_retry_on_startup = True


@cache
def _session() -> MockSession:
    return MockSession()


@queue.task(name="tutorial.classify")
def classify(image_base64: str, confidence_threshold: float) -> dict[str, Any]:
    """Classify a picture in a worker."""
    start = time.perf_counter()
    session = _session()
    scored = zip(session.manifest.labels, session.run(tensor(image_base64)), strict=True)
    predictions = [
        {"label": label, "confidence": score}
        for label, score in sorted(scored, key=lambda pair: -pair[1])
        if score >= confidence_threshold
    ]
    return {"predictions": predictions, "latency_ms": (time.perf_counter() - start) * 1000}


@app.get("/health")
def health() -> dict[str, bool]:
    """Whether a worker answers."""
    return {"ready": bool(queue.control.ping(timeout=0.5))}


@app.post("/predict")
def predict(payload: Payload) -> dict[str, Any]:
    """Queue a picture, and wait for its result."""
    pending = classify.delay(payload.image_base64, payload.confidence_threshold)
    return cast("dict[str, Any]", pending.get(timeout=60))
