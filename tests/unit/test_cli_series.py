"""The same call for each of several things: in order, so many at once, and to an end where none would fare better."""

import asyncio
import gc
import weakref

import pytest

from darkroom import AnswerTimeout, ApiError, ConnectionFailed, ConnectionLost, NotAllowed
from darkroom.errors import error_of
from darkroom.outcomes import ends_all
from darkroom.series import series
from darkroom.types import Problem


class Picture:
    """Something whose end can be seen."""


def a_refusal(code: str) -> ApiError:
    return error_of(Problem(code=code, status=400, title="", detail=code))


async def test_each_is_told_in_the_order_given_whatever_ends_first() -> None:
    told: list[tuple[int, object]] = []
    events = [asyncio.Event() for _ in range(4)]

    async def call(number: int) -> int:
        if number < 3:
            await events[number + 1].wait()
        events[number].set()
        return -number

    await series(range(4), call, told=lambda *pair: told.append(pair), at_once=4)

    assert told == [(0, 0), (1, -1), (2, -2), (3, -3)]


async def test_no_more_are_called_at_once_than_wanted() -> None:
    running, most = 0, 0

    async def call(_: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await series(range(20), call, told=lambda *_: None, at_once=3)

    assert most == 3


async def test_a_failure_is_one_things_bad_luck() -> None:
    told: list[object] = []
    failures = [
        ConnectionLost("url", "reason"),
        AnswerTimeout("url", "reason"),
        a_refusal("job-not-found"),
        FileNotFoundError(),
    ]

    async def call(number: int) -> str:
        if number < len(failures):
            raise failures[number]
        return "good"

    await series(range(5), call, told=lambda _, outcome: told.append(outcome), at_once=1)

    assert told == [*failures, "good"]


@pytest.mark.parametrize("error", [ConnectionFailed("url", "reason"), a_refusal("unauthorized")])
async def test_what_all_others_would_meet_too_ends_it_after_those_before(error: Exception) -> None:
    told: list[object] = []
    called: list[int] = []

    async def call(number: int) -> int:
        called.append(number)
        if number == 2:
            raise error
        return number

    with pytest.raises(type(error)):
        await series(range(50), call, told=lambda _, outcome: told.append(outcome), at_once=1)

    assert told == [0, 1]
    assert called == [0, 1, 2]
    assert ends_all(error)
    assert not ends_all(ConnectionLost("url", "reason"))
    assert isinstance(a_refusal("forbidden"), NotAllowed)


async def test_what_others_came_to_is_told_before_the_end_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.series._GRACE_S", 0.1)
    told: list[tuple[int, object]] = []
    refused = a_refusal("unauthorized")
    sent = asyncio.Event()

    async def call(number: int) -> int:
        if number == 0:
            await sent.wait()
            raise refused
        if number == 1:
            raise FileNotFoundError
        if number == 3:
            sent.set()
            # It is with the server while another is refused.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        if number == 4:
            await asyncio.Event().wait()
        return -number

    with pytest.raises(NotAllowed):
        await series(range(5), call, told=lambda *pair: told.append(pair), at_once=5)

    assert [item for item, _ in told] == [1, 2, 3]
    assert isinstance(told[0][1], FileNotFoundError)
    assert told[1:] == [(2, -2), (3, -3)]


async def test_a_failure_does_not_keep_what_was_sent() -> None:
    held: list[object] = []
    sent: list[weakref.ref[Picture]] = []

    async def call(_: int) -> None:
        picture = Picture()
        sent.append(weakref.ref(picture))
        raise FileNotFoundError from ConnectionResetError(picture)

    await series(range(3), call, told=lambda _, outcome: held.append(outcome), at_once=1)

    gc.collect()
    assert len(held) == 3
    assert [picture() for picture in sent] == [None] * 3
