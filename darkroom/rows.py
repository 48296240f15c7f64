"""A picture's row in the answer of `darkroom classify`."""

from dataclasses import dataclass

from darkroom.errors import JobNotDone
from darkroom.exits import reason
from darkroom.outcomes import Outcome
from darkroom.types import Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One file: its best prediction, if any reached the threshold, or the sentence that says why it has none."""

    file: str
    label: str | None = None
    confidence: float | None = None
    predictions: tuple[Prediction, ...] = ()
    work_ms: float | None = None
    queue_ms: float | None = None
    job_id: str | None = None
    error: str | None = None


def row_of(file: str, outcome: Outcome) -> Row:
    """What became of the file's picture."""
    if outcome.error is not None:
        job_id = outcome.error.job.id if isinstance(outcome.error, JobNotDone) else None
        return Row(file=file, job_id=job_id, error=reason(outcome.error))
    found = outcome.unwrap()
    return Row(
        file=file,
        label=found.best.label if found.best else None,
        confidence=found.best.confidence if found.best else None,
        predictions=found.predictions,
        work_ms=found.timings.latency_ms,
        queue_ms=found.timings.queue_ms,
        job_id=found.job_id,
    )
