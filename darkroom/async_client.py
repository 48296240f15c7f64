"""Darkroom for programs on asyncio."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx2

from darkroom import exchanges
from darkroom.errors import ConnectionFailed
from darkroom.exchanges import Exchange, Request, Wishes
from darkroom.pictures import Picture, read_picture
from darkroom.transport import DEFAULT_URL, arguments, options, page_size, translated
from darkroom.types import Classification, Job, Status

T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio: the same calls, answers and errors, each awaited. Use it in an `async with` statement."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout: float = 10.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._timeout = timeout
        self._http = httpx2.AsyncClient(**options(url), transport=transport)

    async def submit(self, image: Picture, **wishes: Unpack[Wishes]) -> Job:
        """Hand over a picture (a path, bytes or a binary file) with `Wishes`; the job goes on by itself."""
        return await self._carry(exchanges.submit(await asyncio.to_thread(read_picture, image), wishes))

    async def job(self, job_id: str) -> Job:
        """A job as it stands."""
        return await self._carry(exchanges.look(job_id))

    # In both calls it is the server that ends a wait, and a WaitTimeout tells of the job: no case for asyncio.timeout.
    async def wait(self, job: Job | str, *, timeout: float = 60.0) -> Job:  # noqa: ASYNC109
        """A job when it is done, however it ended.

        Raises: WaitTimeout after `timeout` seconds; the job goes on.
        """
        return await self._carry(exchanges.wait(exchanges.id_of(job), timeout))

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
        return await self._carry(exchanges.result(exchanges.id_of(job), confidence_threshold, top_k))

    async def classify(
        self,
        image: Picture,
        *,
        confidence_threshold: float = 0.5,
        timeout: float = 60.0,  # noqa: ASYNC109
    ) -> Classification:
        """What a picture shows.

        Raises: WaitTimeout after `timeout` seconds; the job goes on. The job's typed error where it failed.
        """
        data = await asyncio.to_thread(read_picture, image)
        return await self._carry(exchanges.classify(data, confidence_threshold, timeout))

    async def cancel(self, job: Job | str) -> Job:
        """Ask a job to stop; one that is running may take a moment, see `done`.

        Raises: Conflict when it has ended.
        """
        return await self._carry(exchanges.cancel(exchanges.id_of(job)))

    async def delete(self, job: Job | str) -> None:
        """Erase a job, its picture and its result.

        Raises: Conflict while it runs.
        """
        await self._carry(exchanges.delete(exchanges.id_of(job)))

    async def jobs(
        self, *, status: str | None = None, model: str | None = None, limit: int | None = None
    ) -> AsyncIterator[Job]:
        """Jobs, newest first, at most `limit` of them, fetched page by page."""
        cursor, left = None, limit
        while left is None or left > 0:
            page = await self._carry(exchanges.page(status, model, page_size(left), cursor))
            for job in page.jobs[:left]:
                yield job
            left = None if left is None else left - len(page.jobs)
            cursor = page.next_cursor
            if cursor is None:
                return

    async def status(self) -> Status:
        """The service at a glance."""
        return await self._carry(exchanges.status())

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
