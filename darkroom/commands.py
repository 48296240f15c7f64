"""What each command does; an exit status is what it returns."""

import asyncio
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, TypeVar

import typer

from darkroom.async_client import AsyncClient
from darkroom.client import Client
from darkroom.errors import DarkroomError, WaitTimeout
from darkroom.exchanges import Wishes
from darkroom.exits import FAILED, LATE, MISUSED, leave, reason, say
from darkroom.folders import find_pictures
from darkroom.keys import read_key
from darkroom.plain import encodable
from darkroom.printing import write, write_json
from darkroom.rows import Row, row_of
from darkroom.series import Failure, series
from darkroom.tables import drawn, job_table, jobs_table, letters_table, progress_of, results_table, status_table
from darkroom.types import Job

AT_ONCE: Final = 8
"""Pictures or calls on their way at the same time."""

WAITS_AT_ONCE: Final = 64
"""Waits cost the server next to nothing, and each has a connection of its own."""

STDIN: Final = "-"

_ID: Final = re.compile(r"[A-Za-z0-9_-]+")

G = TypeVar("G")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where Darkroom is and how to speak to it. `key_file` is a file that holds the key, if it is not in X_API_KEY."""

    url: str
    key_file: Path | None = None

    def client(self) -> Client:
        """A client of it.

        Raises: InvalidUrl, UnusableKey.
        """
        return Client(encodable(self.url), key=read_key(os.environ, self.key_file))

    def async_client(self) -> AsyncClient:
        """The same for asyncio."""
        return AsyncClient(encodable(self.url), key=read_key(os.environ, self.key_file))


def classify(server: Server, files: Sequence[Path], *, threshold: float, timeout_s: float, as_json: bool) -> int:
    """A row for each picture, in their order."""
    pictures = _pictures(files)
    rows: dict[int, Row] = {}
    late = False

    async def run() -> None:
        nonlocal late
        async with server.async_client() as client:
            each = client.classify_each(
                pictures, confidence_threshold=threshold, timeout=timeout_s, concurrency=AT_ONCE
            )
            async for outcome in each:
                rows[outcome.index] = row_of(str(pictures[outcome.index]), outcome)
                late = late or isinstance(outcome.error, WaitTimeout)
                advance()

    try:
        with progress_of(len(pictures), "classifying") as advance:
            asyncio.run(run())
    finally:
        # What was classified before all ended is classified, and must be told.
        in_order = [row for _, row in sorted(rows.items(), key=itemgetter(0))]
        if in_order:
            _show(in_order, lambda: drawn(results_table(in_order)), as_json=as_json)
    return LATE if late else _status(failed=any(row.error for row in in_order))


def submit(server: Server, files: Sequence[Path], wishes: Wishes, *, as_json: bool) -> int:
    """A job's id for each picture that was taken."""
    return _go_through(
        server,
        _pictures(files),
        lambda client, picture: client.submit(picture, **wishes),
        told_as=lambda picture, job: (job.id, {"file": str(picture), **_fields(job)}),
        as_json=as_json,
    )


def wait(server: Server, ids: Sequence[str], *, timeout_s: float, as_json: bool) -> int:
    """The jobs as they stand when all are done, or the time is up."""
    found: list[Job] = []
    failures: list[Failure] = []
    deadline = time.monotonic() + timeout_s
    wanted = _ids(ids)

    def told(job_id: str, outcome: Job | Failure) -> None:
        advance()
        if isinstance(outcome, Job):
            found.append(outcome)
            return
        if isinstance(outcome, WaitTimeout):
            # The time that was given is the time for all, of which this one had a part.
            outcome = WaitTimeout(outcome.job, timeout_s)
            found.append(outcome.job)
        failures.append(outcome)
        say(f"{job_id}: {reason(outcome)}")

    async def run() -> None:
        async with server.async_client() as client:
            await series(
                wanted,
                lambda job_id: client.wait(job_id, timeout=max(0.0, deadline - time.monotonic())),
                told=told,
                at_once=WAITS_AT_ONCE,
            )

    with progress_of(len(wanted), "waiting") as advance:
        asyncio.run(run())
    _show(found, lambda: drawn(jobs_table(found, datetime.now(UTC))), as_json=as_json)
    if any(isinstance(failure, WaitTimeout) for failure in failures):
        return LATE
    return _status(failed=bool(failures) or any(job.status != "succeeded" for job in found))


def job(server: Server, job_id: str, *, as_json: bool) -> int:
    """A job as it stands."""
    with server.client() as client:
        found = client.job(_id(job_id))
    _show(found, lambda: drawn(job_table(found)), as_json=as_json)
    return 0


def jobs(server: Server, *, status: str | None, model: str | None, limit: int, as_json: bool) -> int:
    """The newest jobs."""
    with server.client() as client:
        found = list(client.jobs(status=status, model=model and encodable(model), limit=limit))
    _show(found, lambda: drawn(jobs_table(found, datetime.now(UTC))), as_json=as_json)
    return 0


