"""No worker at all, or one of several that always crashes."""

import time
from collections import Counter
from typing import Any, Final

import httpx2

from tests.faults import calls
from tests.faults.scenario import Report, Run, scenario
from tests.faults.stack import Stack
from tests.faults.verdict import Verdict
from tests.support.waiting import until

_EXPIRED_S: Final = 10.0
_UNREADY_S: Final = 15.0
_TTL_S: Final = 5


@scenario("F30", "all workers dead, and one that always dies")
def workers_absent(run: Run) -> Report:
    """Deadlines hold, health says what is missing, jobs wait; one worker that lives is enough to be ready."""
    verdict = Verdict()
    with Stack(run.folder, workers=2) as stack:
        url = stack.urls[0]
        verdict.figures["unready_while_one_lives"] = _with_one_that_dies(stack, 4 if run.short else 20)
        for worker in stack.workers:
            worker.supervised = False
            worker.kill()
        died = time.monotonic()
        hasty, patient = calls.submit(url, queue_ttl_s=_TTL_S), calls.submit(url)
        asked = time.monotonic()
        until(lambda: calls.status_of(url, hasty) == "expired", seconds=30, what="a job to expire without workers")
        verdict.figures["expired_after_s"] = round(time.monotonic() - asked, 2)
        problem = until(lambda: _unready(url), seconds=40, what="the gateway to be unready")
        verdict.figures["unready_after_s"] = round(time.monotonic() - died, 2)
        if problem.get("code") != "no-workers":
            verdict.problems.append(f"it is unready for another reason: {problem}")
        reason = _job(url, calls.submit(url))["queue"]["waiting_reason"]
        if reason != "no_workers":
            verdict.problems.append(f"a job that comes now is told to wait for {reason}")
        for worker in stack.workers:
            worker.supervised = True
        start = time.monotonic()
        until(lambda: calls.status_of(url, patient) == "succeeded", seconds=40, what="the waiting job to be done")
        verdict.figures["done_after_return_s"] = round(time.monotonic() - start, 2)
        if calls.status_of(url, hasty) != "expired":
            verdict.problems.append("an expired job moved again")
    verdict.limit("unready_while_one_lives", 0)
    verdict.limit("expired_after_s", _EXPIRED_S)
    verdict.limit("unready_after_s", _UNREADY_S)
    return verdict.report()


def _with_one_that_dies(stack: Stack, seconds: float) -> int:
    """Kill one worker as soon as it is there, for so long: how often a gateway was unready meanwhile."""
    answers: Counter[int] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if stack.workers[0].child() is not None:
            stack.workers[0].kill()
        answers.update(httpx2.get(f"{url}/health/ready", timeout=5).status_code for url in stack.urls)
    return answers.total() - answers[200]


def _unready(url: str) -> dict[str, Any] | None:
    answer = httpx2.get(f"{url}/health/ready", timeout=5)
    return dict(answer.json()) if answer.status_code == 503 else None


def _job(url: str, job_id: str) -> dict[str, Any]:
    answer = calls.look(url, job_id)
    assert answer is not None
    return dict(answer.json())
