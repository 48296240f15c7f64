"""The key of the command: where it comes from, and that nobody sees it."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom import AsyncClient, Classification, Problem
from darkroom.errors import error_of
from darkroom.pictures import Picture
from tests.support.command_line import run
from tests.support.stub_server import stub_server

KEY = "s3cret-key-of-the-test"
CALLS = [
    ["status"],
    ["jobs"],
    ["job", "job_bird"],
    ["wait", "job_bird"],
    ["cancel", "job_bird"],
    ["retry", "job_bird"],
    ["dead-letters"],
    ["replay", "job_bird"],
    ["replay", "--all"],
    ["delete", "job_bird"],
    ["classify", __file__],
    ["submit", __file__],
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with stub_server(KEY) as place:
        yield place


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    return path


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("call", CALLS)
def test_a_call_without_the_key_is_one_sentence_and_exit_status_5(
    url: str, call: list[str], options: list[str]
) -> None:
    result = run(*call, *options, "--url", url)

    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr == (
        "darkroom: The server wants a key, and not the one it was given, if any. Give it in X_API_KEY, or in a file "
        "with --key-file or X_API_KEY_FILE. In containers `docker compose exec gateway cat /secrets/key` shows it.\n"
    )


def test_a_key_that_may_not_do_this_is_exit_status_5(url: str) -> None:
    result = run("job", "job_forbidden", "--url", url, X_API_KEY=KEY)

    assert result.exit_code == 5
    assert result.stderr.startswith("darkroom: Not with this key.\n")


@pytest.mark.parametrize("call", CALLS[:2] + CALLS[3:4] + CALLS[6:])
def test_the_key_goes_with_every_call(url: str, tmp_path: Path, call: list[str]) -> None:
    picture = tmp_path / "a.png"
    picture.write_text("bird")

    result = run(*[str(picture) if word == __file__ else word for word in call], "--url", url, X_API_KEY=KEY)

    assert result.exit_code == 0, result.output
    assert KEY not in result.output


def test_the_key_may_stand_in_a_file(url: str, key_file: Path, tmp_path: Path) -> None:
    named = run("status", "--url", url, "--key-file", key_file)
    by_variable = run("status", "--url", url, X_API_KEY_FILE=str(key_file))
    option_first = run("status", "--url", url, "--key-file", key_file, X_API_KEY_FILE=str(tmp_path / "absent"))

    assert (named.exit_code, by_variable.exit_code, option_first.exit_code) == (0, 0, 0)


def test_the_file_of_the_key_may_be_a_pipe(url: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(KEY,))
    writer.start()

    result = run("status", "--url", url, "--key-file", pipe)

    writer.join()
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("by_option", [True, False])
def test_a_key_given_twice_is_wrong_use(url: str, key_file: Path, by_option: bool) -> None:
    options = ["--key-file", str(key_file)] if by_option else []
    variable = {} if by_option else {"X_API_KEY_FILE": str(key_file)}

    result = run("status", "--url", url, *options, X_API_KEY=KEY, **variable)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "darkroom: The key is given twice: by X_API_KEY, and as a file by --key-file or X_API_KEY_FILE.\n"
    )


def test_an_empty_variable_gives_no_key(url: str, key_file: Path) -> None:
    alone = run("status", "--url", url, X_API_KEY="", X_API_KEY_FILE="")
    beside_a_file = run("status", "--url", url, X_API_KEY="", X_API_KEY_FILE=str(key_file))

    assert (alone.exit_code, beside_a_file.exit_code) == (5, 0)


@pytest.mark.parametrize("call", CALLS)
def test_a_file_without_a_key_is_wrong_use(url: str, tmp_path: Path, call: list[str]) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")

    absent = run(*call, "--url", url, "--key-file", tmp_path / "absent")
    nothing = run(*call, "--url", url, "--key-file", empty)
    folder = run(*call, "--url", url, "--key-file", tmp_path)

    assert (absent.exit_code, nothing.exit_code, folder.exit_code) == (2, 2, 2)
    assert absent.stderr == (
        f"darkroom: The key's file {tmp_path / 'absent'} cannot be read: No such file or directory.\n"
    )
    assert nothing.stderr == f"darkroom: The key's file {empty} is empty.\n"
    assert folder.stderr == f"darkroom: The key's file {tmp_path} cannot be read: Is a directory.\n"


@pytest.mark.parametrize("key", ["two words", "Schlüssel", "a\nb", "\x1b[31m"])
def test_what_no_header_can_carry_is_wrong_use_and_is_not_shown(url: str, tmp_path: Path, key: str) -> None:
    file = tmp_path / "key"
    file.write_text(key)

    by_variable = run("status", "--url", url, X_API_KEY=key)
    by_file = run("status", "--url", url, "--key-file", file)

    assert (by_variable.exit_code, by_file.exit_code) == (2, 2)
    assert by_variable.stderr == ("darkroom: What X_API_KEY holds is no key: a key is visible ASCII without spaces.\n")
    assert key not in by_file.output


def test_a_file_that_never_ends_is_read_to_a_limit(url: str) -> None:
    result = run("status", "--url", url, "--key-file", "/dev/zero")

    assert result.exit_code == 2


def test_after_a_refusal_no_further_picture_is_sent(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Picture] = []

    async def classify(_: AsyncClient, image: Picture, **options: float) -> Classification:
        sent.append(image)
        raise error_of(Problem(code="unauthorized", status=401, title="", detail="No."))

    monkeypatch.setattr(AsyncClient, "classify", classify)

    result = run("classify", *[tmp_path / "a.png"] * 50, "--url", url)

    assert (result.exit_code, result.stdout) == (5, "")
    assert len(sent) < 10


def test_no_option_takes_the_key_itself() -> None:
    result = run("status", "--key", KEY)

    assert result.exit_code == 2


def test_a_refused_key_is_not_repeated(url: str) -> None:
    result = run("jobs", "--url", url, "--json", X_API_KEY="wrong-key")

    assert result.exit_code == 5
    assert "wrong-key" not in result.output
    assert json.dumps("wrong-key") not in result.output
