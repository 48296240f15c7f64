"""The gateway's view of the store, in Redis."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, OutOfMemoryError

from shared.adapters import keys
from shared.adapters.connections import calling_line, for_gateway, in_time, news_line, translated
from shared.adapters.line import Argument, raise_errors
from shared.adapters.records import dump_failure, dump_spec, load_ending, load_job, load_reaped, load_report, pairs
from shared.errors import IdempotencyKeyReused, InputGone, JobExpired, JobNotFound, JobRunning
from shared.jobs import PLACES, Job, JobSpec, JobState
from shared.store import CRASHED, WORKER_TTL_S, Ending, Once, Overview, Page, Reaped, WorkerSighting

_ROOM: Final = (16, 64, 256, 1024)
"""So many pictures of ended jobs make way for a new job in a full Redis, as long as that does not suffice."""

_STRIDE: Final = 200
_MOST_SEEN: Final = 2000
"""A page looks at so many records at most; with a rare filter it comes back short, with a cursor."""


class RedisJobStore:
    """`JobStore` in Redis: a line for pictures, one for what every request asks, one that listens, a pool beside."""

    def __init__(self, url: str, client: Redis, bell: Callable[[], bytes]) -> None:
        self._url = url
        self._line = calling_line(url)
        # Pictures have one of their own: on a slow line they would hold up all who only ask.
        self._pictures = calling_line(url)
        self._client = client
        self._bell = bell
        self._enqueue = client.register_script(keys.ENQUEUE)
        self._cancel = client.register_script(keys.CANCEL)
        self._delete = client.register_script(keys.DELETE)
        self._retry = client.register_script(keys.RETRY)
        self._reap = client.register_script(keys.REAP)
        self._make_room = client.register_script(keys.MAKE_ROOM)

    @classmethod
    def from_url(cls, url: str, *, connections: int, bell: Callable[[], bytes]) -> "RedisJobStore":
        """Connect lazily to the server at `url`, with at most `connections` connections and three more of its own."""
        return cls(url, for_gateway(url, connections=connections), bell)

    async def enqueue(self, spec: JobSpec, image: bytes, once: Once | None = None) -> Job:
        """See `JobStore.enqueue`: one round trip."""
        args: list[Argument] = [
            *(spec.id, spec.owner, *_terms(spec), self._bell()),
            *("" if once is None else once.key, "" if once is None else once.fingerprint),
        ]
        async with in_time():
            answer = await self._keep_or_make_room(spec, image, args)
        if answer == [keys.REUSED]:
            raise IdempotencyKeyReused("The idempotency key came before, with another request.")
        if answer[0] == keys.FIRST:
            return await self._first(answer[1].decode(), spec.owner)
        created, rank = answer
        if rank is None:
            return await self.get(spec.id, spec.owner)
        return Job(spec=spec, state=JobState.QUEUED, attempt=0, created_us=int(created), position=int(rank) + 1)

    async def _first(self, job_id: str, owner: str) -> Job:
        try:
            return await self.get(job_id, owner)
        except JobNotFound:
            raise JobExpired("The job that this idempotency key stands for is gone.") from None

    async def _keep_or_make_room(self, spec: JobSpec, image: bytes, args: list[Argument]) -> list[Any]:
        # Pictures that are kept for a retry never cost a new job its place, be they ever so small.
        for most in _ROOM:
            try:
                return await self._keep(spec, image, args)
            except OutOfMemoryError:
                if not await self._make_room(args=[most]):
                    raise
        return await self._keep(spec, image, args)

    async def _keep(self, spec: JobSpec, image: bytes, args: list[Argument]) -> list[Any]:
        try:
            return await self._send(spec, image, args, taught=True)
        except NoScriptError:
            return await self._send(spec, image, args, taught=False)

    async def _send(self, spec: JobSpec, image: bytes, args: list[Argument], *, taught: bool) -> list[Any]:
        # NX: said again, the picture of a job that waits must not get a time to live.
        keep = ("SET", f"{keys.PICTURE}{spec.id}", image, "PX", keys.UNADMITTED_MS, "NX")
        admit = ("EVALSHA", self._enqueue.sha) if taught else ("EVAL", keys.ENQUEUE)
        kept, answer = await self._pictures.call(keep, (*admit, 0, *args))
        # A full Redis keeps no picture and takes no job, and still knows the job that came before.
        if isinstance(answer, list) and answer[0] in {keys.FIRST, keys.REUSED}:
            return answer
        for outcome in (kept, answer):
            if isinstance(outcome, Exception):
                raise outcome
        return list(answer)

    async def get(self, job_id: str, owner: str) -> Job:
        """See `JobStore.get`: one round trip."""
        async with in_time():
            row, rank = raise_errors(
                await self._line.call(("HGETALL", f"{keys.JOB}{job_id}"), ("ZRANK", keys.QUEUE, job_id))
            )
        record = pairs(row)
        if not record or record[b"owner"].decode() != owner:
            raise await self._absence(job_id, owner)
        return load_job(record, None if rank is None else rank + 1)

    async def ended(self, job_ids: Sequence[str]) -> set[str]:
        """See `JobStore.ended`: one round trip for all."""
        async with in_time():
            states = raise_errors(
                await self._line.call(*[("HGET", f"{keys.JOB}{job_id}", "state") for job_id in job_ids])
            )
        return {
            job_id
            for job_id, state in zip(job_ids, states, strict=True)
            if state is None or JobState(state.decode()).done
        }

    async def endings(self) -> AsyncIterator[Ending]:
        """See `JobStore.endings`."""
        with translated():
            async with aclosing(news_line(self._url, keys.ENDED)) as news:
                async for message in news:
                    yield load_ending(message)

    async def cancel(self, job_id: str, owner: str) -> Job:
        """See `JobStore.cancel`."""
        async with in_time():
            await self._cancel(args=[job_id, owner])
        return await self.get(job_id, owner)

    async def delete(self, job_id: str, owner: str) -> None:
        """See `JobStore.delete`."""
        async with in_time():
            state = await self._delete(args=[job_id, owner])
        if state is None:
            raise await self._absence(job_id, owner)
        if state.decode() == JobState.RUNNING:
            raise JobRunning("The job is running: cancel it, or wait for its end.")

    async def retry(self, job_id: str, owner: str, spec: JobSpec, pause_ms: int = 0) -> Job:
        """See `JobStore.retry`."""
        async with in_time():
            answer: Any = await self._retry(args=[job_id, owner, spec.id, *_terms(spec), self._bell(), pause_ms])
        match answer:
            case None:
                raise await self._absence(job_id, owner)
            case [keys.NO_PICTURE]:
                raise InputGone("The job's picture was erased.")
            case [keys.NOT_ENDED, _]:
                raise JobRunning("Only a job that failed, was canceled or expired can be tried again.")
            case [keys.FIRST, first]:
                return await self.get(first.decode(), owner)
            case _:
                return await self.get(spec.id, owner)

    async def dead_letter(self, job_id: str) -> Job:
        """See `JobStore.dead_letter`."""
        async with in_time():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.zscore(keys.DEAD, job_id)
            pipeline.hgetall(f"{keys.JOB}{job_id}")
            number, record = await pipeline.execute()
        if number is None or not record:
            raise JobNotFound("There is no such dead letter.")
        return load_job(record, None)

    async def dead_letters(self, *, limit: int = 50, before: int | None = None) -> Page:
        """See `JobStore.dead_letters`."""
        return await self._page(keys.DEAD, lambda _: True, limit, before)

    async def _absence(self, job_id: str, owner: str) -> JobExpired | JobNotFound:
        async with in_time():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.time()
            pipeline.zscore(keys.ENDS, f"{owner} {job_id}")
            (seconds, _), tomb = await pipeline.execute()
        if tomb is not None and tomb > seconds * 1_000_000:
            return JobExpired("The job's record has run out.")
        return JobNotFound("There is no such job.")

    async def page(
        self,
        owner: str,
        *,
        state: JobState | None = None,
        model: str | None = None,
        limit: int = 50,
        before: int | None = None,
    ) -> Page:
        """See `JobStore.page`. It may come back short of `limit` and still name where to go on."""
        return await self._page(
            f"{keys.JOBS}{owner}",
            lambda job: (state is None or job.state is state) and (model is None or job.spec.model == model),
            limit,
            before,
        )

    async def _page(self, index: str, wanted: Callable[[Job], bool], limit: int, before: int | None) -> Page:
        found: list[tuple[int, Job]] = []
        for _ in range(0, _MOST_SEEN, _STRIDE):
            jobs, before = await self._stride(index, before)
            found += [(number, job) for number, job in jobs if wanted(job)]
            if len(found) > limit:
                before = found[limit - 1][0]
                break
            if before is None:
                break
        return Page(jobs=tuple(job for _, job in found[:limit]), next_before=before)

    async def _stride(self, index: str, before: int | None) -> tuple[list[tuple[int, Job]], int | None]:
        most = "+inf" if before is None else f"({before}"
        async with in_time():
            entries: Any = await self._client.zrange(
                index,
                most,
                "-inf",
                desc=True,
                byscore=True,
                offset=0,
                num=_STRIDE,
                withscores=True,
            )
            pipeline = self._client.pipeline(transaction=False)
            for job_id, _ in entries:
                pipeline.hgetall(f"{keys.JOB}{job_id.decode()}")
                pipeline.zrank(keys.QUEUE, job_id)
            answers = await pipeline.execute()
        jobs = [
            (int(number), load_job(record, None if rank is None else rank + 1))
            for (_, number), record, rank in zip(entries, answers[::2], answers[1::2], strict=True)
            if record
        ]
        return jobs, int(entries[-1][1]) if len(entries) == _STRIDE else None

    async def overview(self) -> Overview:
        """See `JobStore.overview`: three round trips."""
        async with in_time():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.time()
            pipeline.zcard(keys.WAITING)
            pipeline.zcard(keys.LEASES)
            pipeline.hgetall(keys.COUNTS)
            pipeline.zrange(keys.WAITING, 0, 0)
            pipeline.zrange(keys.WORKERS, 0, -1, withscores=True)
            (seconds, micros), depth, running, counts, oldest, seen = await pipeline.execute()
            now = seconds * 1_000_000 + micros
            recent = [(worker, heard) for worker, heard in seen if now - heard < WORKER_TTL_S * 1_000_000]
            reports: Any = await self._client.mget([f"{keys.WORKER}{worker.decode()}" for worker, _ in recent] or ["-"])
            created = await self._client.hget(f"{keys.JOB}{oldest[0].decode()}", "created_us") if oldest else None
        ended = {state: int(counts.get(state.encode(), 0)) for state in JobState if state.done}
        return Overview(
            jobs={JobState.QUEUED: depth, JobState.RUNNING: running, **ended},
            oldest_age_s=None if created is None else (now - int(created)) / 1e6,
            workers=tuple(
                WorkerSighting(report=load_report(report), age_s=(now - heard) / 1e6)
                for (_, heard), report in zip(recent, reports, strict=False)
                if report is not None
            ),
        )

    async def reap(self) -> Reaped:
        """See `JobStore.reap`."""
        async with in_time():
            return load_reaped(await self._reap(args=[self._bell(), dump_failure(CRASHED)]))

    async def faults(self) -> list[str]:
        """See `JobStore.faults`."""
        async with in_time():
            info = await self._client.info("persistence", "memory")
        faults = []
        if info.get("aof_last_write_status", "ok") != "ok":
            faults.append("Redis cannot write its append-only file.")
        if 0 < info.get("maxmemory", 0) <= info.get("used_memory", 0):
            faults.append("Redis is full.")
        if not info.get("aof_enabled"):
            faults.append("Redis keeps no append-only file: a restart would lose accepted jobs.")
        if info.get("maxmemory_policy") != "noeviction":
            faults.append("Redis may evict jobs: its maxmemory-policy is not noeviction.")
        return faults

    async def close(self) -> None:
        """See `JobStore.close`."""
        await self._line.close()
        await self._pictures.close()
        await self._client.aclose()


def _terms(spec: JobSpec) -> tuple[bytes | float, ...]:
    """What admitting a job needs to know besides its id and owner."""
    return (
        dump_spec(spec),
        PLACES[spec.priority],
        spec.queue_ttl_ms,
        spec.result_ttl_ms,
        spec.retry_keep_ms,
        spec.max_attempts,
    )
