"""Waiting for a condition instead of sleeping."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_S = 0.005


def until(condition: Callable[[], T | None], *, seconds: float = 10, what: str = "the condition") -> T:
    """Ask until the answer is true.

    Raises: TimeoutError after so many seconds.
    """
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(_PAUSE_S)


async def eventually(
    condition: Callable[[], Awaitable[T | None]], *, seconds: float = 10, what: str = "the condition"
) -> T:
    """Ask until the answer is true, leaving the event loop free.

    Raises: TimeoutError after so many seconds.
    """
    end = time.monotonic() + seconds
    while True:
        answer = await condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        await asyncio.sleep(_PAUSE_S)
