"""Darkroom in real containers: it starts with one command, does its work, is shut tight and mends itself."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from darkroom import AsyncClient, Classification, Job
from tests.e2e.stacks import SERVERS, Stack, a_stack, combined, docker, inspect, tried_in
from tests.support.pictures import a_photograph, a_picture, encoded
from tests.support.programs import ROOT
from tests.support.ups import the_real_ones
from tests.support.waiting import eventually, until

WORKERS: Final = 4
PICTURES: Final = 400
MOST_GATEWAY_BYTES: Final = 120_000_000
"""What the gateway's image may add to its base."""


FOREIGN: Final = {
    "gateway": ("numpy", "PIL", "worker", "darkroom"),
    "worker": ("fastapi", "uvicorn", "gateway", "deploy"),
}
"""What an image must do without."""

Report: TypeAlias = Callable[[str], None]

# Building the images for the first time may be part of it.
pytestmark = pytest.mark.timeout(900)


def pictures() -> list[bytes]:
    """Pictures of every kind and of many sizes, no two alike."""
    kinds = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
    made = [
        encoded(a_photograph(seed, 60 + seed % 180) if seed % 2 else a_picture(20 + seed, 14, seed), kinds[seed % 6])
        for seed in range(PICTURES - 20)
    ]
    found = [path.read_bytes() for path in sorted((ROOT / "examples").glob("*.[jp][pn]g"))]
    return (made + found + [encoded(a_picture(31, 17, 1000 + seed)) for seed in range(20)])[:PICTURES]


def health(container: str) -> str:
    return str(inspect(container)["State"]["Health"]["Status"])


async def classified(client: AsyncClient, given: Sequence[bytes]) -> list[Classification]:
    """What each shows, all scores of it; several are on their way at a time."""
    few = asyncio.Semaphore(16)

    async def one(picture: bytes) -> Classification:
        async with few:
            return await client.classify(picture, confidence_threshold=0.0)

    return await asyncio.gather(*map(one, given))


async def jobs_done(client: AsyncClient) -> dict[str, int]:
    """How many jobs each container's worker has done; a container's host name is the beginning of its id."""
    return {worker.id.partition("-")[0]: worker.jobs_done for worker in (await client.status()).workers}


async def test_four_workers_share_the_pictures_and_answer_as_without_containers(
    stack: Stack, tmp_path: Path, report: Report
) -> None:
    given = pictures()
    workers = {container[:12] for container in stack.containers("worker")}

    async with stack.client() as client:
        before = await jobs_done(client)
        started = time.perf_counter()
        answers = await classified(client, given)
        took_s = time.perf_counter() - started

        async def all_told() -> dict[str, int] | None:
            now = await jobs_done(client)
            done = {worker: now.get(worker, 0) - before.get(worker, 0) for worker in workers}
            return done if sum(done.values()) >= PICTURES else None

        shares = await eventually(all_told, what="the workers' next signs of life")

    report(f"{PICTURES} pictures in {took_s:.1f} s ({PICTURES / took_s:.0f} a second), by worker {shares}")
    assert len(shares) == WORKERS
    assert min(shares.values()) > 0
    with the_real_ones(tmp_path / "native") as up:
        async with AsyncClient(up.url) as client:
            natively = await classified(client, given)
    assert [answer.predictions for answer in answers] == [answer.predictions for answer in natively]
    assert len({answer.predictions for answer in answers}) > PICTURES / 2


def test_the_images_carry_only_what_their_process_needs(stack: Stack, report: Report) -> None:
    base = inspect("python:3.11-slim")["Size"]
    sizes = {service: inspect(stack.image(service))["Size"] - base for service in ("gateway", "worker")}

    report(", ".join(f"{service} {size / 1e6:.0f} MB over its base" for service, size in sizes.items()))
    assert sizes["gateway"] <= MOST_GATEWAY_BYTES
    for service, modules in FOREIGN.items():
        container = stack.containers(service)[0]
        for module in modules:
            tried = tried_in(container, "python", "-c", f"import {module}")
            assert f"No module named '{module}'" in tried.stdout, tried.stdout


@pytest.mark.parametrize("service", ["gateway", "worker"])
def test_everything_that_a_process_imports_is_compiled_in_its_image(stack: Stack, service: str) -> None:
    program = f"""
import os, sys
import {service}.__main__
print([name for name, module in sys.modules.items()
    if getattr(module, "__cached__", None) and not os.path.exists(module.__cached__)])
"""

    tried = tried_in(stack.containers(service)[0], "python", "-c", program)

    assert tried.stdout == "[]\n"


