import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from gateway import __main__ as program
from gateway.config import GatewaySettings
from shared.adapters.connections import ServerTooOld
from tests.support.programs import ROOT, Gateway, environment, running
from tests.support.redis_server import RedisServer, free_port
from tests.support.waiting import eventually, until

NOBODY = "redis://127.0.0.1:1/0"


def ended(arguments: Sequence[str], env: dict[str, str], inherited: Sequence[int] = ()) -> tuple[int, str]:
    """Exit code and standard error of a gateway that does not stay."""
    command = [sys.executable, "-m", "gateway", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=env, pass_fds=inherited, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr


def refused(redis_url: str = NOBODY, *arguments: str, **variables: str) -> tuple[int, str]:
    """The same of one that should not start."""
    return ended(arguments, environment(redis_url, **variables))


def refused_socket(inherited: socket.socket) -> tuple[int, str]:
    """The same of one that should not serve on a socket."""
    number = inherited.fileno()
    return ended(["--fd", str(number)], environment(NOBODY), [number])


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"DARKROOM_GATEWAY_PROT": "1"}, "DARKROOM_GATEWAY_PROT"),
        ({"DARKROOM_GATEWAY_PORT": "many"}, "DARKROOM_GATEWAY_PORT"),
        ({"DARKROOM_GATEWAY_HOST": "0.0.0.0"}, "loopback"),
        ({"DARKROOM_REDIS_URL": "http://user:s3cr3t@example.org"}, "DARKROOM_REDIS_URL"),
        ({"DARKROOM_GATEWAY_API_KEY": "s3cr3t"}, "DARKROOM_GATEWAY_API_KEY"),
        ({"X_API_KEY": "s3cr3t of two words"}, "X_API_KEY"),
        ({"X_API_KEY": "", "DARKROOM_GATEWAY_HOST": "0.0.0.0"}, "X_API_KEY"),
        ({"X_API_KEY_FILE": "/nowhere"}, "X_API_KEY_FILE"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence_and_exit_2(variables: dict[str, str], named: str) -> None:
    code, said = refused(**variables)

    assert code == 2
    assert said.count("\n") == 1
    assert named in said
    assert "s3cr3t" not in said


def test_with_a_key_it_listens_beyond_loopback(tmp_path: Path) -> None:
    port = free_port()
    key = {"X_API_KEY": "dk_of-this-test"}
    variables = {"DARKROOM_GATEWAY_HOST": "0.0.0.0", "DARKROOM_GATEWAY_PORT": str(port), **key}
    with (tmp_path / "log").open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway"], cwd=ROOT, env=environment(NOBODY, **variables), stderr=sink
        )
        try:
            # All of 127/8 is this machine: an address that a listener on 127.0.0.1 alone does not answer.
            with httpx2.Client(base_url=f"http://127.0.0.2:{port}") as client:
                until(lambda: answers(client), seconds=30, what="the gateway to answer")
                refused = client.get("/v1/jobs")
                taken = client.get("/nothing", headers={"X-API-Key": key["X_API_KEY"]})
        finally:
            process.kill()
            process.wait()

    assert (refused.status_code, taken.status_code) == (401, 404)
    assert key["X_API_KEY"] not in (tmp_path / "log").read_text(encoding="utf-8")


def test_a_taken_port_is_one_sentence_and_exit_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = refused(DARKROOM_GATEWAY_PORT=str(taken.getsockname()[1]))

    assert code == 2
    assert said.count("\n") == 1
    assert "Cannot listen" in said


def test_a_descriptor_that_is_no_socket_is_one_sentence_and_exit_2() -> None:
    code, said = refused(NOBODY, "--fd", "99")

    assert (code, said.count("\n")) == (2, 1)


def test_a_descriptor_of_a_socket_that_does_not_listen_is_one_sentence_and_exit_2() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        code, said = refused_socket(datagrams)

    assert (code, said.count("\n")) == (2, 1)
    assert "does not listen" in said
    assert refused(NOBODY, "--fd", "-1")[0] == 2


def test_an_inherited_socket_that_strangers_reach_is_refused() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        code, said = refused_socket(listener)

    assert code == 2
    assert "loopback" in said


