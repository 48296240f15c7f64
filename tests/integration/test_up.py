"""`darkroom up` as a program: what it starts, what it survives, and what it leaves behind, which is nothing."""

import json
import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from darkroom import Client, DarkroomError
from darkroom.cores import cores
from darkroom.embedded import find_server
from tests.support.old_redis import old_redis
from tests.support.pictures import a_picture, encoded
from tests.support.redis_server import RedisServer, free_port
from tests.support.ups import STAY, Up, ended, is_alive, stand_ins, the_real_ones, title_of
from tests.support.waiting import until


def another(find: Callable[[], list[int]], than: int) -> Callable[[], bool]:
    """Whether there is one now, and it is not that one."""
    return lambda: bool(find()) and than not in find()


def speak(up: Up) -> redis.Redis:
    """A client of the private Redis."""
    return redis.Redis(unix_socket_path=str(up.data / "redis.sock"))


def telling(place: Path) -> str:
    """A worker that writes its environment there, and stays."""
    return f"import json, os, pathlib\npathlib.Path({str(place)!r}).write_text(json.dumps(dict(os.environ)))\n{STAY}"


def test_it_says_one_line_when_it_is_ready_and_ends_with_0(tmp_path: Path) -> None:
    with stand_ins(tmp_path, gateways=2, workers=3) as up:
        url = up.url
        below = up.descendants()
        count = len(below)

        status = up.stop()

    assert url.startswith("http://127.0.0.1:")
    assert count == 1 + 2 + 3
    assert status == 0
    assert up.out.read_text() == f"ready {url}\n"
    assert f"data in {up.data}" in up.err.read_text()
    assert not [pid for pid in below if is_alive(pid)]


def test_sigterm_stops_it_in_good_order_too(tmp_path: Path) -> None:
    with stand_ins(tmp_path) as up:
        assert up.url

        assert up.stop(signal.SIGTERM) == 0


def test_a_stop_before_it_is_ready_is_in_good_order(tmp_path: Path) -> None:
    gateway = tmp_path / "ends_at_once.py"
    gateway.write_text("raise SystemExit(1)")

    with stand_ins(tmp_path, gateway=str(gateway)) as up:
        until(lambda: "starts again" in up.err.read_text(), seconds=30)

        status = up.stop()

    assert status == 0
    assert up.out.read_text() == ""


def test_killed_outright_it_leaves_no_orphan(tmp_path: Path) -> None:
    with stand_ins(tmp_path, gateways=2, workers=2) as up:
        assert up.url
        below = up.descendants()

        up.stop(signal.SIGKILL)

    assert len(below) == 5
    until(lambda: not any(map(is_alive, below)), what="all of them to end")


def test_a_second_ctrl_c_does_not_wait_for_a_worker_that_will_not_end(tmp_path: Path) -> None:
    sign = tmp_path / "asked"
    worker = (
        "import pathlib, signal\n"
        f"signal.signal(signal.SIGTERM, lambda *_: pathlib.Path({str(sign)!r}).touch())\n"
        f"pathlib.Path({str(tmp_path / 'set')!r}).touch()\n"
        "while True: signal.pause()\n"
    )
    with stand_ins(tmp_path, worker=worker) as up:
        assert up.url
        until((tmp_path / "set").exists)
        below = up.descendants()
        up.process.send_signal(signal.SIGINT)
        until(sign.exists, what="the worker to be asked")

        status = up.stop()

    assert status == 130
    assert not [pid for pid in below if is_alive(pid)]


def test_whatever_dies_starts_again(tmp_path: Path) -> None:
    with stand_ins(tmp_path) as up:
        assert up.url
        for words in (("stand_in_gateway",), ("signal.pause",), ("redis.sock",)):
            (first,) = up.descendants(*words)

            os.kill(first, signal.SIGKILL)

            until(another(lambda words=words: up.descendants(*words), first), what=f"another {words}")  # type: ignore[misc]
        said = up.err.read_text()
        assert up.stop() == 0

    for name in ("gateway 1", "worker 1", "redis"):
        assert re.search(rf"{name} was ended by SIGKILL; it starts again (in 1 s|at once)\n", said)