@pytest.mark.parametrize("service", SERVERS)
def test_a_container_is_shut_tight(stack: Stack, service: str) -> None:
    for container in stack.containers(service):
        written = tried_in(container, "touch", "/x")
        told = tried_in(container, "sh", "-c", "cat /proc/[0-9]*/status").stdout

        assert tried_in(container, "id", "-u").stdout.strip() not in {"", "0"}
        assert "Read-only file system" in written.stdout
        assert set(re.findall(r"^Cap(?:Inh|Prm|Eff|Bnd|Amb):\s*(\w+)", told, re.MULTILINE)) == {16 * "0"}
        assert set(re.findall(r"^NoNewPrivs:\s*(\d)", told, re.MULTILINE)) == {"1"}
        assert set(re.findall(r"^Uid:\s*(\d+)", told, re.MULTILINE)).isdisjoint({"0"})


@pytest.mark.parametrize("service", SERVERS)
def test_nothing_can_be_started_from_tmp_and_it_has_bounds(stack: Stack, service: str) -> None:
    container = stack.containers(service)[0]

    mount = tried_in(container, "grep", " /tmp ", "/proc/mounts").stdout

    assert {"noexec", "nosuid", "nodev", "size=65536k"} <= set(mount.split()[3].split(","))


@pytest.mark.parametrize("service", ["redis", "worker"])
def test_redis_and_the_workers_live_in_a_closed_network(stack: Stack, service: str) -> None:
    for container in stack.containers(service):
        settings = inspect(container)["NetworkSettings"]

        assert [inspect(name)["Internal"] for name in settings["Networks"]] == [True]
        assert not any(settings["Ports"].values())


def test_a_worker_reaches_the_gateway_by_the_inner_network_and_not_by_the_outer_one(stack: Stack) -> None:
    networks = inspect(stack.containers("gateway")[0])["NetworkSettings"]["Networks"]
    knock = "import socket, sys; socket.create_connection((sys.argv[1], 8000), 2); print('open')"

    answers = {
        name.rpartition("_")[2]: tried_in(stack.containers("worker")[0], "python", "-c", knock, network["IPAddress"])
        for name, network in networks.items()
    }

    assert answers["inside"].stdout == "open\n"
    assert "TimeoutError" in answers["outside"].stdout or "OSError" in answers["outside"].stdout


def test_the_gateway_is_published_on_loopback_alone(stack: Stack) -> None:
    ports = inspect(stack.containers("gateway")[0])["NetworkSettings"]["Ports"]

    assert ports == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(stack.port)}]}


@pytest.mark.parametrize("service", SERVERS)
def test_a_container_sees_its_own_secrets_only_and_cannot_change_them(stack: Stack, service: str) -> None:
    wanted = {"redis": ["health", "users.acl"], "gateway": ["key", "redis-url"], "worker": ["redis-url"]}
    container = stack.containers(service)[0]

    seen = tried_in(container, "ls", "/secrets").stdout.split()

    assert seen == wanted[service]
    assert "Read-only file system" in tried_in(container, "touch", "/secrets/x").stdout


def test_redis_answers_nobody_without_a_password(stack: Stack) -> None:
    redis = stack.containers("redis")[0]

    for command in ("PING", "INFO", "FLUSHALL"):
        assert tried_in(redis, "redis-cli", command).stdout.startswith("NOAUTH")


@pytest.mark.parametrize("user", ["gateway", "worker"])
def test_a_stolen_password_does_not_command_redis(stack: Stack, user: str) -> None:
    url = tried_in(stack.containers(user)[0], "cat", "/secrets/redis-url").stdout.strip()
    address = url.replace("@redis:", "@127.0.0.1:")
    redis = stack.containers("redis")[0]

    def asked(*command: str) -> str:
        return tried_in(redis, "redis-cli", "--no-auth-warning", "-u", address, *command).stdout

    assert asked("PING") == "PONG\n"
    for command in (("FLUSHALL",), ("CONFIG", "GET", "*"), ("SHUTDOWN",), ("KEYS", "*"), ("ACL", "LIST")):
        assert asked(*command).startswith("NOPERM"), command


def test_the_key_opens_and_its_absence_does_not(stack: Stack) -> None:
    assert stack.get("/v1/status").status_code == 401
    assert stack.get("/v1/status", **{"X-API-Key": "dk_guess"}).status_code == 401
    assert stack.get("/v1/status", **{"X-API-Key": stack.key}).status_code == 200
    assert stack.get("/v1/status", Authorization=f"Bearer {stack.key}").status_code == 200
    assert stack.get("/health/live").status_code == 200
    assert stack.get("/health/ready").status_code == 200


def test_the_key_is_told_with_a_command_that_works(stack: Stack) -> None:
    told = stack.compose("logs", "--no-log-prefix", "init")

    *_, (key, url) = re.findall(r"curl -H 'X-API-Key: (\S+)' (http://\S+)/v1/status", told)

    assert (key, url) == (stack.key, stack.url)


def test_no_secret_stands_where_the_engine_shows_it(stack: Stack) -> None:
    hidden = [stack.key]
    for service in ("gateway", "worker"):
        url = tried_in(stack.containers(service)[0], "cat", "/secrets/redis-url").stdout
        hidden.append(url.split(":")[2].partition("@")[0])

    for service in SERVERS:
        for container in stack.containers(service):
            shown = str(inspect(container)) + docker("top", container) + docker("logs", container)
            assert not [secret for secret in hidden if secret in shown]


