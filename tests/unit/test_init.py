"""The secrets that containers start with: made once, kept, completed, and understood by a real Redis."""

import errno
import fcntl
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from deploy.init import REDIS, Prepared, Unusable, main, prepare
from shared.settings import SharedSettings
from tests.support.programs import ROOT
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

FILES = ("gateway/key", "gateway/redis-url", "redis/health", "redis/users.acl", "worker/redis-url")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The volumes' mount points, empty."""
    for service in ("gateway", "redis", "worker"):
        (tmp_path / service).mkdir()
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def as_secret(folder: Path, name: str) -> str:
    return (folder / name).read_text().strip()


@contextmanager
def a_redis(folder: Path, data: Path) -> Iterator[RedisServer]:
    """A server that starts with the users that were made, and is asked for signs of life by their health check."""
    data.mkdir()
    server = RedisServer(data, "--aclfile", str(folder / "redis" / "users.acl"))
    address = server.url
    server.url = address.replace("://", f"://health:{as_secret(folder, 'redis/health')}@")
    try:
        yield server.start()
    finally:
        server.stop()


def as_user(server: RedisServer, url: str) -> redis.Redis:
    """A client with the credentials of a URL that was made, at the server's real address."""
    return redis.Redis.from_url(url.replace(REDIS, f"127.0.0.1:{server.port}/0"), socket_timeout=5)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def waits_for_a_lock(pid: int) -> bool:
    """Whether the kernel says so."""
    return any(f"-> FLOCK  ADVISORY  WRITE {pid} " in line for line in Path("/proc/locks").read_text().splitlines())


def test_a_first_run_makes_every_file_and_leaves_nothing_else(folder: Path) -> None:
    key = prepare(folder).key

    assert sorted(contents(folder)) == list(FILES)
    assert as_secret(folder, "gateway/key") == key
    assert key.startswith("dk_")
    assert len(key) == 46


def test_a_second_run_changes_nothing(folder: Path) -> None:
    key = prepare(folder).key
    before = contents(folder)
    written = {name: (folder / name).stat().st_mtime_ns for name in FILES}

    again = prepare(folder)

    assert again == Prepared(key=key, users_changed=False)
    assert contents(folder) == before
    assert {name: (folder / name).stat().st_mtime_ns for name in FILES} == written


