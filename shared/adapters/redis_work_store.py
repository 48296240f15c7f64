"""The worker's view of the store, in Redis."""

import time
from collections.abc import Callable
from typing import Any

from redis import Redis

from shared.adapters import keys
from shared.adapters.connections import for_worker, translated
from shared.adapters.records import dump_answer, dump_failure, dump_report, load_spec
from shared.jobs import Answer, Claim, JobState, Outcome
from shared.store import WorkerReport


class RedisWorkStore:
    """`WorkStore` in Redis, for one worker."""

    def __init__(self, client: Redis, bell: Callable[[], bytes]) -> None:
        self._client = client
        self._bell = bell
        self._number = 1
        self._claim = client.register_script(keys.CLAIM)
        self._finish = client.register_script(keys.FINISH)
        self._beat = client.register_script(keys.BEAT)
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
        if isinstance(outcome, Answer):
            ending: tuple[str, str, bytes] = (JobState.SUCCEEDED, "answer", dump_answer(outcome))
        else:
            ending = (JobState.FAILED, "failure", dump_failure(outcome))
        number: int | str = self._number if then_claim else ""
        asked = time.perf_counter()
        with translated():
            counted, row = self._finish(
                args=[worker, claim.spec.id, claim.token, *ending, number, b"" if then_claim else self._bell()],
            )
        return bool(counted), self._taken(worker, row, asked) if then_claim else None

    def _taken(self, worker: str, row: list[Any] | bytes | None, asked: float) -> Claim | None:
        while row == keys.AGAIN:
            with translated():
                row = self._claim(args=[worker, self._number])
        # Counted on only now: a question whose answer never came is asked in the same words by the next call.
        self._number += 1
        return _claim(row, asked)

    def linger(self, seconds: float) -> bool:
        """See `WorkStore.linger`: takes the bell off the list itself, so Celery has nothing to acknowledge."""
        with translated():
            return self._client.brpop([keys.BELL], timeout=seconds) is not None

    def beat(self, report: WorkerReport) -> None:
        """See `WorkStore.beat`."""
        with translated():
            self._beat(args=[report.id, dump_report(report), self._bell()])

    def retire(self, worker: str) -> None:
        """See `WorkStore.retire`."""
        with translated():
            self._retire(args=[worker])
        self._client.close()


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
