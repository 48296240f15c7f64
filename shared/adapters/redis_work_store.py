"""The worker's view of the store, in Redis."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from shared.adapters import keys
from shared.adapters.connections import for_worker, translated
from shared.adapters.records import dump_answer, dump_failure, dump_report, load_reaped, load_spec
from shared.jobs import Answer, Claim, Failure, JobState, Outcome, Setback, pause_ms
from shared.store import CRASHED, Reaped, WorkerReport


class RedisWorkStore:
    """`WorkStore` in Redis, for one worker."""

    def __init__(self, client: Redis, bell: Callable[[], bytes]) -> None:
        self._client = client
        # The drain's own, without the client's books; beats and the reaper come from other threads.
        self._line = client.connection_pool.make_connection()
        self._bell = bell
        self._number = 1
        self._claim_sha = client.register_script(keys.CLAIM).sha
        self._finish_sha = client.register_script(keys.FINISH).sha
        self._give_back = client.register_script(keys.GIVE_BACK)
        self._beat = client.register_script(keys.BEAT)
        self._reap = client.register_script(keys.REAP)
        self._retire = client.register_script(keys.RETIRE)

    @classmethod
    def from_url(cls, url: str, *, bell: Callable[[], bytes]) -> "RedisWorkStore":
        """Connect lazily to the server at `url`."""
        return cls(for_worker(url), bell)

    def claim(self, worker: str) -> Claim | None:
        """See `WorkStore.claim`: one round trip, the picture included."""
        return self._taken(worker, keys.AGAIN, time.perf_counter())

    def finish(
        self,
        worker: str,
        claim: Claim,
        outcome: Outcome,
        *,
        then_claim: bool,
    ) -> tuple[bool, Claim | None]:
        """See `WorkStore.finish`: one round trip, the next picture included."""
        number: int | str = self._number if then_claim else ""
        bell = b"" if then_claim else self._bell()
        args: list[str | int | bytes] = [worker, claim.spec.id, claim.token]
        args += [*_ending(outcome), number, bell, *_pauses(outcome)]
        asked = time.perf_counter()
        counted, row = self._ask(self._finish_sha, keys.FINISH, args)
        return bool(counted), self._taken(worker, row, asked) if then_claim else None

    def give_back(self, claim: Claim) -> bool:
        """See `WorkStore.give_back`."""
        with translated():
            return bool(self._give_back(args=[claim.spec.id, claim.token, self._bell()]))

    def _taken(self, worker: str, row: list[Any] | bytes | None, asked: float) -> Claim | None:
        while row == keys.AGAIN:
            row = self._ask(self._claim_sha, keys.CLAIM, [worker, self._number])
        # Counted on only now: a question whose answer never came is asked in the same words by the next call.
        self._number += 1
        return _claim(row, asked)

    def _ask(self, sha: str, script: str, args: list[str | int | bytes]) -> Any:
        with translated():
            try:
                return self._call("EVALSHA", sha, 0, *args)
            except NoScriptError:
                return self._call("EVAL", script, 0, *args)
            except RedisConnectionError:
                # It broke while nothing was asked, as often as not. Asked twice, these count once.
                return self._call("EVAL", script, 0, *args)

    def _call(self, *command: str | float | bytes) -> Any:
        self._line.send_command(*command)  # type: ignore[no-untyped-call]
        return self._line.read_response()

    def linger(self, seconds: float) -> bool:
        """See `WorkStore.linger`: takes the bell off the list itself, so Celery has nothing to acknowledge."""
        with translated():
            return self._call("BRPOP", keys.BELL, seconds) is not None

    def beat(self, report: WorkerReport, claim: Claim | None = None) -> bool:
        """See `WorkStore.beat`."""
        held = ("", "") if claim is None else (claim.spec.id, claim.token)
        with translated():
            return bool(self._beat(args=[report.id, dump_report(report), self._bell(), *held]))

    def reap_now(self) -> Reaped:
        """See `WorkStore.reap_now`."""
        with translated():
            return load_reaped(self._reap(args=[self._bell(), dump_failure(CRASHED)]))

    def retire(self, worker: str) -> None:
        """See `WorkStore.retire`."""
        with translated():
            self._retire(args=[worker])
        self._line.disconnect()  # type: ignore[no-untyped-call]
        self._client.close()


def _ending(outcome: Outcome) -> tuple[str, str, bytes, str]:
    if isinstance(outcome, Answer):
        return JobState.SUCCEEDED, "answer", dump_answer(outcome), ""
    failure = outcome if isinstance(outcome, Failure) else replace(outcome.failure, dead=True)
    return JobState.FAILED, "failure", dump_failure(failure), "1" if failure.dead else ""


def _pauses(outcome: Outcome) -> list[int]:
    repeats = outcome.repeats if isinstance(outcome, Setback) else 0
    return [repeats, *(pause_ms(setback) for setback in range(1, repeats + 1))]


def _claim(row: Any, asked: float) -> Claim | None:
    if row is None or row[0] is None:
        return None
    spec, token, attempt, created_us, picture = row
    return Claim(
        spec=load_spec(spec),
        token=token.decode(),
        attempt=int(attempt),
        image=picture,
        created_us=int(created_us),
        fetch_ms=round((time.perf_counter() - asked) * 1000, 3),
    )
