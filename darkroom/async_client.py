"""Darkroom for programs on asyncio."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx2

from darkroom import exchanges
from darkroom.errors import ConnectionFailed
from darkroom.exchanges import Exchange, Pace, Request, Wishes
from darkroom.outcomes import Outcome, in_tasks, several
from darkroom.pictures import Picture, read_picture
from darkroom.transport import (
    DEFAULT_URL,
    arguments,
    idempotency_key_or_new,
    options,
    page_size,
    place,
    seconds,
    surroundings,
    translated,
)
from darkroom.types import Classification, Job, JobPage, Replay, Status

T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio: the same calls, answers and errors, each awaited. Use it in an `async with` statement.

    >>> import asyncio
    >>> from darkroom import AsyncClient
    >>> async def main():
    ...     async with AsyncClient() as client:
    ...         job = await client.submit("cat.png")
    ...         done = await client.wait(job)
    ...         print(done.status, done.result.best.label)
    >>> asyncio.run(main())
    succeeded Mammal
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        timeout: float = 10.0,
        retries: int = 2,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        made = options(url, key)
        self._timeout = seconds(timeout)
        self._pace = Pace(retries=retries)
        with surroundings():
            self._http = httpx2.AsyncClient(**made, transport=transport)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({place(self._http.base_url)!r})"

    async def submit(self, image: Picture, *, idempotency_key: str | None = None, **wishes: Unpack[Wishes]) -> Job:
        """Hand over a picture (a path, bytes or a binary file) with `Wishes`; the job goes on by itself.

        Within 24 hours the same `idempotency_key` with the same picture, model and threshold is the same job.

        Raises: IdempotencyKeyReused when it stands for something else; InvalidKey when no header can carry it.
        """
        name = idempotency_key_or_new(idempotency_key)
        data = await asyncio.to_thread(read_picture, image)
        return await self._carry(exchanges.submit(data, wishes, name, self._pace))

    async def job(self, job: Job | str) -> Job:
        """A job as it stands."""
        return await self._carry(exchanges.look(exchanges.id_of(job), self._pace))

    # In both calls it is the server that ends a wait, and a WaitTimeout tells of the job: no case for asyncio.timeout.
    async def wait(self, job: Job | str, *, timeout: float = 60.0) -> Job:  # noqa: ASYNC109
        """A job when it is done, however it ended.

        Raises: WaitTimeout after `timeout` seconds; the job goes on.
        """
        return await self._carry(exchanges.wait(exchanges.id_of(job), timeout, self._pace))

    async def result(
        self,
        job: Job | str,
        *,
        confidence_threshold: float | None = None,
        top_k: int | None = None,
    ) -> Classification:
        """A job's result; another threshold than the job's own costs no second inference.

        Raises: JobNotDone while it runs; its own typed error where it failed.
        """
        return await self._carry(exchanges.result(exchanges.id_of(job), confidence_threshold, top_k, self._pace))

    async def classify(
        self,
        image: Picture,
        *,
        confidence_threshold: float = 0.5,
        timeout: float = 60.0,  # noqa: ASYNC109
        idempotency_key: str | None = None,
    ) -> Classification:
        """What a picture shows.

        Within 24 hours the same `idempotency_key` with the same picture and threshold is the same answer.

        Raises: WaitTimeout after `timeout` seconds; the job goes on. The job's typed error where it failed.
        """
        name = idempotency_key_or_new(idempotency_key)
        data = await asyncio.to_thread(read_picture, image)
        return await self._carry(exchanges.classify(data, confidence_threshold, timeout, name, self._pace))

    async def classify_many(
        self,
        images: Iterable[Picture],
        *,
        confidence_threshold: float = 0.5,
        timeout: float = 60.0,  # noqa: ASYNC109
        concurrency: int = 8,
    ) -> list[Outcome]:
        """What became of each picture, in the order given; see `classify_each`.

        >>> async def main():
        ...     async with AsyncClient() as client:
        ...         for outcome in await client.classify_many(["cat.png", "owl.png"]):
        ...             print(outcome.image, outcome.unwrap().best.label)
        >>> asyncio.run(main())
        cat.png Mammal
        owl.png Bird
        """
        each = self.classify_each(
            images, confidence_threshold=confidence_threshold, timeout=timeout, concurrency=concurrency
        )
        return sorted([outcome async for outcome in each], key=lambda outcome: outcome.index)

    def classify_each(
        self,
        images: Iterable[Picture],
        *,
        confidence_threshold: float = 0.5,
        timeout: float = 60.0,
        concurrency: int = 8,
    ) -> AsyncGenerator[Outcome, None]:
        """What became of each picture, as they finish: `concurrency` at a time, each within `timeout` seconds.

        A picture that fails has its error for an outcome, and the others go on. `images` may be endless: a picture is
        taken from it when there is room for it. Leaving the iterator ends what is under way; its jobs go on. Close
        it with `aclosing`, or that happens only when the iterator is collected.

        `images` is walked through on the event loop: while the next picture is long in coming, nothing else goes on.

        Raises: ConnectionFailed, and stops, where no server can be reached; NotAllowed where the key is refused.

        >>> from contextlib import aclosing
        >>> async def main():
        ...     async with AsyncClient() as client:
        ...         async with aclosing(client.classify_each(["cat.png", "nowhere.png"], concurrency=1)) as outcomes:
        ...             async for outcome in outcomes:
        ...                 print(outcome.image, outcome.error is None)
        >>> asyncio.run(main())
        cat.png True
        nowhere.png False
        """

        async def classify(image: Picture) -> Classification:
            return await self.classify(image, confidence_threshold=confidence_threshold, timeout=timeout)

        return in_tasks(several(images, concurrency), classify, concurrency=concurrency)

    async def cancel(self, job: Job | str) -> Job:
        """Ask a job to stop; one that is running may take a moment, see `done`.

        Raises: JobAlreadyFinished.
        """
        return await self._carry(exchanges.cancel(exchanges.id_of(job), self._pace))

    async def retry(self, job: Job | str) -> Job:
        """Try a job again that failed, was canceled or expired: as a new job, with its picture and all its wishes.

        Asked again it is the same new job.

        Raises: InputGone once the picture was erased, an hour after the job's end unless the server is set otherwise;
        JobRunning for a job in another state.
        """
        return await self._carry(exchanges.retry(exchanges.id_of(job), self._pace))

    async def delete(self, job: Job | str) -> None:
        """Erase a job, its picture and its result.

        Raises: JobRunning.
        """
        await self._carry(exchanges.delete(exchanges.id_of(job), self._pace))

    def jobs(
        self, *, status: str | None = None, model: str | None = None, limit: int | None = None
    ) -> AsyncGenerator[Job, None]:
        """Jobs, newest first, at most `limit` of them, fetched page by page."""
        return self._listed(limit, lambda size, cursor: exchanges.page(status, model, size, cursor, self._pace))

    def dead_letters(self, *, limit: int | None = None) -> AsyncGenerator[Job, None]:
        """Jobs that failed for good and want somebody's eye, newest first, at most `limit` of them.

        Those are the jobs whose workers were lost again and again, that were repeated in vain, or that met a fault of
        the server; a bad picture alone is none. One that is tried again is none any more.
        """
        return self._listed(limit, lambda size, cursor: exchanges.letters(size, cursor, self._pace))

    async def replay(self, job: Job | str) -> Job:
        """Try a dead letter again, as `retry` does, once what it died of is mended.

        Raises: JobNotFound for what is no dead letter; InputGone once the picture was erased.
        """
        return await self._carry(exchanges.replay(exchanges.id_of(job), self._pace))

    async def replay_all(self, *, limit: int = 100, rate_per_s: float | None = None) -> Replay:
        """Try the newest dead letters again, at most `limit` of them: all at once, or so many a second.

        It is not sent again by itself. After an error ask anew: what was replayed is no dead letter any more.
        """
        return await self._carry(exchanges.replay_all(limit, rate_per_s))

    async def status(self) -> Status:
        """The service at a glance."""
        return await self._carry(exchanges.status(self._pace))

    async def ready(self) -> bool:
        """Whether the service can classify now."""
        return await self.unready() is None

    async def unready(self) -> str | None:
        """Why the service cannot classify now, in a sentence; None when it can."""
        return await self._carry(exchanges.unready())

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _listed(
        self, limit: int | None, page_of: Callable[[int, str | None], Exchange[JobPage]]
    ) -> AsyncGenerator[Job, None]:
        cursor, left = None, limit
        while left is None or left > 0:
            page = await self._carry(page_of(page_size(left), cursor))
            for job in page.jobs[:left]:
                yield job
            left = None if left is None else left - len(page.jobs)
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _carry(self, exchange: Exchange[T]) -> T:
        try:
            request = next(exchange)
            while True:
                try:
                    response = await self._send(request)
                except ConnectionFailed as error:
                    request = exchange.throw(error)
                else:
                    request = exchange.send(response)
        except StopIteration as stop:
            outcome: T = stop.value
            return outcome

    async def _send(self, request: Request) -> httpx2.Response:
        if request.after_s:
            await asyncio.sleep(request.after_s)
        with translated(self._http.base_url):
            return await self._http.request(**arguments(request, self._timeout))
