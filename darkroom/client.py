"""Darkroom for programs that block."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, Unpack

import httpx2

from darkroom import exchanges
from darkroom.exchanges import Exchange, Pace, Wishes
from darkroom.lines import Lines
from darkroom.outcomes import Outcome, in_threads, several
from darkroom.pictures import Picture, read_picture
from darkroom.transport import DEFAULT_URL, idempotency_key_or_new, options, page_size, place, seconds, surroundings
from darkroom.types import Classification, Job, JobPage, Replay, Status


class Client:
    """A Darkroom at `url`. Close it, or use it in a `with` statement; threads may share one.

    `key` is what a server with a key wants. `timeout` is how many seconds of silence there may be while connecting,
    sending or reading, besides what a call waits for by intent; an answer that comes in drips is not bounded by it.
    `retries` is how many times a request is sent again: when the connection broke before the answer was there, and
    when the server asks for a few seconds of patience; never after a timeout. It is safe for every call, since a
    picture goes with an idempotency key of its own; `replay_all` alone is never sent again.

    Every method raises `ConnectionFailed`, `UnexpectedAnswer` or an `ApiError`; `OSError` for a picture's path that
    cannot be read. Making a client raises `InvalidUrl`, `InvalidKey`, `InvalidSurroundings`, or `ValueError` for
    numbers out of range. The environment is asked for nothing but a proxy and certificates, and that only for other
    hosts than this one.

    >>> from darkroom import Client
    >>> with Client() as client:
    ...     print(client.classify("cat.png").best.label)
    Mammal
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        timeout: float = 10.0,
        retries: int = 2,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        made = options(url, key)
        self._timeout = seconds(timeout)
        self._pace = Pace(retries=retries)

        def connect() -> httpx2.Client:
            with surroundings():
                return httpx2.Client(**made, transport=transport)

        self._connect: Callable[[], httpx2.Client] = connect
        self._shares = transport is not None
        self._http = self._connect()
        self._lines = Lines(self._http, self._timeout)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({place(self._http.base_url)!r})"

    def submit(self, image: Picture, *, idempotency_key: str | None = None, **wishes: Unpack[Wishes]) -> Job:
        """Hand over a picture (a path, bytes or a binary file) with `Wishes`; the job goes on by itself.

        Within 24 hours the same `idempotency_key` with the same picture, model and threshold is the same job.

        Raises: IdempotencyKeyReused when it stands for something else; InvalidKey when no header can carry it.

        >>> job = client.submit("cat.png", metadata={"shelf": 7})
        >>> print(job.id, job.metadata)
        job_... {'shelf': 7}
        >>> client.wait(job).status
        'succeeded'
        """
        name = idempotency_key_or_new(idempotency_key)
        return self._lines.carry(exchanges.submit(read_picture(image), wishes, name, self._pace))

    def job(self, job: Job | str) -> Job:
        """A job as it stands.

        >>> job = client.submit("cat.png", priority="high")
        >>> client.job(job.id).priority
        'high'
        """
        return self._lines.carry(exchanges.look(exchanges.id_of(job), self._pace))

    def wait(self, job: Job | str, *, timeout: float = 60.0) -> Job:
        """A job when it is done, however it ended.

        Raises: WaitTimeout after `timeout` seconds; the job goes on.

        >>> job = client.submit("cat.png")
        >>> job = client.wait(job, timeout=30)
        >>> print(job.done, job.status, job.result.best.label)
        True succeeded Mammal
        """
        return self._lines.carry(exchanges.wait(exchanges.id_of(job), timeout, self._pace))

    def result(
        self,
        job: Job | str,
        *,
        confidence_threshold: float | None = None,
        top_k: int | None = None,
    ) -> Classification:
        """A job's result; another threshold than the job's own costs no second inference.

        Raises: JobNotDone while it runs; its own typed error where it failed.

        >>> job = client.wait(client.submit("cat.png"))
        >>> len(client.result(job).predictions)
        1
        >>> len(client.result(job, confidence_threshold=0, top_k=3).predictions)
        3
        """
        return self._lines.carry(exchanges.result(exchanges.id_of(job), confidence_threshold, top_k, self._pace))

    def classify(
        self,
        image: Picture,
        *,
        confidence_threshold: float = 0.5,
        timeout: float = 60.0,
        idempotency_key: str | None = None,
    ) -> Classification:
        """What a picture shows.

        Within 24 hours the same `idempotency_key` with the same picture and threshold is the same answer.

        Raises: WaitTimeout after `timeout` seconds; the job goes on. The job's typed error where it failed.

        >>> answer = client.classify("cat.png", confidence_threshold=0.01)
        >>> for prediction in answer.predictions[:2]:
        ...     print(f"{prediction.label} {prediction.confidence:.2f}")
        Mammal 0.88
        Reptile 0.07
        >>> answer.model
        'mock@1'
        """
        name = idempotency_key_or_new(idempotency_key)
        data = read_picture(image)
        return self._lines.carry(exchanges.classify(data, confidence_threshold, timeout, name, self._pace))

    def classify_many(
        self,
        images: Iterable[Picture],
        *,
        confidence_threshold: float = 0.5,
        timeout: float = 60.0,
        concurrency: int = 8,
    ) -> list[Outcome]:
        """What became of each picture, in the order given; see `classify_each`.

        >>> for outcome in client.classify_many(["cat.png", "nowhere.png", "owl.png"]):
        ...     if outcome.error is None:
        ...         print(outcome.image, outcome.unwrap().best.label)
        ...     else:
        ...         print(outcome.image, type(outcome.error).__name__)
        cat.png Mammal
        nowhere.png FileNotFoundError
        owl.png Bird
        """
        outcomes = self.classify_each(
            images, confidence_threshold=confidence_threshold, timeout=timeout, concurrency=concurrency
        )
        return sorted(outcomes, key=lambda outcome: outcome.index)

    def classify_each(
        self,
        images: Iterable[Picture],
        *,
        confidence_threshold: float = 0.5,
        timeout: float = 60.0,
        concurrency: int = 8,
    ) -> Generator[Outcome, None, None]:
        """What became of each picture, as they finish: `concurrency` at a time, each within `timeout` seconds.

        A picture that fails has its error for an outcome, and the others go on. `images` may be endless: a picture is
        taken from it when there is room for it. Leaving the iterator ends what is under way; its jobs go on. It
        waits for a picture that is being read.

        `images` is walked through by the thread that asks for outcomes: while the next picture is long in coming, what
        ended meanwhile is not told yet.

        Raises: ConnectionFailed, and stops, where no server can be reached; NotAllowed where the key is refused.

        >>> found = {}
        >>> for outcome in client.classify_each(["cat.png", "owl.png"]):
        ...     found[outcome.image] = outcome.unwrap().best.label
        >>> sorted(found.items())
        [('cat.png', 'Mammal'), ('owl.png', 'Bird')]

        Leave it by closing it, so that what is under way ends at once:

        >>> from contextlib import closing
        >>> with closing(client.classify_each(["cat.png", "cat.png"])) as outcomes:
        ...     print(next(outcomes).unwrap().best.label)
        Mammal
        """
        wanted = several(images, concurrency)
        return self._each(wanted, confidence_threshold, timeout, concurrency)

    def cancel(self, job: Job | str) -> Job:
        """Ask a job to stop; one that is running may take a moment, see `done`.

        Raises: JobAlreadyFinished.

        >>> job = client.wait(client.submit("cat.png"))
        >>> try:
        ...     client.cancel(job)
        ... except JobAlreadyFinished:
        ...     print("too late")
        too late
        """
        return self._lines.carry(exchanges.cancel(exchanges.id_of(job), self._pace))

    def retry(self, job: Job | str) -> Job:
        """Try a job again that failed, was canceled or expired: as a new job, with its picture and all its wishes.

        Asked again it is the same new job.

        Raises: InputGone once the picture was erased, an hour after the job's end unless the server is set otherwise;
        JobRunning for a job in another state.

        >>> failed = client.wait(client.submit("broken.png"))
        >>> again = client.retry(failed)
        >>> print(again.retry_of == failed.id, client.job(failed.id).retried_as == again.id)
        True True
        >>> print(client.wait(again).error.code)
        invalid-image
        """
        return self._lines.carry(exchanges.retry(exchanges.id_of(job), self._pace))

    def delete(self, job: Job | str) -> None:
        """Erase a job, its picture and its result.

        Raises: JobRunning.

        >>> job = client.wait(client.submit("cat.png"))
        >>> client.delete(job)
        >>> try:
        ...     client.job(job.id)
        ... except JobNotFound:
        ...     print("erased")
        erased
        """
        self._lines.carry(exchanges.delete(exchanges.id_of(job), self._pace))

    def jobs(
        self, *, status: str | None = None, model: str | None = None, limit: int | None = None
    ) -> Generator[Job, None, None]:
        """Jobs, newest first, at most `limit` of them, fetched page by page.

        >>> job = client.wait(client.submit("cat.png"))
        >>> [found.id == job.id for found in client.jobs(status="succeeded", limit=1)]
        [True]
        """
        return self._listed(limit, lambda size, cursor: exchanges.page(status, model, size, cursor, self._pace))

    def dead_letters(self, *, limit: int | None = None) -> Generator[Job, None, None]:
        """Jobs that failed for good and want somebody's eye, newest first, at most `limit` of them.

        Those are the jobs whose workers were lost again and again, that were repeated in vain, or that met a fault of
        the server; a bad picture alone is none. One that is tried again is none any more.

        >>> list(client.dead_letters(limit=10))
        []
        """
        return self._listed(limit, lambda size, cursor: exchanges.letters(size, cursor, self._pace))

    def replay(self, job: Job | str) -> Job:
        """Try a dead letter again, as `retry` does, once what it died of is mended.

        Raises: JobNotFound for what is no dead letter; InputGone once the picture was erased.

        >>> for letter in client.dead_letters():
        ...     print(letter.error.code, client.replay(letter).status)
        """
        return self._lines.carry(exchanges.replay(exchanges.id_of(job), self._pace))

    def replay_all(self, *, limit: int = 100, rate_per_s: float | None = None) -> Replay:
        """Try the newest dead letters again, at most `limit` of them: all at once, or so many a second.

        It is not sent again by itself. After an error ask anew: what was replayed is no dead letter any more.

        >>> client.replay_all(limit=50, rate_per_s=2)
        Replay(replayed=(), gone=0)
        """
        return self._lines.carry(exchanges.replay_all(limit, rate_per_s))

    def status(self) -> Status:
        """The service at a glance.

        >>> status = client.status()
        >>> print(status.serving.model, len(status.workers) > 0)
        mock True
        """
        return self._lines.carry(exchanges.status(self._pace))

    def ready(self) -> bool:
        """Whether the service can classify now.

        >>> client.ready()
        True
        """
        return self.unready() is None

    def unready(self) -> str | None:
        """Why the service cannot classify now, in a sentence; None when it can.

        >>> print(client.unready())
        None
        """
        return self._lines.carry(exchanges.unready())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listed(
        self, limit: int | None, page_of: Callable[[int, str | None], Exchange[JobPage]]
    ) -> Generator[Job, None, None]:
        cursor, left = None, limit
        while left is None or left > 0:
            page = self._lines.carry(page_of(page_size(left), cursor))
            yield from page.jobs[:left]
            left = None if left is None else left - len(page.jobs)
            cursor = page.next_cursor
            if cursor is None:
                return

    def _each(
        self, images: Iterator[Picture], confidence_threshold: float, timeout: float, concurrency: int
    ) -> Generator[Outcome, None, None]:
        with self._lines_for_many() as lines:

            def classify(image: Picture) -> Classification:
                name, data = idempotency_key_or_new(None), read_picture(image)
                return lines.carry(exchanges.classify(data, confidence_threshold, timeout, name, self._pace))

            yield from in_threads(images, classify, concurrency=concurrency, stop=lines.cut)

    @contextmanager
    def _lines_for_many(self) -> Iterator[Lines]:
        if self._shares:
            yield Lines(self._http, self._timeout)
            return
        # Connections of their own can be cut without harm to the client's other calls.
        with self._connect() as http:
            yield Lines(http, self._timeout, own=True)