def test_a_gateways_restart_refuses_no_connection(tmp_path: Path) -> None:
    with stand_ins(tmp_path) as up:
        url = up.url
        (first,) = up.descendants("stand_in_gateway")
        os.kill(first, signal.SIGKILL)

        answer = httpx2.get(f"{url}/", timeout=30)

    assert int(answer.text) != first


def test_beside_a_frozen_gateway_every_newcomer_is_answered(tmp_path: Path) -> None:
    with stand_ins(tmp_path, gateways=2) as up:
        url = up.url
        until(lambda: len(up.descendants("stand_in_gateway")) == 2)
        frozen, awake = up.descendants("stand_in_gateway")
        os.kill(frozen, signal.SIGSTOP)
        try:
            answers = [int(httpx2.get(f"{url}/", timeout=20).text) for _ in range(20)]
        finally:
            os.kill(frozen, signal.SIGCONT)

    assert answers == [awake] * 20


def test_unless_told_otherwise_there_is_a_worker_for_each_core(tmp_path: Path) -> None:
    with stand_ins(tmp_path, workers=None) as up:
        assert up.url

        assert len(up.descendants("signal.pause")) == cores()


def test_a_worker_that_keeps_dying_is_left_alone_longer_and_longer(tmp_path: Path) -> None:
    with stand_ins(tmp_path, worker="raise SystemExit(1)") as up:
        until(lambda: "starts again in 4 s" in up.err.read_text(), seconds=30)
        up.stop()

    pauses = [line.split()[-2] for line in up.err.read_text().splitlines() if "worker 1 ended with status 1" in line]
    assert pauses[:3] == ["1", "2", "4"]


def test_a_part_that_refuses_its_settings_ends_it_with_2(tmp_path: Path) -> None:
    refuse = "import sys; sys.stderr.write('No such setting.\\n'); sys.exit(2)"

    with stand_ins(tmp_path, worker=refuse) as up:
        status = up.process.wait(60)

    assert status == 2
    said = up.err.read_text()
    assert said.index("No such setting.") < said.index("worker 1 cannot run with these settings")


def test_a_taken_port_is_one_sentence_and_exit_2(tmp_path: Path) -> None:
    data = tmp_path / "data"

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with ended(Up(tmp_path, "-m", "darkroom", "up", "--port", port, "--data", str(data))) as up:
            status = up.process.wait(60)

    assert status == 2
    assert up.err.read_text() == (
        f"darkroom up: port {port} cannot be used (Address already in use); "
        "choose another with --port or DARKROOM_PORT\n"
    )
    assert not data.exists()


def test_two_do_not_share_their_data(tmp_path: Path) -> None:
    with stand_ins(tmp_path / "first") as first:
        assert first.url

        with stand_ins(tmp_path / "second", data=first.data) as second:
            status = second.process.wait(60)

        assert first.stop() == 0
    assert status == 2
    assert second.err.read_text().count("\n") == 1
    assert f"{first.data} is in use by another" in second.err.read_text()


def test_the_private_redis_keeps_its_data_across_runs_and_kills(tmp_path: Path) -> None:
    ways = (signal.SIGINT, signal.SIGKILL, signal.SIGTERM)
    for number, way in enumerate(ways):
        with stand_ins(tmp_path) as up:
            assert up.url
            with speak(up) as client:
                kept = client.dbsize()
                client.set(f"key {number}", "value")
            below = up.descendants()
            up.stop(way)
            until(lambda below=below: not any(map(is_alive, below)))  # type: ignore[misc]

        assert kept == number


def test_the_private_redis_is_safe_and_reachable_by_its_owner_only(tmp_path: Path) -> None:
    with stand_ins(tmp_path / 'a "quoted" folder') as up:
        assert up.url
        with speak(up) as client:
            settings = client.config_get("*")
        modes = [oct((up.data / name).stat().st_mode & 0o777) for name in ("", "redis.sock", "lock")]

    assert (settings["appendonly"], settings["appendfsync"], settings["save"]) == ("yes", "everysec", "")
    assert (settings["maxmemory-policy"], settings["port"], settings["dir"]) == ("noeviction", "0", str(up.data))
    assert modes == ["0o700", "0o700", "0o600"]


