"""Many pictures on their way at once: each is taken as there is room for it, and told of when its end is known.

No picture waits in memory: what is taken and not yet told of are `concurrency` pictures at most.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from os import PathLike
from queue import SimpleQueue
from typing import TypeVar

from darkroom.errors import AnswerTimeout, ConnectionFailed, ConnectionLost, DarkroomError, NotAllowed
from darkroom.pictures import Picture
from darkroom.types import Classification

E = TypeVar("E", bound=Exception)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one picture of many: a classification, or the error that it has instead; the other is None.

    >>> good, bad = client.classify_many(["cat.png", "nowhere.png"])
    >>> good.unwrap().best.label
    'Mammal'
    >>> print(bad.index, bad.error.strerror)
    1 No such file or directory
    """

    index: int
    """Its place among the pictures given, from 0."""
    image: Picture = field(repr=False)
    """The picture as it was given."""
    classification: Classification | None = None
    error: DarkroomError | OSError | None = None

    def unwrap(self) -> Classification:
        """The classification.

        Raises: the error that there is instead.

        >>> outcomes = client.classify_many(["cat.png", "owl.png"])
        >>> [outcome.unwrap().best.label for outcome in outcomes]
        ['Mammal', 'Bird']
        """
        if self.error is not None:
            raise self.error
        assert self.classification is not None
        return self.classification


def several(images: Iterable[Picture], concurrency: int) -> Iterator[Picture]:
    """The pictures one by one.

    Raises: TypeError for what is one picture itself; ValueError for a concurrency below 1.
    """
    # Each of these could be walked through too: by letters, bytes or lines.
    if isinstance(images, str | bytes | bytearray | memoryview | PathLike) or hasattr(images, "read"):
        raise TypeError("That is one picture, where several are wanted: give a list of it, or call classify.")
    if concurrency < 1:
        raise ValueError(f"A concurrency of {concurrency} sends nothing: it must be 1 or more.")
    return iter(images)


def in_threads(
    images: Iterator[Picture],
    classify: Callable[[Picture], Classification],
    *,
    concurrency: int,
    stop: Callable[[], None],
) -> Generator[Outcome, None, None]:
    """The outcomes as the pictures end. In the end, or when the iterator is left, `stop` has to end what still runs.

    Raises: ConnectionFailed where no server can be reached, NotAllowed where the key is refused; what `images` raises.
    """

    def outcome(index: int, image: Picture) -> Outcome:
        try:
            return Outcome(index=index, image=image, classification=classify(image))
        except (DarkroomError, OSError) as error:
            return _failed(index, image, error)

    ended: SimpleQueue[Future[Outcome]] = SimpleQueue()
    numbered = enumerate(images)
    under_way, exhausted = 0, False
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="darkroom")
    try:
        while True:
            if not exhausted:
                taken = next(numbered, None)
                exhausted = taken is None
                if taken is not None:
                    pool.submit(outcome, *taken).add_done_callback(ended.put)
                    under_way += 1
                    # The next picture may be long in coming: what has ended by now is told first.
                    if under_way < concurrency and ended.empty():
                        continue
            if not under_way:
                return
            known = ended.get().result()
            under_way -= 1
            yield known
    finally:
        stop()
        pool.shutdown(cancel_futures=True)


async def in_tasks(
    images: Iterator[Picture], classify: Callable[[Picture], Awaitable[Classification]], *, concurrency: int
) -> AsyncGenerator[Outcome, None]:
    """The same on asyncio: leaving the iterator cancels what still runs."""

    async def outcome(index: int, image: Picture) -> Outcome:
        try:
            return Outcome(index=index, image=image, classification=await classify(image))
        except (DarkroomError, OSError) as error:
            return _failed(index, image, error)

    ended: asyncio.Queue[asyncio.Task[Outcome]] = asyncio.Queue()
    under_way: set[asyncio.Task[Outcome]] = set()
    numbered = enumerate(images)
    exhausted = False
    try:
        while True:
            if not exhausted:
                taken = next(numbered, None)
                exhausted = taken is None
                if taken is not None:
                    task = asyncio.create_task(outcome(*taken))
                    under_way.add(task)
                    task.add_done_callback(ended.put_nowait)
                    # An iterable that blocks leaves no other moment to those under way.
                    await asyncio.sleep(0)
                    if len(under_way) < concurrency and ended.empty():
                        continue
            if not under_way:
                return
            known = await ended.get()
            under_way.discard(known)
            yield known.result()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def ends_all(error: Exception) -> bool:
    """Whether all further calls would have this error too: nobody listens there, or the key is not the right one."""
    unreachable = isinstance(error, ConnectionFailed) and not isinstance(error, ConnectionLost | AnswerTimeout)
    return unreachable or isinstance(error, NotAllowed)


def kept(error: E) -> E:
    """The same error, fit to be kept: it no longer holds on to the picture that was sent."""
    # They lead to the frames and the request that hold the picture's bytes, of which a series may not keep many.
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


def _failed(index: int, image: Picture, error: DarkroomError | OSError) -> Outcome:
    if ends_all(error):
        raise error
    return Outcome(index=index, image=image, error=kept(error))
