"""A request whose answer was lost is sent again by the client, and the gateway does its work once."""

from collections.abc import Iterator

import pytest

from darkroom import AsyncClient, Client, ConnectionLost
from tests.integration.conftest import Stack
from tests.support.broken_line import BrokenLine, broken_line
from tests.support.pictures import a_picture, encoded


@pytest.fixture
def line(stack: Stack) -> Iterator[BrokenLine]:
    with broken_line(stack.gateway.url) as line:
        yield line


def _ended(stack: Stack) -> int:
    jobs: dict[str, int] = stack.http.get("/v1/status").json()["jobs"]
    return sum(jobs.values())


def test_a_submission_whose_answer_was_lost_is_one_job(stack: Stack, line: BrokenLine) -> None:
    before = _ended(stack)
    line.breaks = 2

    with Client(line.url) as client:
        job = client.wait(client.submit(encoded(a_picture())))

    assert line.broke == 2
    assert job.status == "succeeded"
    assert _ended(stack) == before + 1


def test_a_classification_whose_answer_was_lost_is_one_job(stack: Stack, line: BrokenLine) -> None:
    before = _ended(stack)
    line.breaks = 2

    with Client(line.url) as client:
        found = client.classify(encoded(a_picture()))

    assert line.broke == 2
    assert found.timings.latency_ms is not None
    assert _ended(stack) == before + 1


async def test_many_at_once_over_a_line_that_breaks_are_as_many_jobs(stack: Stack, line: BrokenLine) -> None:
    before = _ended(stack)
    pictures = [encoded(a_picture(seed=number)) for number in range(24)]
    line.breaks = 8

    async with AsyncClient(line.url, retries=8) as client:
        outcomes = await client.classify_many(pictures, concurrency=4)

    assert line.broke == 8
    assert [outcome.error for outcome in outcomes] == [None] * len(pictures)
    assert _ended(stack) == before + len(pictures)


def test_a_job_erased_over_a_line_that_breaks_is_erased(stack: Stack, line: BrokenLine) -> None:
    with Client(line.url) as client:
        job = client.wait(client.submit(encoded(a_picture())))
        line.breaks = 1

        client.delete(job)

    assert line.broke == 1
    assert stack.http.get(f"/v1/jobs/{job.id}").status_code == 404


def test_who_wants_no_retries_hears_of_the_break(stack: Stack, line: BrokenLine) -> None:
    line.breaks = 1

    with Client(line.url, retries=0) as client, pytest.raises(ConnectionLost):
        client.classify(encoded(a_picture()))
