"""The exchanges by themselves: how long is waited, what is asked again, and when it is given up."""

from collections.abc import Callable
from functools import partial
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom import AnswerTimeout, ConnectionFailed, ConnectionLost, DeadlineExceeded, JobCanceled, WaitTimeout
from darkroom.errors import ApiError, JobExpired, JobNotFound, Unavailable, UnexpectedAnswer, WorkerCrashed
from darkroom.exchanges import (
    Exchange,
    Pace,
    Request,
    cancel,
    classify,
    delete,
    letters,
    look,
    replay,
    replay_all,
    result,
    retry,
    submit,
    unready,
    wait,
)
from darkroom.pictures import media_type
from tests.support.answers import JOB_ID, URL, a_classification, a_job, answer, drive, refusal

LOST = ConnectionLost(URL, "the connection broke")
LATE = AnswerTimeout(URL, "it took too long")

SURE = Pace(chance=lambda: 1.0)
"""Chance lengthens every pause as far as it may."""

KEY = "key-of-the-test"


class Server:
    """A clock that runs while a server holds its answers back, for `holds_s` or as long as it was asked to."""

    def __init__(self, holds_s: float | None = None) -> None:
        self.now = 1000.0
        self.holds_s = holds_s

    def pace(self, retries: int = 2) -> Pace:
        return Pace(retries=retries, chance=lambda: 1.0, clock=lambda: self.now)

    def answers(self, request: Request) -> None:
        self.now += request.after_s + (request.wait_s if self.holds_s is None else self.holds_s)


def unfinished(count: int) -> list[httpx2.Response]:
    return [answer(200, a_job("running")) for _ in range(count)]


