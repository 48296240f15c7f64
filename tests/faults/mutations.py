"""One way each to break a promise of the product, and who must notice."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_KEYS: Final = "shared/adapters/keys.py"
_STORE: Final = "tests/contract/test_store.py"


class Promise(StrEnum):
    """What is broken; the value is how the harness's problems speak of it, as a regular expression."""

    LOST = r"accepted and not ended"
    TWICE = r"seen in two ends|ended more than once|more than one outcome"
    AGAIN = r"duplicates is|attempts_max is|executions is|was tried \d+ times"
    LATE = r"(recovery_\w+|taken_over_s|replaced_s|innocent_p95_s) is"
    OTHERWISE = r"ended as they may not|is succeeded and should be canceled"
    DOUBLED = r"\d+ jobs of one key|made is"
    LEFT = r"in Redis though all has ended"
    TOLD = r"test_\w+.* - (assert|AssertionError|TimeoutError|subprocess.TimeoutExpired|Failed)"
    """The test that judges says it in its name, and did not merely break."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """In the file `path`, `old` becomes `new`. It must stand there exactly once."""

    path: str
    old: str
    new: str

    def apply(self, text: str) -> str:
        """The text with the edit.

        Raises: Stale.
        """
        found = text.count(self.old)
        if found != 1:
            raise Stale(f"{self.path} has it {found} times: {self.old.strip()!r}")
        return text.replace(self.old, self.new)


class Stale(Exception):
    """The code has moved on: what is to be edited is not there, or more than once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A product that breaks `promises`.

    `judges`: names of scenarios, or of one test with its file.
    """

    name: str
    edits: tuple[Edit, ...]
    judges: tuple[str, ...]
    promises: tuple[Promise, ...] = (Promise.TOLD,)


def _one(path: str, old: str, new: str) -> tuple[Edit, ...]:
    return (Edit(path=path, old=old, new=new),)


MUTANTS: Final[Sequence[Mutant]] = (
    Mutant(
        name="nobody-reaps",
        edits=_one("shared/reaper.py", "_MOST_ROUNDS: Final = 1000\n", "_MOST_ROUNDS: Final = 0\n"),
        judges=("F1",),
        promises=(Promise.LOST,),
    ),
    Mutant(
        name="ended-leases-are-passed-over",
        edits=_one(_KEYS, "for _, id in ipairs(over('{LEASES}')) do", "for _, id in ipairs({{}}) do"),
        judges=("F31",),
        promises=(Promise.LOST,),
    ),
    Mutant(
        name="any-token-ends-a-job",
        edits=_one(_KEYS, "if h[2] == ARGV[3] then\n  if h[1] == 'running'", "if h[2] then\n  if h[1] == 'running'"),
        judges=("F31",),
        promises=(Promise.TWICE,),
    ),
    Mutant(
        name="beats-renew-no-lease",
        edits=_one(_KEYS, "if h[1] == 'running' and h[2] == ARGV[5] then", "if false then"),
        judges=("F31",),
        promises=(Promise.AGAIN,),
    ),
    Mutant(
        name="the-last-write-wins",
        edits=_one(_KEYS, "  if h[1] == 'running' then\n    local setbacks", "  if h[1] then\n    local setbacks"),
        judges=("F31",),
        promises=(Promise.TWICE,),
    ),
    Mutant(
        # The pause stands for the moment between two round trips, which a kill would seldom meet.
        name="a-job-is-stored-first-and-queued-later",
        edits=(
            Edit(
                path=_KEYS,
                old="ARGV[8], 0)\n  redis.call('PERSIST', picture)\n",
                new="ARGV[8], 0)\n  redis.call('ZREM', '{QUEUE}', id)\n  redis.call('PERSIST', picture)\n",
            ),
            Edit(
                path="shared/adapters/redis_store.py",
                old="        if answer == [keys.REUSED]:\n",
                new="        if len(answer) == 2 and isinstance(answer[0], bytes) and answer[0].isdigit():\n"
                "            import asyncio\n"
                "\n"
                "            await asyncio.sleep(0.4)\n"
                '            number = int(await self._client.hget(f"{keys.JOB}{spec.id}", "place"))\n'
                "            queue = f\"redis.call('ZADD', '{keys.QUEUE}', {number}, '{spec.id}')\"\n"
                '            await self._client.eval(f"{keys._RING}{queue}\\nring(ARGV[1])", 0, self._bell())\n'
                "        if answer == [keys.REUSED]:\n",
            ),
        ),
        judges=("F8",),
        promises=(Promise.LOST,),
    ),
    Mutant(
        name="neither-beat-nor-reaper-rings",
        edits=(
            Edit(path=_KEYS, old="ring(ARGV[3])\nreturn unheard\n", new="return unheard\n"),
            Edit(path=_KEYS, old="ring(ARGV[1])\nlocal more = 0\n", new="local more = 0\n"),
            Edit(path=_KEYS, old="{MOST_REAPED} or bells_wanted() > 0 then", new="{MOST_REAPED} then"),
        ),
        judges=("F32",),
        promises=(Promise.LOST,),
    ),
    Mutant(
        name="a-result-overwrites-a-cancel",
        edits=_one(
            _KEYS,
            "    if h[3] then\n      close(id, now, 'canceled')\n    else\n      if setbacks",
            "    if false then\n    else\n      if setbacks",
        ),
        judges=("F31",),
        promises=(Promise.OTHERWISE,),
    ),
    Mutant(
        name="pictures-outlive-retry-keep",
        edits=_one(_KEYS, "local keep_ms = math.min(tonumber(h[3] or 0), ttl_ms)", "local keep_ms = ttl_ms"),
        judges=("F31",),
        promises=(Promise.LEFT,),
    ),
    Mutant(
        name="idempotency-keys-are-forgotten",
        edits=_one(_KEYS, "if ARGV[10] ~= '' then redis.call('SET', once", "if false then redis.call('SET', once"),
        judges=("F10",),
        promises=(Promise.DOUBLED,),
    ),
    Mutant(
        name="decoders-are-cut-short-late",
        edits=_one(
            "worker/isolation.py",
            "line.exchange(self._number, image, self._limits.seconds)",
            "line.exchange(self._number, image, 10 * self._limits.seconds)",
        ),
        judges=("F7",),
        promises=(Promise.LATE,),
    ),
    Mutant(
        name="deaf-workers-stay",
        edits=_one("worker/watch.py", "            self._exits.replace()\n", ""),
        judges=("tests/integration/test_lost_workers.py::test_a_worker_whose_celery_hangs_replaces_itself",),
    ),
    Mutant(
        name="setbacks-have-no-limit",
        edits=_one(
            _KEYS,
            "if setbacks <= tonumber(ARGV[10]) and tonumber(h[5]) < tonumber(h[6] or {MAX_ATTEMPTS}) then\n",
            "if tonumber(ARGV[10]) > 0 then\n        setbacks = 1\n",
        ),
        judges=("F6",),
        promises=(Promise.LOST, Promise.AGAIN),
    ),
    Mutant(
        name="jobs-are-taken-back-without-limit",
        edits=_one(_KEYS, "  elseif tonumber(h[3]) < tonumber(h[4] or {MAX_ATTEMPTS}) then", "  elseif h[3] then"),
        judges=(f"{_STORE}::test_a_job_that_loses_worker_after_worker_fails_and_is_a_dead_letter",),
    ),
    Mutant(
        name="pauses-never-end",
        edits=_one(_KEYS, "for _, id in ipairs(over('{PAUSING}')) do", "for _, id in ipairs({{}}) do"),
        judges=(f"{_STORE}::test_a_setback_pauses_the_job_and_another_one_ends_it",),
    ),
    Mutant(
        name="nothing-expires-without-a-worker",
        edits=_one(_KEYS, "for _, id in ipairs(over('{DEADLINES}')) do", "for _, id in ipairs({{}}) do"),
        judges=(f"{_STORE}::test_a_job_past_its_queue_time_expires_without_any_worker",),
    ),
    Mutant(
        name="an-outage-is-blamed-on-the-workers",
        edits=_one(_KEYS, "if last > 0 and (since < 0 or since > {OUTAGE_MS} * 1000) then", "if false then"),
        judges=("tests/integration/test_redis_store.py::test_nobody_is_blamed_for_what_was_missed_in_an_outage",),
    ),
    Mutant(
        name="gateways-do-not-reap",
        edits=_one(
            "gateway/main.py", "async with waiters.running(), _reaping(store):", "async with waiters.running():"
        ),
        judges=(
            "tests/unit/test_gateway_retry.py::test_the_gateway_takes_back_what_lost_workers_held_and_who_waits_is_told_of_its_end",
        ),
    ),
    Mutant(
        name="workers-do-not-reap",
        edits=_one("worker/app.py", "        self._reaper.start()\n", ""),
        judges=("tests/integration/test_lost_workers.py::test_the_job_of_a_killed_process_is_done_by_the_next_one",),
    ),
    Mutant(
        name="a-claim-gives-again-what-was-taken-back",
        edits=_one(
            _KEYS,
            "    if h[1] ~= 'running' or h[2] ~= token then return false end\n",
            "    if not h[1] then return false end\n",
        ),
        judges=("tests/contract/test_claims.py::test_a_claim_asked_again_gives_nothing_once_the_job_was_taken_back",),
    ),
)