def test_every_secret_is_another_one(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for service in ("gateway", "redis", "worker"):
        (other / service).mkdir()

    prepare(folder)
    prepare(other)

    assert not set(contents(folder).values()) & set(contents(other).values())
    passwords = [as_secret(folder, name) for name in FILES if name != "redis/users.acl"]
    assert len({text.rpartition(":")[0] or text for text in passwords}) == 4


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_nobody_but_owner_and_group_reads_a_secret(folder: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        prepare(folder)
    finally:
        os.umask(before)

    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in FILES} == {0o640}


def test_a_deleted_key_is_replaced_and_all_else_is_kept(folder: Path) -> None:
    key = prepare(folder).key
    before = contents(folder)
    (folder / "gateway" / "key").unlink()

    another = prepare(folder).key

    assert another != key
    assert contents(folder) == {**before, "gateway/key": f"{another}\n"}


def test_a_key_of_ones_own_is_kept(folder: Path) -> None:
    (folder / "gateway" / "key").write_text("my-own-key")

    assert prepare(folder).key == "my-own-key"
    assert (folder / "gateway" / "key").read_text() == "my-own-key"


@pytest.mark.parametrize("lost", FILES)
def test_a_half_finished_run_is_completed_and_all_agrees(folder: Path, tmp_path: Path, lost: str) -> None:
    prepare(folder)
    kept = {name: text for name, text in contents(folder).items() if name not in {lost, "redis/users.acl"}}
    (folder / lost).unlink()

    prepare(folder)

    assert contents(folder).items() >= kept.items()
    with a_redis(folder, tmp_path / "data") as server:
        for service in ("gateway", "worker"):
            with as_user(server, as_secret(folder, f"{service}/redis-url")) as client:
                assert client.ping()


@pytest.mark.parametrize("name", ["gateway/key", "gateway/redis-url", "redis/health", "worker/redis-url"])
def test_an_empty_file_holds_no_secret_and_is_filled(folder: Path, name: str) -> None:
    (folder / name).touch()

    prepare(folder)

    assert as_secret(folder, name)


def test_a_draft_that_a_power_cut_left_is_taken_over(folder: Path) -> None:
    (folder / "gateway" / ".key.draft").write_text("half a k")

    prepare(folder)

    assert sorted(contents(folder)) == list(FILES)


def test_a_run_waits_for_another_one_to_end(folder: Path) -> None:
    # It would take half of the passwords from one run and half from the other.
    with locked(folder / "redis"):
        run = subprocess.Popen((sys.executable, "-m", "deploy.init", str(folder)), cwd=ROOT, stdout=subprocess.DEVNULL)
        until(lambda: run.poll() is not None or waits_for_a_lock(run.pid), seconds=20)
        made_meanwhile = contents(folder)

    assert run.wait(20) == 0
    assert made_meanwhile == {}
    assert sorted(contents(folder)) == list(FILES)


@pytest.mark.parametrize("user", ["gateway", "worker"])
def test_the_urls_are_what_the_programs_read(folder: Path, monkeypatch: pytest.MonkeyPatch, user: str) -> None:
    prepare(folder)
    monkeypatch.delenv("DARKROOM_REDIS_URL", raising=False)
    monkeypatch.setenv("DARKROOM_REDIS_URL_FILE", str(folder / user / "redis-url"))

    assert SharedSettings().redis_url == as_secret(folder, f"{user}/redis-url")


def test_no_secret_stands_in_redis_users_file(folder: Path) -> None:
    prepare(folder)

    users = (folder / "redis" / "users.acl").read_text()

    for name in ("gateway/redis-url", "worker/redis-url"):
        assert as_secret(folder, name).split(":")[2].partition("@")[0] not in users
    assert as_secret(folder, "redis/health") not in users


@pytest.mark.parametrize("user", ["gateway", "worker"])
def test_redis_lets_both_sides_work_and_nobody_command_the_server(folder: Path, tmp_path: Path, user: str) -> None:
    prepare(folder)

    with (
        a_redis(folder, tmp_path / "data") as server,
        as_user(server, as_secret(folder, f"{user}/redis-url")) as client,
    ):
        client.set("anything", "is allowed")
        assert client.get("anything") == b"is allowed"
        assert client.publish("any channel", "is allowed") == 0
        assert client.info("memory")["maxmemory_policy"] == "noeviction"
        for command in ("FLUSHALL", "CONFIG GET maxmemory", "SHUTDOWN", "KEYS *", "ACL LIST", "BGREWRITEAOF"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command.split())


def test_redis_takes_up_again_what_scripts_and_transactions_wrote(folder: Path, tmp_path: Path) -> None:
    # A default user without rights made Redis 8 (not Valkey) skip all of it, with no more than a line in its log.
    prepare(folder)
    assert as_secret(folder, "redis/users.acl").splitlines()[0] == "user default off ~* &* +@all"
    url = as_secret(folder, "worker/redis-url")

    with a_redis(folder, tmp_path / "data") as server:
        with as_user(server, url) as client:
            client.set("by itself", "1")
            client.eval("redis.call('set', 'script', '1') redis.call('set', 'script too', '1')", 0)
            client.pipeline(transaction=True).set("transaction", "1").publish("channel", "x").execute()
        server.signal(signal.SIGTERM)
        assert server.process is not None
        server.process.wait(10)
        server.start()

        with as_user(server, url) as client:
            assert client.exists("by itself", "script", "script too", "transaction") == 4


def test_redis_lets_the_health_check_ping_and_no_more(folder: Path, tmp_path: Path) -> None:
    prepare(folder)

    with a_redis(folder, tmp_path / "data") as server, server.client() as client:
        assert client.ping()
        for command in ("GET anything", "SET anything x", "INFO", "PUBLISH channel x"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command.split())


@pytest.mark.parametrize("credentials", ["", ":guess@", "default:guess@", "gateway:guess@", "worker:@"])
def test_redis_refuses_whoever_has_no_password(folder: Path, tmp_path: Path, credentials: str) -> None:
    prepare(folder)

    with (
        a_redis(folder, tmp_path / "data") as server,
        as_user(server, f"redis://{credentials}{REDIS}") as client,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        client.ping()


def test_a_password_of_ones_own_may_hold_any_character(folder: Path, tmp_path: Path) -> None:
    own = f"redis://gateway:a%2Fb%40c%3Ad@{REDIS}"
    (folder / "gateway" / "redis-url").write_text(own)

    prepare(folder)

    with a_redis(folder, tmp_path / "data") as server, as_user(server, own) as client:
        assert client.ping()


@pytest.mark.parametrize("url", [f"redis://{REDIS}", f"redis://worker:secret@{REDIS}", f"redis://gateway:@{REDIS}"])
def test_a_url_without_the_users_password_is_told_and_not_repeated(folder: Path, url: str) -> None:
    (folder / "gateway" / "redis-url").write_text(url)

    with pytest.raises(Unusable, match=r"^The redis-url of gateway holds no password of this user") as told:
        prepare(folder)

    assert "secret" not in str(told.value)


def test_a_run_says_the_key_and_how_to_use_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_PORT", "9000")

    main([str(folder)])

    key = as_secret(folder, "gateway/key")
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith(f" {key}")
    assert said[2].endswith(f"curl -H 'X-API-Key: {key}' -F image=@picture.jpg http://127.0.0.1:9000/predict")


CHANGED = "Redis's users have changed: if it runs, docker compose restart redis\n"


@pytest.mark.parametrize("lost", ["gateway/redis-url", "worker/redis-url", "redis/health"])
def test_a_run_that_changes_redis_users_says_so_and_the_next_one_does_not(
    folder: Path, capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    main([str(folder)])
    assert CHANGED not in capsys.readouterr().out
    (folder / lost).unlink()

    main([str(folder)])
    assert capsys.readouterr().out.endswith(CHANGED)

    main([str(folder)])
    assert CHANGED not in capsys.readouterr().out


@pytest.mark.parametrize("lost", ["gateway/key", "redis/users.acl"])
def test_a_run_that_leaves_redis_users_as_they_were_does_not_speak_of_them(
    folder: Path, capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    prepare(folder)
    (folder / lost).unlink()

    main([str(folder)])

    assert CHANGED not in capsys.readouterr().out


def test_redis_keeps_its_users_until_it_is_restarted(folder: Path, tmp_path: Path) -> None:
    prepare(folder)

    with a_redis(folder, tmp_path / "data") as server:
        (folder / "gateway" / "redis-url").unlink()
        assert prepare(folder).users_changed
        url = as_secret(folder, "gateway/redis-url")

        with as_user(server, url) as client, pytest.raises(redis.exceptions.AuthenticationError):
            client.ping()
        server.kill()
        server.start()
        with as_user(server, url) as client:
            assert client.ping()


def test_folders_that_are_not_there_are_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([str(tmp_path)])

    assert left.value.code == 1
    assert capsys.readouterr().err == f"darkroom init: {tmp_path}/redis: No such file or directory.\n"


@pytest.mark.parametrize("text", ["two\nlines", "dk_x y", "dk_\0", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_what_no_header_can_carry_is_no_key_and_is_told(folder: Path, text: str) -> None:
    (folder / "gateway" / "key").write_text(text)

    with pytest.raises(Unusable, match="holds no key"):
        prepare(folder)


def test_what_is_no_text_is_told_or_made_anew(folder: Path) -> None:
    prepare(folder)
    before = contents(folder)
    (folder / "redis" / "users.acl").write_bytes(b"\xff\xfe")

    assert prepare(folder).users_changed
    assert contents(folder) == before
    for url in (b"\xff", b"redis://[x"):
        (folder / "gateway" / "redis-url").write_bytes(url)
        with pytest.raises(Unusable, match="redis-url of gateway"):
            prepare(folder)


def test_a_full_disk_names_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("deploy.init.os.fsync", full)

    with pytest.raises(Unusable, match=f"^{re.escape(str(folder))}: No space left on device.$"):
        prepare(folder)