def test_a_long_wait_is_cut_into_waits_of_twenty_seconds() -> None:
    server = Server()

    job, asked = drive(
        wait(JOB_ID, 60, server.pace()),
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
        drive(wait(JOB_ID, 45, server.pace()), *unfinished(3), before_answer=server.answers)

    assert server.now == pytest.approx(1045)
    assert raised.value.job.id == JOB_ID


def test_no_patience_at_all_still_looks_once() -> None:
    server = Server()

    job, asked = drive(wait(JOB_ID, 0, server.pace()), answer(200, a_job("canceled")), before_answer=server.answers)

    assert job.status == "canceled"
    assert asked[0].params == {"wait": "0.000"}


def test_a_server_that_answers_early_is_not_asked_in_a_tight_circle() -> None:
    server = Server(holds_s=0.01)
    answers = [answer(200, a_job(), Retry_After="2"), *unfinished(1), answer(200, a_job("succeeded"))]

    _, asked = drive(wait(JOB_ID, 60, server.pace()), *answers, before_answer=server.answers)

    assert [request.after_s for request in asked] == [0, 2, 0.5]


def test_a_state_that_this_client_does_not_know_ends_the_wait_by_done() -> None:
    answers = [answer(200, a_job("resting", done=False)), answer(200, a_job("archived", done=True))]

    job, _ = drive(wait(JOB_ID, 60, Server().pace()), *answers)

    assert job.status == "archived"


@given(timeout=st.floats(0, 500), holds_s=st.floats(0.001, 30))
def test_no_wait_outlasts_its_deadline_by_more_than_the_server_does(timeout: float, holds_s: float) -> None:
    server = Server()

    def hold(request: Request) -> None:
        server.now += request.after_s + min(request.wait_s, holds_s)

    with pytest.raises(WaitTimeout):
        drive(wait(JOB_ID, timeout, server.pace()), *unfinished(2000), before_answer=hold)

    assert timeout - 1e-6 <= server.now - 1000 <= timeout + 1e-6


def test_a_classification_waits_for_its_job_only_as_long_as_is_left() -> None:
    server = Server()

    with pytest.raises(WaitTimeout):
        drive(
            classify(b"", 0.5, 30, KEY, server.pace()),
            answer(202, a_job()),
            *unfinished(1),
            before_answer=server.answers,
        )

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
        drive(classify(b"", 0.5, 30, KEY, Server().pace()), answer(202, a_job()), answer(200, job))


def test_an_expired_job_raises_its_deadline() -> None:
    problem = {"code": "deadline-exceeded", "status": 410, "title": "Too late", "detail": "No worker took it."}
    expired = a_job("expired", error=problem)

    with pytest.raises(DeadlineExceeded):
        drive(classify(b"", 0.5, 30, KEY, Server().pace()), answer(202, a_job()), answer(200, expired))


def test_a_get_whose_connection_broke_is_sent_again() -> None:
    job, asked = drive(look(JOB_ID, SURE), LOST, LOST, answer(200, a_job()))

    assert job.id == JOB_ID
    assert [request.after_s for request in asked] == [0, 0.5, 1]


def test_a_get_is_not_sent_a_fourth_time() -> None:
    with pytest.raises(ConnectionLost):
        drive(look(JOB_ID, SURE), LOST, LOST, LOST)


def test_where_nobody_listens_nothing_is_tried_again() -> None:
    with pytest.raises(ConnectionFailed):
        drive(look(JOB_ID, SURE), ConnectionFailed(URL, "it cannot be reached"))


@pytest.mark.parametrize(("code", "status"), [("broker-unavailable", 503), ("quota-exceeded", 429)])
def test_a_get_is_sent_again_when_the_server_asks_for_patience(code: str, status: int) -> None:
    _, asked = drive(look(JOB_ID, SURE), refusal(code, status, retry_after="2"), answer(200, a_job()))

    assert [request.after_s for request in asked] == [0, 2.5]


@pytest.mark.parametrize("retry_after", [None, "3600", "Fri, 31 Dec 2027 23:59:59 GMT", "-1"])
def test_patience_of_no_or_too_many_seconds_is_left_to_the_caller(retry_after: str | None) -> None:
    with pytest.raises(Unavailable) as raised:
        drive(look(JOB_ID, SURE), refusal("queue-full", 503, retry_after=retry_after))

    assert raised.value.problem.retry_after_s == (3600 if retry_after == "3600" else None)


def test_a_server_that_asks_for_no_patience_is_given_some() -> None:
    luckless = Pace(chance=lambda: 0.0)
    busy = [refusal("queue-full", 503, retry_after="0") for _ in range(4)]

    _, sure = drive(look(JOB_ID, SURE), *busy[:2], answer(200, a_job()))
    _, asked = drive(look(JOB_ID, luckless), *busy[2:], answer(200, a_job()))

    assert [request.after_s for request in sure] == [0, 0.5, 1]
    assert [request.after_s for request in asked] == [0, 0.25, 0.5]


def test_the_patience_that_a_server_asks_for_is_drawn_out_by_chance_up_to_a_quarter_and_never_cut() -> None:
    paces = [Pace(chance=partial(float, share)) for share in (0.0, 0.5, 1.0)]

    pauses = [
        drive(look(JOB_ID, pace), refusal("queue-full", 503, retry_after="4"), answer(200, a_job()))[1][1].after_s
        for pace in paces
    ]

    assert pauses == [4, 4.5, 5]


def test_a_pause_drawn_out_by_chance_ends_with_the_calls_time() -> None:
    server = Server(holds_s=0)

    _, asked = drive(
        classify(b"", 0.5, 4.5, KEY, server.pace()),
        refusal("queue-full", 503, retry_after="4"),
        GOOD["classify"](),
        before_answer=server.answers,
    )

    assert [request.after_s for request in asked] == [0, 4.5]


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_that_names_its_patience_is_asked_again(status: int) -> None:
    proxys = httpx2.Response(status, text="<h1>Bad gateway</h1>", headers={"Retry-After": "2"})

    _, asked = drive(look(JOB_ID, SURE), proxys, answer(200, a_job()))

    assert [request.after_s for request in asked] == [0, 2.5]


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize("kind", ["text/html", "application/problem+json"])
def test_a_proxy_that_has_no_answer_is_unavailable(status: int, kind: str) -> None:
    proxys = httpx2.Response(status, text="<h1>Bad gateway</h1>", headers={"Content-Type": kind})

    with pytest.raises(Unavailable, match=f"status {status}.* a proxy") as raised:
        drive(look(JOB_ID, SURE), proxys)

    assert (raised.value.problem.status, raised.value.problem.retryable) == (status, True)


def test_a_key_with_quotes_of_its_own_is_another_key() -> None:
    keys = ["qq1", '"qq1"', r"back\slash"]

    sent = [drive(submit(b"", {}, key, SURE), answer(202, a_job()))[1][0].headers["Idempotency-Key"] for key in keys]

    assert sent == ['"qq1"', r'"\"qq1\""', r'"back\\slash"']


def test_a_busy_server_is_asked_three_times_and_then_believed() -> None:
    with pytest.raises(Unavailable):
        drive(look(JOB_ID, SURE), *(refusal("queue-full", 503, retry_after="1") for _ in range(3)))


CALLS: dict[str, Callable[[Pace], Exchange[Any]]] = {
    "submit": lambda pace: submit(b"", {}, KEY, pace),
    "classify": lambda pace: classify(b"", 0.5, 60, KEY, pace),
    "cancel": lambda pace: cancel(JOB_ID, pace),
    "retry": lambda pace: retry(JOB_ID, pace),
    "letters": lambda pace: letters(None, None, pace),
    "replay": lambda pace: replay(JOB_ID, pace),
    "delete": lambda pace: delete(JOB_ID, pace),
    "look": lambda pace: look(JOB_ID, pace),
    "result": lambda pace: result(JOB_ID, None, None, pace),
}
GOOD = {
    "submit": lambda: answer(202, a_job()),
    "classify": lambda: answer(200, a_classification(("Bird", 0.91))),
    "cancel": lambda: answer(202, a_job()),
    "retry": lambda: answer(202, a_job()),
    "letters": lambda: answer(200, {"items": [], "next_cursor": None}),
    "replay": lambda: answer(202, a_job()),
    "delete": lambda: answer(204),
    "look": lambda: answer(200, a_job()),
    "result": lambda: answer(200, a_classification(("Bird", 0.91))),
}
every_call = pytest.mark.parametrize("name", CALLS)


@every_call
def test_every_call_survives_a_broken_connection_and_a_busy_server(name: str) -> None:
    _, asked = drive(CALLS[name](SURE), LOST, refusal("broker-unavailable", 503, retry_after="3"), GOOD[name]())

    assert [request.after_s for request in asked] == [0, 0.5, 3.75]
    assert {(request.method, request.path, request.content) for request in asked} == {
        (asked[0].method, asked[0].path, asked[0].content)
    }


@every_call
def test_no_call_is_sent_again_after_a_timeout(name: str) -> None:
    with pytest.raises(AnswerTimeout, match="too long"):
        drive(CALLS[name](SURE), LATE)


@every_call
@pytest.mark.parametrize("trouble", [LOST, refusal("queue-full", 503, retry_after="1")])
def test_without_retries_the_first_trouble_is_told(name: str, trouble: httpx2.Response | Exception) -> None:
    with pytest.raises((ConnectionLost, Unavailable)):
        drive(CALLS[name](Pace(retries=0)), trouble)


@pytest.mark.parametrize("name", ["submit", "classify"])
def test_a_picture_goes_with_the_same_idempotency_key_every_time(name: str) -> None:
    _, asked = drive(CALLS[name](SURE), LOST, refusal("quota-exceeded", 429, retry_after="0"), GOOD[name]())

    assert [request.headers["Idempotency-Key"] for request in asked] == [f'"{KEY}"'] * 3


@pytest.mark.parametrize("trouble", [LOST, LATE, refusal("broker-unavailable", 503, retry_after="1")])
def test_a_replay_of_many_is_sent_once_since_a_second_would_be_for_the_next_ones(
    trouble: httpx2.Response | Exception,
) -> None:
    with pytest.raises((ConnectionFailed, Unavailable)):
        drive(replay_all(100, None), trouble)


def test_pauses_grow_and_chance_halves_them_at_most() -> None:
    sure, luckless = Pace(retries=9, chance=lambda: 1.0), Pace(retries=9, chance=lambda: 0.0)

    assert [sure.pause_s(sent) for sent in range(1, 7)] == [0.5, 1, 2, 4, 4, 4]
    assert [luckless.pause_s(sent) for sent in range(1, 7)] == [0.25, 0.5, 1, 2, 2, 2]


@given(sent=st.integers(1, 10_000))
def test_a_pause_left_to_chance_stays_in_its_bounds(sent: int) -> None:
    assert 0.25 <= Pace().pause_s(sent) <= 4


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_a_request_is_sent_again_as_often_as_wanted(retries: int) -> None:
    pace = Pace(retries=retries, chance=lambda: 0.0)

    job, asked = drive(look(JOB_ID, pace), *[LOST] * retries, answer(200, a_job()))

    assert job.id == JOB_ID
    assert len(asked) == retries + 1


def test_fewer_retries_than_none_are_refused() -> None:
    with pytest.raises(ValueError, match="-1 retries"):
        Pace(retries=-1)


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_patience_below_nothing_is_refused(timeout: float) -> None:
    for exchange in (wait(JOB_ID, timeout, SURE), classify(b"", 0.5, timeout, KEY, SURE)):
        with pytest.raises(ValueError, match="must be 0 or more"):
            next(exchange)


def test_a_job_that_failed_for_good_is_not_asked_for_again() -> None:
    stored = refusal("worker-crashed", 503, retry_after="1")
    stored.headers["Content-Location"] = f"/v1/jobs/{JOB_ID}"

    with pytest.raises(WorkerCrashed):
        drive(classify(b"", 0.5, 60, KEY, SURE), stored)


def test_a_classification_is_not_sent_again_when_its_time_is_up_by_then() -> None:
    server = Server(holds_s=3.8)

    with pytest.raises(ConnectionLost):
        drive(classify(b"", 0.5, 4, KEY, server.pace()), LOST, before_answer=server.answers)

    with pytest.raises(Unavailable):
        drive(
            classify(b"", 0.5, 4, KEY, server.pace()),
            refusal("queue-full", 503, retry_after="1"),
            before_answer=server.answers,
        )


def test_a_classification_sent_again_is_held_only_as_long_as_is_left() -> None:
    server = Server(holds_s=10)

    _, asked = drive(
        classify(b"", 0.5, 25, KEY, server.pace()), LOST, LOST, GOOD["classify"](), before_answer=server.answers
    )

    assert [request.headers["Prefer"] for request in asked] == ["wait=20", "wait=14", "wait=3"]


def test_a_wait_whose_connection_broke_ends_in_time_all_the_same() -> None:
    server = Server()

    with pytest.raises(WaitTimeout):
        drive(wait(JOB_ID, 30, server.pace()), LOST, *unfinished(1), before_answer=server.answers)

    assert server.now == pytest.approx(1030)


@pytest.mark.parametrize("trouble", [LOST, refusal("broker-unavailable", 503, retry_after="0")])
def test_a_job_that_is_gone_when_its_erasure_is_asked_for_again_was_erased(
    trouble: httpx2.Response | Exception,
) -> None:
    done, asked = drive(delete(JOB_ID, SURE), trouble, refusal("job-not-found", 404))

    assert done is None
    assert [request.method for request in asked] == ["DELETE"] * 2


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([refusal("job-not-found", 404)], JobNotFound),
        ([LOST, answer(404, {"detail": "Not Found"})], UnexpectedAnswer),
        ([LOST, refusal("job-expired", 410)], JobExpired),
    ],
)
def test_any_other_404_of_an_erasure_is_what_it_says(
    answers: list[httpx2.Response | Exception], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        drive(delete(JOB_ID, SURE), *answers)


def test_readiness_is_asked_for_once() -> None:
    sentence, asked = drive(unready(), refusal("no-workers", 503, retry_after="1"))

    assert sentence == "A sentence about no-workers."
    assert len(asked) == 1


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
