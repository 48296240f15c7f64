"""The same call for each of several things."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar

from darkroom.errors import DarkroomError
from darkroom.outcomes import ends_all

G = TypeVar("G")
R = TypeVar("R")

Failure: TypeAlias = DarkroomError | OSError


async def series(
    given: Sequence[G],
    call: Callable[[G], Awaitable[R]],
    *,
    told: Callable[[G, R | Failure], None],
    at_once: int,
) -> None:
    """Call for each of what is given, so many at once; `told` hears what became of each, in the order given.

    Raises: the error after which no further call would fare better, see `outcomes.ends_all`.
    """
    slots = asyncio.Semaphore(at_once)
    end: list[Failure] = []

    async def outcome(item: G) -> R | Failure:
        async with slots:
            if end:
                raise end[0]
            try:
                return await call(item)
            except (DarkroomError, OSError) as error:
                if ends_all(error):
                    end.append(error)
                    raise
                return error

    tasks = [asyncio.create_task(outcome(item)) for item in given]
    try:
        for item, task in zip(given, tasks, strict=True):
            told(item, await task)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