def cancel(server: Server, ids: Sequence[str], *, as_json: bool) -> int:
    """Each job as it stands after it was asked to stop."""
    return _go_through(
        server,
        _ids(ids),
        lambda client, job_id: client.cancel(job_id),
        told_as=lambda job_id, job: (f"{job_id} {job.status}", job),
        as_json=as_json,
    )


def retry(server: Server, ids: Sequence[str], *, as_json: bool) -> int:
    """The new jobs."""
    return _go_through(
        server,
        _ids(ids),
        lambda client, job_id: client.retry(job_id),
        told_as=lambda _, job: (job.id, job),
        as_json=as_json,
    )


def dead_letters(server: Server, *, limit: int, as_json: bool) -> int:
    """The newest jobs that failed for good."""
    with server.client() as client:
        found = list(client.dead_letters(limit=limit))
    _show(found, lambda: drawn(letters_table(found, datetime.now(UTC))), as_json=as_json)
    return 0


def replay(server: Server, ids: Sequence[str], *, as_json: bool) -> int:
    """The new jobs of these dead letters."""
    return _go_through(
        server,
        _ids(ids),
        lambda client, job_id: client.replay(job_id),
        told_as=lambda _, job: (job.id, job),
        as_json=as_json,
    )


def replay_all(server: Server, *, limit: int, rate_per_s: float | None, as_json: bool) -> int:
    """The new jobs of the newest dead letters."""
    if rate_per_s is not None and not rate_per_s > 0:
        leave("--rate must be above 0.", MISUSED)
    with server.client() as client:
        found = client.replay_all(limit=limit, rate_per_s=rate_per_s)
    _show(found, lambda: "".join(f"{new.id}\n" for new in found.replayed), as_json=as_json)
    if found.gone:
        say(f"{found.gone} of the dead letters cannot be tried again: picture or model is gone.")
    return _status(failed=found.gone > 0)


def delete(server: Server, ids: Sequence[str], *, as_json: bool) -> int:
    """The ids of the jobs that are erased."""
    return _go_through(
        server,
        _ids(ids),
        lambda client, job_id: client.delete(job_id),
        told_as=lambda job_id, _: (f"{job_id} deleted", {"id": job_id, "deleted": True}),
        as_json=as_json,
    )


def status(server: Server, *, as_json: bool) -> int:
    """The service at a glance."""
    with server.client() as client:
        found = client.status()
    _show(found, lambda: drawn(status_table(found)), as_json=as_json)
    return 0


def _go_through(
    server: Server,
    given: Sequence[G],
    call: Callable[[AsyncClient, G], Awaitable[R]],
    *,
    told_as: Callable[[G, R], tuple[str, Any]],
    as_json: bool,
) -> int:
    documents: list[Any] = []
    failed = False

    def told(item: G, outcome: R | Failure) -> None:
        nonlocal failed
        if isinstance(outcome, DarkroomError | OSError):
            failed = True
            say(f"{item}: {reason(outcome)}")
            return
        line, document = told_as(item, outcome)
        if as_json:
            documents.append(document)
        else:
            write(f"{line}\n")

    async def run() -> None:
        async with server.async_client() as client:
            await series(given, lambda item: call(client, item), told=told, at_once=AT_ONCE)

    try:
        asyncio.run(run())
    finally:
        # What was done before all ended is done, and must be told.
        if documents:
            write_json(documents)
    if as_json and not documents:
        write_json([])
    return _status(failed=failed)


def _pictures(files: Sequence[Path]) -> list[Path]:
    found = []
    for place in files:
        below = find_pictures(place)
        if not below:
            say(f"{place}: there are no pictures in there.")
        found += below
    if not found:
        raise typer.Exit(MISUSED)
    return found


def _ids(given: Sequence[str]) -> list[str]:
    found: list[str] = []
    for item in given:
        found += _words_of_stdin() if item == STDIN else [item]
    if not found:
        leave("There are no ids on stdin.", MISUSED)
    return [_id(item) for item in found]


def _id(given: str) -> str:
    if not _ID.fullmatch(given):
        leave(f"{given!r} is no job's id.", MISUSED)
    return given


def _words_of_stdin() -> list[str]:
    # Python's own sign that there is no stdin.
    if sys.stdin is None:
        return []
    try:
        return sys.stdin.buffer.read().decode(errors="replace").split()
    except OSError as error:
        leave(f"stdin cannot be read: {reason(error)}", MISUSED)


def _show(found: Any, text: Callable[[], str], *, as_json: bool) -> None:
    if as_json:
        write_json(found)
    else:
        write(text())


def _fields(job: Job) -> dict[str, Any]:
    return {field.name: getattr(job, field.name) for field in fields(job)}


def _status(*, failed: bool) -> int:
    return FAILED if failed else 0
