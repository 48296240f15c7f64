"""Gateways die, and callers who heard nothing say the same thing again."""

import asyncio
import time
from collections import Counter
from functools import partial
from http import HTTPStatus

import httpx2

from shared.adapters import keys
from tests.faults import calls
from tests.faults.lines import over_lines
from tests.faults.load import Picture, long_picture, only_small
from tests.faults.proxy import Way
from tests.faults.scenario import Report, Run, scenario
from tests.faults.stack import Stack
from tests.faults.trial import a_trial
from tests.faults.verdict import Verdict
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

_AT_ONCE = 50
_BOTH = 0.2
_COME_BACK_S = 20
_SETTLED_S = 20
"""Every submit that was cut off is accepted by then; with a job too many it never comes true."""


@scenario("F8", "a gateway is killed under load")
def a_gateway_is_killed(run: Run) -> Report:
    """No 202 without a job, and no job without an end."""
    dice = run.dice()
    kills = 2 if run.short else 24
    killed = 0
    with a_trial(run, rate=12, count=1_000_000) as trial:
        for _ in range(kills):
            time.sleep(dice.uniform(0.1, 0.9))
            both = dice.random() < _BOTH
            for victim in trial.stack.gateways if both else [dice.choice(trial.stack.gateways)]:
                killed += victim.kill()
            _wait_alive(trial.stack)
        trial.load.stop()
        verdict = trial.verdict()
    if killed < kills:
        verdict.problems.append(f"only {killed} gateways were killed")
    return verdict.report(kills=killed)


@scenario("F9", "a gateway is killed between storing and answering")
def a_gateway_is_killed_before_it_answered(run: Run) -> Report:
    """A caller that sends the same idempotency key again is given the job that was stored already."""
    rounds = 3 if run.short else 24
    caught = 0
    with over_lines(run, rate=20, pictures=only_small) as lines:
        stack, load = lines.trial.stack, lines.trial.load
        for _ in range(rounds):
            # Also so that Redis knows the script: whose first submit is cut off leaves a picture for a minute.
            try:
                until(lambda: 0 < load.accepted == _made(stack.redis), seconds=_SETTLED_S)
            except TimeoutError:
                break
            for line in lines.of_gateways:
                # New connections are spared: over one that is never greeted nothing could be stored.
                line.black_hole(Way.TO_CLIENT, newcomers=False)
            until(lambda: _made(stack.redis) > load.accepted, what="a job that nobody was told of")
            for gateway in stack.gateways:
                gateway.kill()
            caught += _made(stack.redis) - load.accepted
            for line in lines.of_gateways:
                line.heal()
            _wait_alive(stack)
        load.stop()
        verdict = lines.trial.verdict()
        made = _made(stack.redis)
    if caught < rounds / 2:
        verdict.problems.append(f"only {caught} jobs were stored and not answered for when their gateway was killed")
    if made != load.accepted:
        verdict.problems.append(f"{made} jobs were made for {load.accepted} idempotency keys")
    return verdict.report(kills=rounds * len(stack.gateways), caught=caught, made=made)


@scenario("F10", "50 identical submits at once")
def the_same_submit_many_times_at_once(run: Run) -> Report:
    """One idempotency key is one job and one execution, by whichever gateways it comes."""
    rounds = 4 if run.short else 40
    verdict = Verdict()
    with Stack(run.folder) as stack:
        for number in range(rounds):
            path = "/predict" if number % 2 else "/v1/jobs"
            key = f"{run.seed}-{number}"
            picture = long_picture() if number % 4 < 2 else None
            answers = asyncio.run(_at_once(stack.urls, path, key, picture))
            verdict.problems.extend(f"{path}: {problem}" for problem in _differences(answers, path))
            job_id = _job_of(answers[0])
            ended = calls.look(stack.urls[0], job_id, wait_s=20)
            if calls.said(ended) != "succeeded" or (ended is not None and ended.json()["attempt"] != 1):
                verdict.problems.append(f"{path}: the job is {calls.said(ended)}")
            other = asyncio.run(_at_once(stack.urls, path, key, long_picture(20), 2))
            if {calls.said(answer) for answer in other} != {"422 idempotency-key-reused"}:
                verdict.problems.append(f"{path}: another picture with the same key: {calls.said(other[0])}")
        made = _made(stack.redis)
        workers_said = sum(worker.said().count('"event": "job"') for worker in stack.workers)
    verdict.figures.update(rounds=rounds, submits=rounds * _AT_ONCE, made=made, executions=workers_said)
    verdict.limit("made", rounds)
    verdict.limit("executions", rounds)
    return verdict.report()


async def _at_once(
    urls: list[str], path: str, key: str, picture: Picture | None, times: int = _AT_ONCE
) -> list[httpx2.Response]:
    content = calls.body(picture)
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    async with httpx2.AsyncClient(timeout=60, limits=httpx2.Limits(max_connections=None)) as http:

        async def submit(url: str) -> httpx2.Response:
            # On a busy machine a gateway asks some of so many to come back; with the same key, nobody is counted twice.
            end = time.monotonic() + _COME_BACK_S
            while True:
                answer = await http.post(f"{url}{path}", content=content, headers=headers)
                if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > end:
                    return answer
                await asyncio.sleep(float(answer.headers["Retry-After"]))

        return await asyncio.gather(*(submit(urls[turn % len(urls)]) for turn in range(times)))


def _differences(answers: list[httpx2.Response], path: str) -> list[str]:
    wanted = 200 if path == "/predict" else 202
    problems = []
    statuses = Counter(answer.status_code for answer in answers)
    if set(statuses) != {wanted}:
        problems.append(f"answers {dict(statuses)}")
    ids = {_job_of(answer) for answer in answers}
    if len(ids) != 1:
        problems.append(f"{len(ids)} jobs of one key")
    fresh = sum(answer.headers.get("Idempotency-Replayed") != "true" for answer in answers)
    if fresh != 1:
        problems.append(f"{fresh} answers say that they are the first")
    return problems


def _job_of(answer: httpx2.Response) -> str:
    return answer.headers.get("Content-Location", answer.headers.get("Location", "")).rpartition("/")[2]


def _made(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.get(keys.NUMBER) or 0)


def _wait_alive(stack: Stack) -> None:
    for url in stack.urls:
        until(partial(calls.lives, url), seconds=30, what="the gateway to live again")
