"""Darkroom for programs that block."""

import time
from collections.abc import Iterator
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


class Client:
    """A Darkroom at `url`. Close it, or use it in a `with` statement; threads may share one.

    `timeout` is how many seconds connecting, sending or an answer may take, besides what a call waits for by intent.
    Every method raises `ConnectionFailed`, `UnexpectedAnswer` or an `ApiError`; `OSError` for a picture's path that
    cannot be read.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout: float = 10.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._timeout = timeout
        self._http = httpx2.Client(**options(url), transport=transport)

    def submit(self, image: Picture, **wishes: Unpack[Wishes]) -> Job:
        """Hand over a picture (a path, bytes or a binary file) with `Wishes`; the job goes on by itself."""
        return self._carry(exchanges.submit(read_picture(image), wishes))

    def job(self, job_id: str) -> Job:
        """A job as it stands."""
        return self._carry(exchanges.look(job_id))

    def wait(self, job: Job | str, *, timeout: float = 60.0) -> Job:
        """A job when it is done, however it ended.

        Raises: WaitTimeout after `timeout` seconds; the job goes on.
        """
        return self._carry(exchanges.wait(exchanges.id_of(job), timeout))

    def result(
        self,
        job: Job | str,
        *,
        confidence_threshold: float | None = None,
        top_k: int | None = None,
    ) -> Classification:
        """A job's result; another threshold than the job's own costs no second inference.

        Raises: JobNotDone while it runs; its own typed error where it failed.
        """
        return self._carry(exchanges.result(exchanges.id_of(job), confidence_threshold, top_k))

    def classify(self, image: Picture, *, confidence_threshold: float = 0.5, timeout: float = 60.0) -> Classification:
        """What a picture shows.

        Raises: WaitTimeout after `timeout` seconds; the job goes on. The job's typed error where it failed.
        """
        return self._carry(exchanges.classify(read_picture(image), confidence_threshold, timeout))

    def cancel(self, job: Job | str) -> Job:
        """Ask a job to stop; one that is running may take a moment, see `done`.

        Raises: Conflict when it has ended.
        """
        return self._carry(exchanges.cancel(exchanges.id_of(job)))

    def delete(self, job: Job | str) -> None:
        """Erase a job, its picture and its result.

        Raises: Conflict while it runs.
        """
        self._carry(exchanges.delete(exchanges.id_of(job)))

    def jobs(self, *, status: str | None = None, model: str | None = None, limit: int | None = None) -> Iterator[Job]:
        """Jobs, newest first, at most `limit` of them, fetched page by page."""
        cursor, left = None, limit
        while left is None or left > 0:
            page = self._carry(exchanges.page(status, model, page_size(left), cursor))
            yield from page.jobs[:left]
            left = None if left is None else left - len(page.jobs)
            cursor = page.next_cursor
            if cursor is None:
                return

    def status(self) -> Status:
        """The service at a glance."""
        return self._carry(exchanges.status())

    def ready(self) -> bool:
        """Whether the service can classify now."""
        return self.unready() is None

    def unready(self) -> str | None:
        """Why the service cannot classify now, in a sentence; None when it can."""
        return self._carry(exchanges.unready())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _carry(self, exchange: Exchange[T]) -> T:
        try:
            request = next(exchange)
            while True:
                try:
                    response = self._send(request)
                except ConnectionFailed as error:
                    request = exchange.throw(error)
                else:
                    request = exchange.send(response)
        except StopIteration as stop:
            outcome: T = stop.value
            return outcome

    def _send(self, request: Request) -> httpx2.Response:
        if request.after_s:
            time.sleep(request.after_s)
        with translated(self._http.base_url):
            return self._http.request(**arguments(request, self._timeout))
