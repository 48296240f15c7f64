"""The exchanges by themselves: how long is waited, what is asked again, and when it is given up."""

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom import ConnectionFailed, ConnectionLost, DeadlineExceeded, JobCanceled, WaitTimeout
from darkroom.errors import ApiError, Unavailable
from darkroom.exchanges import Request, classify, look, submit, wait
from darkroom.pictures import media_type
from tests.support.answers import JOB_ID, URL, a_job, answer, drive, refusal

LOST = ConnectionLost(URL, "the connection broke")


class Server:
    """A clock that runs while a server holds its answers back, for `holds_s` or as long as it was asked to."""

    def __init__(self, holds_s: float | None = None) -> None:
        self.now = 1000.0
        self.holds_s = holds_s

    def clock(self) -> float:
        return self.now

    def answers(self, request: Request) -> None:
        self.now += request.after_s + (request.wait_s if self.holds_s is None else self.holds_s)


def unfinished(count: int) -> list[httpx2.Response]:
    return [answer(200, a_job("running")) for _ in range(count)]


def test_a_long_wait_is_cut_into_waits_of_twenty_seconds() -> None:
    server = Server()

    job, asked = drive(
        wait(JOB_ID, 60, server.clock),
        *unfinished(2),
        answer(200, a_job("succeeded")),
        before_answer=server.answers,
    )

    assert job.done
    assert [request.params["wait"] for request in asked] == ["20.000"] * 3
    assert [request.after_s for request in asked] == [0, 0, 0]


def test_a_wait_ends_at_its_deadline_and_tells_of_the_job() -> None:
    server = Server()

    with pytest.raises(WaitTimeout, match=r"within 45 s\. It is running") as raised:
        drive(wait(JOB_ID, 45, server.clock), *unfinished(3), before_answer=server.answers)

    assert server.now == pytest.approx(1045)
    assert raised.value.job.id == JOB_ID


def test_no_patience_at_all_still_looks_once() -> None:
    server = Server()

    job, asked = drive(wait(JOB_ID, 0, server.clock), answer(200, a_job("canceled")), before_answer=server.answers)

    assert job.status == "canceled"
    assert asked[0].params == {"wait": "0.000"}


def test_a_server_that_answers_early_is_not_asked_in_a_tight_circle() -> None:
    server = Server(holds_s=0.01)
    answers = [answer(200, a_job(), Retry_After="2"), *unfinished(1), answer(200, a_job("succeeded"))]

    _, asked = drive(wait(JOB_ID, 60, server.clock), *answers, before_answer=server.answers)

    assert [request.after_s for request in asked] == [0, 2, 0.5]


def test_a_state_that_this_client_does_not_know_ends_the_wait_by_done() -> None:
    answers = [answer(200, a_job("resting", done=False)), answer(200, a_job("archived", done=True))]

    job, _ = drive(wait(JOB_ID, 60, Server().clock), *answers)

    assert job.status == "archived"


@given(timeout=st.floats(0, 500), holds_s=st.floats(0.001, 30))
def test_no_wait_outlasts_its_deadline_by_more_than_the_server_does(timeout: float, holds_s: float) -> None:
    server = Server()

    def hold(request: Request) -> None:
        server.now += request.after_s + min(request.wait_s, holds_s)

    with pytest.raises(WaitTimeout):
        drive(wait(JOB_ID, timeout, server.clock), *unfinished(2000), before_answer=hold)

    assert timeout - 1e-6 <= server.now - 1000 <= timeout + 1e-6


def test_a_classification_waits_for_its_job_only_as_long_as_is_left() -> None:
    server = Server()

    with pytest.raises(WaitTimeout):
        drive(classify(b"", 0.5, 30, server.clock), answer(202, a_job()), *unfinished(1), before_answer=server.answers)

    assert server.now == pytest.approx(1030)


@pytest.mark.parametrize(
    ("job", "kind"),
    [
        (a_job("canceled"), JobCanceled),
        (a_job("expired"), ApiError),
        (a_job("failed"), ApiError),
    ],
)
def test_a_job_that_ended_without_a_result_is_an_error(job: dict[str, object], kind: type[ApiError]) -> None:
    with pytest.raises(kind):
        drive(classify(b"", 0.5, 30, Server().clock), answer(202, a_job()), answer(200, job))


def test_an_expired_job_raises_its_deadline() -> None:
    problem = {"code": "deadline-exceeded", "status": 410, "title": "Too late", "detail": "No worker took it."}
    expired = a_job("expired", error=problem)

    with pytest.raises(DeadlineExceeded):
        drive(classify(b"", 0.5, 30, Server().clock), answer(202, a_job()), answer(200, expired))


def test_a_get_whose_connection_broke_is_sent_again() -> None:
    job, asked = drive(look(JOB_ID), LOST, LOST, answer(200, a_job()))

    assert job.id == JOB_ID
    assert [request.after_s for request in asked] == [0, 0.5, 0.5]


def test_a_get_is_not_sent_a_fourth_time() -> None:
    with pytest.raises(ConnectionLost):
        drive(look(JOB_ID), LOST, LOST, LOST)


def test_where_nobody_listens_nothing_is_tried_again() -> None:
    with pytest.raises(ConnectionFailed):
        drive(look(JOB_ID), ConnectionFailed(URL, "it cannot be reached"))


@pytest.mark.parametrize(("code", "status"), [("broker-unavailable", 503), ("quota-exceeded", 429)])
def test_a_get_is_sent_again_when_the_server_asks_for_patience(code: str, status: int) -> None:
    _, asked = drive(look(JOB_ID), refusal(code, status, retry_after="2"), answer(200, a_job()))

    assert [request.after_s for request in asked] == [0, 2]


@pytest.mark.parametrize("retry_after", [None, "3600", "Fri, 31 Dec 2027 23:59:59 GMT", "-1"])
def test_patience_of_no_or_too_many_seconds_is_left_to_the_caller(retry_after: str | None) -> None:
    with pytest.raises(Unavailable) as raised:
        drive(look(JOB_ID), refusal("queue-full", 503, retry_after=retry_after))

    assert raised.value.problem.retry_after_s == (3600 if retry_after == "3600" else None)


def test_a_busy_server_is_asked_three_times_and_then_believed() -> None:
    with pytest.raises(Unavailable):
        drive(look(JOB_ID), *(refusal("queue-full", 503, retry_after="1") for _ in range(3)))


@pytest.mark.parametrize("trouble", [LOST, refusal("queue-full", 503, retry_after="1")])
def test_a_submission_is_never_sent_twice(trouble: httpx2.Response | Exception) -> None:
    with pytest.raises((ConnectionLost, Unavailable)):
        drive(submit(b"", {}), trouble)


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF89a", "image/gif"),
        (b"BM", "image/bmp"),
        (b"II*\x00", "image/tiff"),
        (b"MM\x00*", "image/tiff"),
        (b"RIFF\x00\x00\x00\x00WEBP", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVE", "image/jpeg"),
        (b"", "image/jpeg"),
    ],
)
def test_the_first_bytes_tell_the_media_type(start: bytes, name: str) -> None:
    assert media_type(start + b"...") == name
