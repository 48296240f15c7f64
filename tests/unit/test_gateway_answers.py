"""Answers are written without the wire's models; here they are held against them, byte by byte."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from gateway import answers
from gateway.jobs import Jobs
from gateway.listing import Listing
from gateway.schemas import ClassificationResponse, JobList, JobView
from gateway.waiting import Patience, Waiters
from shared.jobs import Answer, Failure, Job, JobSpec, JobState, Priority, Timings
from shared.manifest import MOCK
from shared.memory_store import MemoryStore
from tests.support.jobs import a_report

LABELS = {(MOCK.name, MOCK.version): MOCK.labels}

texts = st.text(st.characters(codec="utf-8"), max_size=20)
# A score or a time may have been a whole number on its way.
scores = st.one_of(st.floats(0, 1), st.sampled_from([0, 1]))
spans = st.one_of(st.floats(0, 1e6), st.integers(0, 10))
moments = st.integers(0, 2**51)
metadata = st.dictionaries(
    texts,
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**40), 2**40)
        | st.floats(allow_nan=False, allow_infinity=False)
        | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)
timings = st.builds(Timings, fetch_ms=spans, decode_ms=spans, preprocess_ms=spans, predict_ms=spans, latency_ms=spans)
given_answers = st.builds(Answer, scores=st.tuples(*[scores] * len(MOCK.labels)), timings=timings)
failures = st.builds(
    Failure,
    code=st.sampled_from(["invalid-image", "image-too-large", "worker-crashed", "long-forgotten"]),
    detail=texts,
    limit=st.none() | st.integers(0, 10**9),
    actual=st.none() | st.integers(0, 10**9),
)
specs = st.builds(
    JobSpec,
    id=st.just("job_" + "0" * 32),
    owner=st.just("anonymous"),
    model=st.just(MOCK.name),
    model_version=st.just(MOCK.version),
    confidence_threshold=scores,
    top_k=st.none() | st.integers(1, 5),
    priority=st.sampled_from(Priority),
    retry_of=st.none() | texts,
    metadata=metadata,
)


@st.composite
def jobs(
    draw: st.DrawFn, states: Sequence[JobState] = tuple(JobState), models: Sequence[str] = (MOCK.name, "gone")
) -> Job:
    state = draw(st.sampled_from(states))
    queued = state is JobState.QUEUED
    pauses = queued and draw(st.booleans())
    return Job(
        spec=replace(draw(specs), model=draw(st.sampled_from(models))),
        state=state,
        attempt=draw(st.integers(0, 3)),
        created_us=draw(moments),
        started_us=None if queued else draw(moments),
        finished_us=draw(moments) if state.done else None,
        expires_us=draw(moments) if state.done else None,
        answer=draw(given_answers) if state is JobState.SUCCEEDED else None,
        failure=draw(failures) if state is JobState.FAILED else None,
        retried_as=draw(st.none() | texts),
        due_us=draw(moments) if pauses else None,
        position=draw(st.integers(1, 9)) if queued and not pauses else None,
    )


def rules(*, workers: int) -> Jobs:
    store = MemoryStore()
    for number in range(workers):
        store.beat(a_report(id=f"w{number}"))
    return Jobs(store, Waiters(store), labels=LABELS, serving=MOCK)


def as_the_model_says(body: bytes | memoryview, model: type[BaseModel]) -> bytes:
    return model.model_validate_json(bytes(body)).model_dump_json().encode()


@given(job=jobs(), workers=st.integers(0, 1))
def test_a_job_is_told_as_its_model_would(job: Job, workers: int) -> None:
    async def told() -> Any:
        return await answers.as_it_stands(job, rules(workers=workers), status=HTTPStatus.ACCEPTED)

    answer = asyncio.run(told())

    assert bytes(answer.body) == as_the_model_says(answer.body, JobView)
    assert answer.headers["Location"] == f"/v1/jobs/{job.id}"
    assert ("Retry-After" in answer.headers) is not job.done


@given(some=st.lists(jobs(), max_size=3), cursor=st.none() | texts)
def test_a_list_is_told_as_its_model_would(some: list[Job], cursor: str | None) -> None:
    async def told() -> Any:
        return await answers.listing(Listing(jobs=tuple(some), next_cursor=cursor), rules(workers=1))

    answer = asyncio.run(told())

    assert bytes(answer.body) == as_the_model_says(answer.body, JobList)


@given(job=jobs([JobState.SUCCEEDED], [MOCK.name]), threshold=st.none() | st.floats(0, 1))
def test_a_result_is_told_as_its_model_would(job: Job, threshold: float | None) -> None:
    async def told() -> Any:
        return await answers.result(job, rules(workers=1), Patience(seconds=0, applied="wait=0"), threshold=threshold)

    answer = asyncio.run(told())

    assert bytes(answer.body) == as_the_model_says(answer.body, ClassificationResponse)
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert answer.headers["X-Model"] == f"{MOCK.name}@{MOCK.version}"
    assert answer.headers["Preference-Applied"] == "wait=0"
    assert [part.partition(";dur=")[0] for part in answer.headers["Server-Timing"].split(", ")] == [
        "queue",
        "decode",
        "preprocess",
        "predict",
    ]
