"""Many pictures at once: each becomes a row, whatever becomes of it."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from darkroom.async_client import AsyncClient
from darkroom.errors import ConnectionFailed, ConnectionLost, DarkroomError
from darkroom.types import Job, Prediction
from darkroom.wire import classification_of

AT_ONCE: Final = 8
"""Pictures on their way at the same time."""


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


async def classify_all(
    client: AsyncClient,
    pictures: Sequence[Path],
    *,
    threshold: float,
    timeout_s: float,
    advance: Callable[[], None],
) -> list[Row]:
    """A row for each picture, in their order; `advance` is called whenever one is ready.

    Raises: ConnectionFailed when the server cannot be reached: no further picture would fare better.
    """
    rows: dict[int, Row] = {}

    async def work_off(numbered: Iterator[tuple[int, Path]]) -> None:
        for number, picture in numbered:
            rows[number] = await _classify(client, picture, threshold, timeout_s)
            advance()

    left = iter(enumerate(pictures))
    tasks = [asyncio.create_task(work_off(left)) for _ in range(min(AT_ONCE, len(pictures)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [rows[number] for number in range(len(pictures))]


async def _classify(client: AsyncClient, picture: Path, threshold: float, timeout_s: float) -> Row:
    file = str(picture)
    try:
        job = await client.submit(picture, confidence_threshold=threshold)
        return _row(file, await client.wait(job, timeout=timeout_s))
    except ConnectionFailed as error:
        # A broken connection is this picture's bad luck; where nobody listens, all the others would have it too.
        if not isinstance(error, ConnectionLost):
            raise
        return Row(file=file, error=str(error))
    except DarkroomError as error:
        return Row(file=file, error=str(error))
    except OSError as error:
        return Row(file=file, error=f"{error.strerror or error}.")


def _row(file: str, job: Job) -> Row:
    row = Row(file=file, job_id=job.id, work_ms=job.timings.latency_ms, queue_ms=job.timings.queue_ms)
    try:
        found = classification_of(job)
    except DarkroomError as error:
        return replace(row, error=str(error))
    if found.best is None:
        return row
    return replace(row, label=found.best.label, confidence=found.best.confidence, predictions=found.predictions)
