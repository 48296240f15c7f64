"""Builders of jobs and their ends."""

from typing import Any

from shared.jobs import Answer, Failure, JobSpec, Timings, new_job_id
from shared.store import WorkerReport

PICTURE = b"\x89PNG not really"


def a_spec(**changes: Any) -> JobSpec:
    """A spec of the mock model, with some fields of your own."""
    fields: dict[str, Any] = {"id": new_job_id(), "owner": "anonymous", "model": "mock", "model_version": "1"}
    return JobSpec(**{**fields, **changes})


def an_answer(*scores: float) -> Answer:
    """An answer with these scores."""
    return Answer(
        scores=scores or (0.7, 0.1, 0.1, 0.1),
        timings=Timings(fetch_ms=0.1, decode_ms=1.0, preprocess_ms=0.5, predict_ms=0.2, latency_ms=1.8),
    )


def a_failure() -> Failure:
    """A failure by a bad picture."""
    return Failure(code="invalid-image", detail="The image does not decode.")


def a_report(**changes: Any) -> WorkerReport:
    """An idle worker's report."""
    fields: dict[str, Any] = {
        "id": "w1",
        "state": "idle",
        "model": "mock",
        "model_version": "1",
        "rss_bytes": 50_000_000,
        "jobs_done": 3,
        "work_ms": 4.0,
    }
    return WorkerReport(**{**fields, **changes})
