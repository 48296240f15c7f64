"""Jobs as Redis keeps them: a hash of short fields, of which `spec`, `answer` and `failure` are JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from shared.jobs import Answer, Failure, Job, JobSpec, JobState, Priority, Timings
from shared.store import Reaped, WorkerReport


def _dumps(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def dump_spec(spec: JobSpec) -> bytes:
    """The spec as JSON."""
    return _dumps(asdict(spec))


def load_spec(data: bytes) -> JobSpec:
    """The spec that `dump_spec` wrote."""
    fields = json.loads(data)
    fields["priority"] = Priority(fields["priority"])
    return JobSpec(**fields)


def dump_answer(answer: Answer) -> bytes:
    """The answer as JSON."""
    return _dumps(asdict(answer))


def dump_failure(failure: Failure) -> bytes:
    """The failure as JSON."""
    return _dumps(asdict(failure))


def load_reaped(row: list[int] | None) -> Reaped:
    """What the reaper's script answers."""
    if row is None:
        return Reaped()
    taken_back, crashed, canceled, expired, due, more = row
    return Reaped(taken_back=taken_back, crashed=crashed, canceled=canceled, expired=expired, due=due, more=bool(more))


def dump_report(report: WorkerReport) -> bytes:
    """A worker's report as JSON."""
    return _dumps(asdict(report))


def load_report(data: bytes) -> WorkerReport:
    """The report that `dump_report` wrote."""
    return WorkerReport(**json.loads(data))


def _answer(data: bytes | None) -> Answer | None:
    if data is None:
        return None
    fields: dict[str, Any] = json.loads(data)
    return Answer(scores=tuple(fields["scores"]), timings=Timings(**fields["timings"]))


def load_job(record: Mapping[bytes, bytes], position: int | None) -> Job:
    """The job that a record's hash tells. `position`: its place in the queue, 1 = next, None if it does not wait."""

    def moment(name: bytes) -> int | None:
        return int(record[name]) if name in record else None

    state = JobState(record[b"state"].decode())
    failure = record.get(b"failure")
    return Job(
        spec=load_spec(record[b"spec"]),
        state=state,
        attempt=int(record[b"attempt"]),
        created_us=int(record[b"created_us"]),
        started_us=moment(b"started_us"),
        finished_us=moment(b"finished_us"),
        expires_us=moment(b"expires_us"),
        cancel_requested=b"cancel_requested" in record,
        retried_as=record[b"retried_as"].decode() if b"retried_as" in record else None,
        due_us=moment(b"due_us"),
        answer=_answer(record.get(b"answer")),
        failure=None if failure is None else Failure(**json.loads(failure)),
        position=position if state is JobState.QUEUED else None,
    )
