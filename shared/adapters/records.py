"""Jobs as Redis keeps them: a hash of short fields, of which `spec`, `answer` and `failure` are JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Final

from shared.jobs import Answer, Failure, Job, JobSpec, JobState, Priority, Timings
from shared.store import Ending, Reaped, Success, WorkerReport

_SPEC: Final = tuple(field.name for field in fields(JobSpec))

_TIMINGS: Final = tuple(field.name for field in fields(Timings))

_LATER: Final = {field.name: field.default for field in fields(JobSpec) if field.name in {"retry_of", "retry_keep_ms"}}
"""What the first versions did not know, and could not read."""


def _known(kind: type[Any], data: bytes) -> dict[str, Any]:
    """The fields of `kind` that the JSON has; what a later version added is left out."""
    return _of(kind, json.loads(data))


def _of(kind: type[Any], told: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in told.items() if name in names}


def _dumps(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def dump_spec(spec: JobSpec) -> bytes:
    """The spec as JSON, without what every version takes for granted."""
    given = ((name, getattr(spec, name)) for name in _SPEC)
    return _dumps({name: value for name, value in given if name not in _LATER or value != _LATER[name]})


def load_spec(data: bytes) -> JobSpec:
    """The spec that `dump_spec` wrote."""
    known = _known(JobSpec, data)
    known["priority"] = Priority(known["priority"])
    return JobSpec(**known)


def dump_answer(answer: Answer) -> bytes:
    """The answer as JSON."""
    timings = answer.timings
    return _dumps({"scores": answer.scores, "timings": {name: getattr(timings, name) for name in _TIMINGS}})


def dump_failure(failure: Failure) -> bytes:
    """The failure as JSON. That it is a dead letter stands elsewhere."""
    return _dumps({name: value for name, value in asdict(failure).items() if name != "dead"})


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
    return WorkerReport(**_known(WorkerReport, data))


def _load_answer(data: str | bytes) -> Answer:
    told: dict[str, Any] = json.loads(data)
    return Answer(scores=tuple(told["scores"]), timings=Timings(**_of(Timings, told["timings"])))


def load_ending(data: bytes) -> Ending:
    """The news that a script published; older versions' scripts tell no more than the id."""
    job_id, *rest = data.decode().split(" ", 5)
    if not rest:
        return Ending(job_id=job_id)
    attempt, started_us, finished_us, expires_us, answer = rest
    success = Success(
        attempt=int(attempt),
        started_us=int(started_us),
        finished_us=int(finished_us),
        expires_us=int(expires_us),
        answer=_load_answer(answer),
    )
    return Ending(job_id=job_id, success=success)


def pairs(row: list[bytes]) -> dict[bytes, bytes]:
    """A hash, of which Redis says each field and then its value."""
    return dict(zip(row[::2], row[1::2], strict=True))


def load_job(record: Mapping[bytes, bytes], position: int | None) -> Job:
    """The job that a record's hash tells. `position`: its place in the queue, 1 = next, None if it does not wait."""

    def moment(name: bytes) -> int | None:
        return int(record[name]) if name in record else None

    state = JobState(record[b"state"].decode())
    answer, failure = record.get(b"answer"), record.get(b"failure")
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
        answer=None if answer is None else _load_answer(answer),
        failure=None if failure is None else Failure(**_known(Failure, failure)),
        position=position if state is JobState.QUEUED else None,
    )