@pytest.mark.parametrize("inherited", [False, True])
def test_it_starts_without_redis_says_so_and_leaves_when_told(tmp_path: Path, inherited: bool) -> None:
    port = free_port()
    log = tmp_path / "log"
    with socket.socket() as listener, log.open("wb") as sink:
        arguments, env = [], environment(NOBODY, DARKROOM_GATEWAY_PORT=str(port))
        if inherited:
            listener.bind(("127.0.0.1", port))
            listener.listen()
            arguments = ["--fd", str(listener.fileno())]
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", *arguments],
            cwd=ROOT,
            env=env,
            pass_fds=[listener.fileno()],
            stderr=sink,
        )
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
                until(lambda: answers(client), seconds=30, what="the gateway to answer")
                alive, ready = client.get("/health/live"), client.get("/health/ready")
                title = Path(f"/proc/{process.pid}/cmdline").read_bytes()
                limits = Path(f"/proc/{process.pid}/limits").read_text(encoding="ascii")
            process.send_signal(signal.SIGTERM)
            code = process.wait(20)
        finally:
            process.kill()
            process.wait()

    assert code == 0
    assert alive.status_code == 200
    assert "server" not in alive.headers
    assert (ready.status_code, ready.json()["code"]) == (503, "broker-unavailable")
    assert title.startswith(b"darkroom gateway")
    (files,) = [line.split()[3:5] for line in limits.splitlines() if line.startswith("Max open files")]
    assert int(files[0]) >= min(int(files[1]), 65_536)
    assert '"event": "request"' in log.read_text(encoding="utf-8")


def test_told_to_stop_it_lets_those_who_wait_go_with_their_job(
    tmp_path: Path,
    empty_redis: RedisServer,
) -> None:
    port = free_port()
    with (tmp_path / "log").open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway"],
            cwd=ROOT,
            env=environment(empty_redis.url, DARKROOM_GATEWAY_PORT=str(port)),
            stderr=sink,
        )
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                until(lambda: answers(client), seconds=30, what="the gateway to answer")
                with socket.create_connection(("127.0.0.1", port)) as waiting:
                    waiting.sendall(a_raw_request())
                    until(lambda: client.get("/v1/status").json()["waiters"] == 1, what="a waiter")
                    process.send_signal(signal.SIGTERM)
                    head = waiting.recv(12)
            code = process.wait(20)
        finally:
            process.kill()
            process.wait()

    assert head == b"HTTP/1.1 202"
    assert code == 0


def test_while_nobody_asks_it_hardly_wakes(tmp_path: Path, empty_redis: RedisServer) -> None:
    with running(Gateway(empty_redis.url, tmp_path / "log")) as gateway:
        before, start = wakes(gateway.pid), time.monotonic()

        until(lambda: time.monotonic() - start > 3)
        rate = (wakes(gateway.pid) - before) / (time.monotonic() - start)

    # Uvicorn alone would wake ten times a second.
    assert rate < 8


async def test_it_hears_at_once_that_it_is_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_TICK_S", 3600)
    server = program.Server(uvicorn.Config(FastAPI()), FastAPI())
    serving = asyncio.create_task(server.main_loop())
    await eventually(lambda: asyncio.sleep(0, server.server_state.default_headers), what="the first tick")

    server.handle_exit(signal.SIGTERM, None)

    await asyncio.wait_for(serving, 10)


async def test_told_to_stop_before_it_serves_it_does_not_begin() -> None:
    server = program.Server(uvicorn.Config(FastAPI()), FastAPI())

    server.handle_exit(signal.SIGTERM, None)

    await asyncio.wait_for(server.main_loop(), 10)


async def test_the_time_in_answers_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_TICK_S", 0.01)
    server = program.Server(uvicorn.Config(FastAPI()), FastAPI())
    serving = asyncio.create_task(server.main_loop())
    await eventually(lambda: asyncio.sleep(0, server.server_state.default_headers), what="the first tick")
    server.server_state.default_headers = []

    await eventually(lambda: asyncio.sleep(0, server.server_state.default_headers), what="another tick")

    server.handle_exit(signal.SIGTERM, None)
    await asyncio.wait_for(serving, 10)


def wakes(pid: int) -> int:
    """How often it has gone to sleep by itself."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("voluntary")]
    return int(line.split()[1])


def a_raw_request() -> bytes:
    body = b"\x89PNG\r\n\x1a\n"
    head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/health/live").status_code == 200
    except httpx2.TransportError:
        return False


def test_an_old_redis_is_one_sentence_and_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: str) -> None:
        raise ServerTooOld("The Redis at hand is 5.0.1; Darkroom needs 6.2 or newer.")

    monkeypatch.setattr(program, "refuse_old_server", refuse)
    monkeypatch.setenv("DARKROOM_GATEWAY_PORT", "0")

    with pytest.raises(SystemExit) as left:
        program.main([])

    assert left.value.code == 2
    assert capsys.readouterr().err == "darkroom gateway: The Redis at hand is 5.0.1; Darkroom needs 6.2 or newer.\n"


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in GatewaySettings.model_fields.values())
