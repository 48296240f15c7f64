"""Jobs that failed for good: look at them, and try them again as new jobs."""

import asyncio
from dataclasses import dataclass
from itertools import islice
from typing import Final

from gateway.jobs import ANONYMOUS, Jobs, checked_id
from gateway.listing import Listing, before
from gateway.schemas import PageQuery, ReplayRequest
from shared.errors import JobNotFound, UsageError
from shared.jobs import Job
from shared.store import JobStore

AT_ONCE: Final = 8
"""A replay of many has so many calls to the store under way: the others have connections left."""

_STRIDE: Final = 200
_MOST_GONE: Final = 2000
"""Letters that cannot be tried again stay listed for a while. After so many of them in a row of calls it is enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What became of the dead letters of one replay: the new jobs, and how many cannot be tried again."""

    jobs: tuple[Job, ...]
    gone: int


class DeadLetters:
    """The rules, whoever a job belongs to. Every method raises `BrokerUnavailable` when the store does not answer."""

    def __init__(self, store: JobStore, jobs: Jobs) -> None:
        self._store = store
        self._jobs = jobs

    async def page(self, query: PageQuery) -> Listing:
        """A page of dead letters, newest first.

        Raises: InvalidRequest for a cursor that is none of ours.
        """
        return Listing.of(await self._store.dead_letters(limit=query.limit, before=before(query.cursor)))

    async def replay(self, job_id: str) -> Job:
        """A new job for a dead letter's picture; asked again it gives the same.

        Raises: JobNotFound, JobExpired, InputGone, ModelNotFound, StorageFull.
        """
        job_id = checked_id(job_id)
        try:
            letter = await self._store.dead_letter(job_id)
        except JobNotFound:
            # Once tried again it is no dead letter any more, and whoever lost the answer asks twice.
            letter = await self._store.get(job_id, ANONYMOUS)
            if letter.retried_as is None:
                raise
        return await self._jobs.again(letter)

    async def replay_all(self, request: ReplayRequest) -> Replay:
        """New jobs for the newest dead letters that can be tried again. Those that cannot stop nothing.

        Raises: StorageFull. What was replayed before it is no dead letter any more: ask again for the rest.
        """
        found = _Replayed(request)
        start: int | None = None
        while found.left and found.gone < _MOST_GONE:
            page = await self._store.dead_letters(limit=_STRIDE, before=start)
            letters = iter(page.jobs)
            # With a rate one by one: the next pause is known once it is known whether this letter is replayed.
            while some := list(islice(letters, min(found.left, AT_ONCE if request.rate_per_s is None else 1))):
                attempts = [self._jobs.again(letter, pause_ms=found.pause_ms) for letter in some]
                found.take(await asyncio.gather(*attempts, return_exceptions=True))
            start = page.next_before
            if start is None:
                break
        return Replay(jobs=tuple(found.jobs), gone=found.gone)


class _Replayed:
    """What a replay has come to so far."""

    def __init__(self, request: ReplayRequest) -> None:
        self._request = request
        self.jobs: list[Job] = []
        self.gone = 0

    @property
    def left(self) -> int:
        return self._request.limit - len(self.jobs)

    @property
    def pause_ms(self) -> int:
        rate = self._request.rate_per_s
        return 0 if rate is None else round(1000 * len(self.jobs) / rate)

    def take(self, outcomes: list[Job | BaseException]) -> None:
        trouble: BaseException | None = None
        for outcome in outcomes:
            match outcome:
                case Job():
                    self.jobs.append(outcome)
                case UsageError():
                    # Its picture, its model or its record is no longer there.
                    self.gone += 1
                case _:
                    trouble = outcome
        if trouble is not None:
            raise trouble