def test_a_deep_folder_gets_its_socket_elsewhere_and_takes_it_away(tmp_path: Path) -> None:
    data = tmp_path.joinpath(*["deep" * 5] * 5)
    told = tmp_path / "url"
    worker = f"import os, pathlib; pathlib.Path({str(told)!r}).write_text(os.environ['DARKROOM_REDIS_URL']); {STAY}"

    with stand_ins(tmp_path, worker=worker, data=data) as up:
        assert up.url
        until(lambda: told.exists() and told.read_text())
        place = Path(told.read_text().removeprefix("unix://"))
        mode = oct(place.parent.stat().st_mode & 0o777)
        assert place.is_socket()
        up.stop()

    assert mode == "0o700"
    assert (data / "appendonlydir").is_dir()
    assert not place.parent.exists()


def test_with_a_redis_given_none_is_started_and_nothing_written(tmp_path: Path) -> None:
    told = tmp_path / "url"
    worker = (
        "import os, pathlib\n"
        f"pathlib.Path({str(told)!r}).write_text(' '.join(os.environ[name] for name in "
        "('DARKROOM_REDIS_URL', 'DARKROOM_WORKER_PROCESSES')))\n"
        f"{STAY}"
    )
    given = f"redis://127.0.0.1:{free_port()}/0"

    with stand_ins(tmp_path, worker=worker, DARKROOM_REDIS_URL=given) as up:
        assert up.url
        until(lambda: told.exists() and told.read_text())
        below = len(up.descendants())
        up.stop()

    assert told.read_text() == f"{given} 1"
    assert below == 2
    assert not up.data.exists()


def test_a_redis_given_in_a_file_is_given_as_it_is(tmp_path: Path) -> None:
    told = tmp_path / "told"
    file = tmp_path / "redis-url"
    file.write_text(f"redis://127.0.0.1:{free_port()}/0")

    with stand_ins(tmp_path, worker=telling(told), DARKROOM_REDIS_URL_FILE=str(file)) as up:
        assert up.url
        until(lambda: told.exists() and told.read_text())
        below = len(up.descendants())
        up.stop()

    heard = json.loads(told.read_text())
    assert heard["DARKROOM_REDIS_URL_FILE"] == str(file)
    assert "DARKROOM_REDIS_URL" not in heard
    assert below == 2
    assert not up.data.exists()


def test_the_real_parts_take_a_redis_given_in_a_file(tmp_path: Path) -> None:
    server = RedisServer(tmp_path).start()
    file = tmp_path / "redis-url"
    file.write_text(server.url)

    with (
        the_real_ones(tmp_path / "up", "--workers", "1", DARKROOM_REDIS_URL_FILE=str(file)) as up,
        Client(up.url) as client,
    ):
        found = client.classify(encoded(a_picture()))
        status = up.stop()
    server.stop()

    assert (found.model, status) == ("mock@1", 0)
    assert not up.data.exists()


@pytest.mark.parametrize("name", ["X_API_KEY", "X_API_KEY_FILE"])
def test_the_callers_key_is_for_gateways_only(tmp_path: Path, name: str) -> None:
    by_worker, by_redis = tmp_path / "by-worker", tmp_path / "by-redis"
    server = tmp_path / "bin" / "valkey-server"
    server.parent.mkdir()
    # A server that sets its title overwrites what /proc tells of its environment.
    server.write_text(f'#!/bin/sh\n[ "$1" = - ] && env > {by_redis}\nexec {find_server()} "$@"\n')
    server.chmod(0o755)
    given: dict[str, Any] = {name: "for-gateways-only", "PATH": f"{server.parent}:{os.environ['PATH']}"}

    with stand_ins(tmp_path, worker=telling(by_worker), **given) as up:
        assert up.url
        until(lambda: by_worker.exists() and by_worker.read_text())
        (gateway,) = up.descendants("stand_in_gateway")
        known = Path(f"/proc/{gateway}/environ").read_bytes()
        up.stop()

    assert f"{name}=for-gateways-only".encode() in known.split(b"\0")
    assert name not in json.loads(by_worker.read_text())
    assert f"PATH={server.parent}" in by_redis.read_text()
    assert "for-gateways-only" not in by_redis.read_text()


