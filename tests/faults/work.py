"""Which of the stack's workers is at work, as Redis tells it."""

from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import redis

from shared.adapters import keys
from tests.faults.members import Member, descendants
from tests.faults.stack import Stack


class Roll:
    """Which member a process belongs to, called once on entering, so that a name is looked up in no time."""

    def __init__(self, stack: Stack) -> None:
        self._members = {pid: member for member in stack.workers for pid in descendants(member.pid)}
        self._client = stack.redis.client()

    def __enter__(self) -> Self:
        with suppress(redis.exceptions.RedisError):
            # Connected beforehand.
            self._client.ping()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def worker_of(self, job_id: str) -> Member | None:
        """The member that has the job, or had it last; None if it came later than the roll, or Redis is away."""
        with suppress(redis.exceptions.RedisError):
            worker: Any = self._client.hget(f"{keys.JOB}{job_id}", "worker")
            # A worker's name is its host's, its process's id and something that never comes again.
            return None if worker is None else self._members.get(int(worker.decode().rsplit("-", 2)[1]))
        return None

    def at_work(self) -> list[tuple[Member, str]]:
        """The members that hold a job just now, each with the job's id."""
        with suppress(redis.exceptions.RedisError):
            leases: Any = self._client.zrange(keys.LEASES, 0, -1)
            ids = [job_id.decode() for job_id in leases]
            held = [(self.worker_of(job_id), job_id) for job_id in ids]
            return [(member, job_id) for member, job_id in held if member is not None]
        return []


def at_work(stack: Stack) -> list[tuple[Member, str]]:
    """The same, once."""
    with Roll(stack) as roll:
        return roll.at_work()
