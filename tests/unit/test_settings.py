"""A variable with our prefix that nobody reads is a typo, not a default."""

import traceback
from pathlib import Path

import pytest

from shared.settings import InvalidVariable, SharedSettings, UnknownVariable, read, refuse_unknown
from worker.config import WorkerSettings


def test_an_unknown_variable_is_refused_by_name() -> None:
    with pytest.raises(UnknownVariable, match="DARKROOM_WORKER_PROCESES"):
        refuse_unknown(WorkerSettings, {"DARKROOM_WORKER_PROCESES": "2", "PATH": "/bin"})


def test_known_variables_and_those_of_others_pass() -> None:
    refuse_unknown(WorkerSettings, {"DARKROOM_WORKER_PROCESSES": "2", "DARKROOM_GATEWAY_PORT": "1", "HOME": "/"})


def test_the_environment_itself_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_WORKER_COLOUR", "green")

    with pytest.raises(UnknownVariable, match="DARKROOM_WORKER_COLOUR"):
        refuse_unknown(WorkerSettings)


def test_a_value_that_makes_no_sense_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_WORKER_PROCESSES", "none")

    with pytest.raises(InvalidVariable, match=r"^DARKROOM_WORKER_PROCESSES: .*integer") as caught:
        read(WorkerSettings)
    assert "\n" not in str(caught.value)


def test_settings_of_both_sides_leave_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_REDIS_URL", "unix:///tmp/redis.sock")
    monkeypatch.setenv("DARKROOM_WORKER_PROCESSES", "3")

    assert read(SharedSettings).redis_url == "unix:///tmp/redis.sock"
    assert read(WorkerSettings).processes == 3


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "redis://redis",
        "redis://:s3cret%40@redis.internal:6380/3",
        "redis://[::1]:6379",
        "unix:///run/redis.sock",
        "unix:///a%20folder/redis.sock?db=2",
    ],
)
def test_a_redis_is_named_by_host_or_socket(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DARKROOM_REDIS_URL", url)

    assert read(SharedSettings).redis_url == url


def test_a_redis_with_a_password_is_named_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "redis-url"
    file.write_text("redis://gateway:s3cret@redis:6379/0\n")
    monkeypatch.setenv("DARKROOM_REDIS_URL_FILE", str(file))

    assert read(SharedSettings).redis_url == "redis://gateway:s3cret@redis:6379/0"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfe", "is no text"),
        (b"http://s3cret@redis", "a URL like"),
    ],
)
def test_a_file_without_a_redis_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: bytes | None, said: str
) -> None:
    file = tmp_path / "redis-url"
    if text is not None:
        file.write_bytes(text)
    monkeypatch.setenv("DARKROOM_REDIS_URL_FILE", str(file))

    with pytest.raises(InvalidVariable, match=f"^DARKROOM_REDIS_URL.*{said}") as caught:
        read(SharedSettings)
    assert "s3cret" not in str(caught.value)


def test_a_password_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_REDIS_URL", "redis://:s3cret@redis:6379/0")
    shown = repr(read(SharedSettings))
    monkeypatch.setenv("DARKROOM_REDIS_URL", "http://:s3cret@redis:6379/0")

    with pytest.raises(InvalidVariable) as caught:
        read(SharedSettings)

    assert "s3cret" not in shown
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_redis_named_twice_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DARKROOM_REDIS_URL", "redis://redis")
    monkeypatch.setenv("DARKROOM_REDIS_URL_FILE", str(tmp_path))

    with pytest.raises(InvalidVariable, match="not both"):
        read(SharedSettings)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "rediss://redis:6379/0",
        "redis://s3cret@:6379/0",
        "redis://redis:99999/0",
        "redis://redis/0?db=2",
        "redis://redis/0?socket_timeout=4",
        "unix://run/redis.sock",
        "unix:///run/redis.sock?db=one",
    ],
)
def test_what_only_one_side_would_understand_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DARKROOM_REDIS_URL", url)

    with pytest.raises(InvalidVariable, match="DARKROOM_REDIS_URL") as caught:
        read(SharedSettings)
    assert not url or url not in str(caught.value)
    assert "s3cret" not in str(caught.value)