def test_a_redis_given_that_is_too_old_is_one_sentence_and_an_end_with_2(tmp_path: Path) -> None:
    with old_redis() as url, the_real_ones(tmp_path, DARKROOM_REDIS_URL=url) as up:
        status = up.process.wait(60)

    assert status == 2
    assert up.err.read_text() == "darkroom up: The Redis at hand is 6.0.16; Darkroom needs 6.2 or newer.\n"
    assert up.out.read_text() == ""


def test_a_redis_given_that_may_lose_jobs_is_told_once(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--appendonly", "no").start()
    with the_real_ones(tmp_path / "up", DARKROOM_REDIS_URL=server.url) as up:
        until(lambda: "not ready yet: " in up.err.read_text(), seconds=60, what="the reason")
        said = up.err.read_text()
        status = up.stop()
    server.stop()

    assert said.count("darkroom up: not ready yet: Redis keeps no append-only file") == 1
    assert (status, up.out.read_text()) == (0, "")


def test_data_that_the_private_redis_cannot_read_is_an_end_with_2(tmp_path: Path) -> None:
    broken = tmp_path / "data" / "appendonlydir"
    broken.mkdir(parents=True)
    (broken / "appendonly.aof.manifest").write_text("nonsense\n")

    with stand_ins(tmp_path) as up:
        status = up.process.wait(60)

    assert status == 2
    assert "the private Redis cannot start on its data" in up.err.read_text()


def test_no_url_and_no_folder_of_secrets_stands_on_a_command_line(tmp_path: Path) -> None:
    with stand_ins(tmp_path) as up:
        assert up.url

        lines = [title_of(pid) for pid in up.descendants()]

    assert not [line for line in lines if "unix://" in line or "redis://" in line]


def test_the_real_parts_classify_survive_kills_and_leave_nothing(tmp_path: Path) -> None:
    picture = encoded(a_picture())
    with the_real_ones(tmp_path, "--workers", "2") as up:
        with Client(up.url) as client:
            before = client.classify(picture, confidence_threshold=0)
            for words in (("darkroom gateway",), ("redis.sock",), ("darkroom worker",)):
                victim = up.descendants(*words)[0]
                os.kill(victim, signal.SIGKILL)
                until(another(lambda words=words: up.descendants(*words), victim), seconds=30)  # type: ignore[misc]
            until(lambda: ready(client), seconds=30, what="it to be ready again")
            after = client.classify(picture, confidence_threshold=0)
            kept = client.job(before.job_id or "")
        below = up.descendants()

        up.stop(signal.SIGKILL)

    assert before.predictions == after.predictions
    assert kept.status == "succeeded"
    until(lambda: not any(map(is_alive, below)), what="all of them to end")


def test_the_real_parts_stop_in_good_order(tmp_path: Path) -> None:
    with the_real_ones(tmp_path, "--workers", "1", "--gateways", "2") as up:
        with Client(up.url) as client:
            job = client.submit(encoded(a_picture()))
        below = up.descendants()

        status = up.stop()

    with stand_ins(tmp_path) as again:
        assert again.url
        with speak(again) as redis_client:
            kept = [key for key in redis_client.scan_iter() if job.id.encode() in key]

    assert status == 0
    assert kept
    assert not [pid for pid in below if is_alive(pid)]


def test_a_setting_that_does_not_exist_ends_the_real_parts_with_2(tmp_path: Path) -> None:
    with ended(
        Up(
            tmp_path,
            *("-m", "darkroom", "up", "--port", "0", "--data", str(tmp_path / "data")),
            DARKROOM_WORKER_PROCESES="3",
        )
    ) as up:
        status = up.process.wait(60)

    assert status == 2
    assert "DARKROOM_WORKER_PROCESES" in up.err.read_text()


def ready(client: Client) -> bool:
    try:
        return client.ready()
    except DarkroomError:
        return False