async def test_what_was_done_outlives_the_containers(stack: Stack, report: Report) -> None:
    async with stack.client() as client:
        job = await client.wait(await client.submit(encoded(a_photograph(7)), confidence_threshold=0.0))
        before = await client.result(job)
    key = stack.key
    started = time.perf_counter()

    stack.compose("down")
    stopped = time.perf_counter()
    stack.up(workers=WORKERS)

    report(f"down in {stopped - started:.1f} s, up again in {time.perf_counter() - stopped:.1f} s")
    assert stack.key == key
    async with stack.client() as client:
        assert (await client.result(job)).predictions == before.predictions


def test_up_once_more_changes_nothing(stack: Stack) -> None:
    def running() -> list[tuple[str, str]]:
        containers = [container for service in SERVERS for container in stack.containers(service)]
        return sorted((container, inspect(container)["State"]["StartedAt"]) for container in containers)

    before, key = running(), stack.key

    stack.up(workers=WORKERS)

    assert running() == before
    assert stack.key == key


def test_a_key_is_replaced_by_deleting_it(stack: Stack) -> None:
    old = stack.key

    stack.compose("run", "--rm", "init", "rm", "/srv/secrets/gateway/key")
    stack.up(workers=WORKERS)
    stack.compose("restart", "gateway")

    new = stack.key
    until(lambda: health(stack.containers("gateway")[0]) == "healthy", seconds=60, what="the gateway's health check")
    assert new != old
    assert stack.get("/v1/status", **{"X-API-Key": old}).status_code == 401
    assert stack.get("/v1/status", **{"X-API-Key": new}).status_code == 200


async def test_a_killed_worker_comes_back_by_itself_and_nobody_is_refused(stack: Stack, report: Report) -> None:
    victim = stack.containers("worker")[0]
    restarts = inspect(victim)["RestartCount"]
    picture = encoded(a_picture())
    submitted: list[Job] = []

    async with stack.client() as client:
        before = {worker.id for worker in (await client.status()).workers}
        # The engine's own init is process 1; below it is the worker.
        tried_in(victim, "sh", "-c", "kill -KILL $(cat /proc/1/task/1/children)")
        killed = time.perf_counter()

        async def serves_again() -> bool:
            submitted.append(await client.submit(picture))
            fresh = [worker for worker in (await client.status()).workers if worker.id not in before]
            return any(worker.id.startswith(victim[:12]) and worker.jobs_done for worker in fresh)

        await eventually(serves_again, seconds=60, what="the container to come back and work")
        took_s = time.perf_counter() - killed
        ended = [await ended_of(client, job) for job in submitted]

    unfinished = [job.status for job in ended if job.status != "succeeded"]
    report(f"back at work {took_s:.1f} s after it was killed; of {len(ended)} jobs {len(unfinished)} unfinished")
    assert inspect(victim)["RestartCount"] == restarts + 1
    # Among them the one that was in the hands of the killed worker.
    assert unfinished == []
    until(lambda: health(victim) == "healthy", seconds=60, what="its health check")


async def ended_of(client: AsyncClient, job: Job) -> Job:
    """The job when it has ended, or as it stands when that takes too long."""

    async def done() -> Job | None:
        now = await client.job(job.id)
        return now if now.done else None

    try:
        return await eventually(done, seconds=40)
    except TimeoutError:
        return await client.job(job.id)


def test_a_change_of_code_installs_nothing_again(stack: Stack, tmp_path: Path, report: Report) -> None:
    with a_stack(tmp_path / "changed") as changed:
        for module in ("gateway/config.py", "worker/config.py"):
            with (changed.folder / module).open("a") as file:
                # Another text than ever before: the builder forgets nothing.
                file.write(f"\n# {changed.project}\n")

        started = time.perf_counter()
        said = changed.build()

    report(f"rebuilt after a change of code in {time.perf_counter() - started:.1f} s")
    cached = set(re.findall(r"^(#\d+) CACHED$", said, re.MULTILINE))
    steps = re.findall(r"^(#\d+) \[[^]]* \d+/\d+\] (.*)$", said, re.MULTILINE)
    carried_out = {step for number, step in steps if number not in cached}
    assert sum("pip install" in step for _, step in steps) >= 2
    assert not [step for step in carried_out if "pip install" in step]
    assert {"COPY gateway gateway", "COPY worker worker"} <= carried_out


def test_a_clone_without_settings_gives_no_warning(stack: Stack) -> None:
    bare = {name: value for name, value in stack.environ.items() if not name.startswith(("COMPOSE_", "DARKROOM_"))}

    said = combined("docker", "compose", "config", "--quiet", cwd=stack.folder, env=bare)

    assert said == ""
