"""Health checks see what is wrong, and that it is over."""

import time
from collections.abc import Callable
from typing import TypeAlias

import pytest

from tests.e2e.stacks import SERVERS, Stack, docker, inspect, tried_in
from tests.support.waiting import until

Report: TypeAlias = Callable[[str], None]

# Starting the stack may be part of it, and building its images.
pytestmark = pytest.mark.timeout(900)


def all_are(stack: Stack, status: str) -> bool:
    return {health for service in SERVERS for health in stack.health(service)} == {status}


def test_all_are_unhealthy_while_redis_does_not_answer_and_healthy_afterwards(stack: Stack, report: Report) -> None:
    (redis,) = stack.containers("redis")
    until(lambda: all_are(stack, "healthy"), seconds=60, what="all to be well")

    # Paused, a container would not even be asked.
    docker("kill", "--signal", "STOP", redis)
    stopped = time.monotonic()
    try:
        until(lambda: all_are(stack, "unhealthy"), seconds=120, what="all to be found ill")
        noticed_s = time.monotonic() - stopped
    finally:
        docker("kill", "--signal", "CONT", redis)

    went_on = time.monotonic()
    until(lambda: all_are(stack, "healthy"), seconds=60, what="all to be well again")
    report(f"Redis stands still: noticed by all after {noticed_s:.0f} s, over {time.monotonic() - went_on:.0f} s after")


def test_a_worker_that_stands_still_is_unhealthy_and_no_other(stack: Stack, report: Report) -> None:
    victim, *others = stack.containers("worker")
    until(lambda: all_are(stack, "healthy"), seconds=60, what="all to be well")

    def health() -> str:
        return str(inspect(victim)["State"]["Health"]["Status"])

    # All of it but the engine's own init, which is process 1.
    tried_in(victim, "sh", "-c", "kill -STOP -1")
    stopped = time.monotonic()
    try:
        until(lambda: health() == "unhealthy", seconds=120, what="the worker to be found ill")
        noticed_s = time.monotonic() - stopped
        rest = [inspect(container)["State"]["Health"]["Status"] for container in others]
        asked = (stack.health("redis"), stack.health("gateway"))
    finally:
        tried_in(victim, "sh", "-c", "kill -CONT -1")

    went_on = time.monotonic()
    until(lambda: health() == "healthy", seconds=60, what="the worker to be well again")
    report(f"a worker stands still: noticed after {noticed_s:.0f} s, over {time.monotonic() - went_on:.0f} s after")
    assert set(rest) == {"healthy"}
    assert asked == (["healthy"], ["healthy"])
