"""The same call for each of several things."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias, TypeVar

from darkroom.errors import DarkroomError
from darkroom.outcomes import ends_all, kept

G = TypeVar("G")
R = TypeVar("R")

_GRACE_S: Final = 1.0

Failure: TypeAlias = DarkroomError | OSError


async def series(
    given: Sequence[G],
    call: Callable[[G], Awaitable[R]],
    *,
    told: Callable[[G, R | Failure], None],
    at_once: int,
) -> None:
    """Call for each of what is given, so many at once; `told` hears what became of each, in the order given.

    Where one ends all, those that end within a second of it are told of all the same.

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
                return kept(error)

    tasks = [asyncio.create_task(outcome(item)) for item in given]
    try:
        for number, (item, task) in enumerate(zip(given, tasks, strict=True)):
            try:
                known = await task
            except (DarkroomError, OSError):
                # Their requests are with the server, and what it made of them must not be lost.
                await asyncio.wait(tasks[number:], timeout=_GRACE_S)
                for later, ended in zip(given[number:], tasks[number:], strict=True):
                    if ended.done() and not ended.cancelled() and ended.exception() is None:
                        told(later, ended.result())
                raise
            told(item, known)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
