"""The command as a program: on a terminal, in a pipe, interrupted, and completed by a shell."""

import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.command_line import command, environment, program
from tests.support.gateways import a_live_gateway
from tests.support.pictures import a_png
from tests.support.stub_server import stub_server
from tests.support.waiting import until

ESCAPE: Final = b"\x1b"
COMMANDS: Final = [
    *("classify", "submit", "wait", "job", "jobs", "cancel"),
    *("retry", "dead-letters", "replay", "delete", "status", "up"),
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with stub_server() as place:
        yield place


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but `darkroom`, for the PATH of a shell."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "darkroom").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m darkroom "$@"\n')
    (folder / "darkroom").chmod(0o755)
    return folder


@pytest.fixture
def bad_picture(tmp_path: Path) -> Path:
    path = tmp_path / "bad.png"
    path.write_text("bad")
    return path


def on_a_terminal(*arguments: str | Path, **environ: str) -> bytes:
    """All that it shows on a terminal of its own."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*arguments),
        env=environment(TERM="xterm-256color", **environ),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:
        # This is how Linux says that nobody holds the other end any more.
        pass
    finally:
        os.close(ours)
        process.wait(60)
    return shown


def test_a_terminal_gets_colours_and_a_bar(url: str, bad_picture: Path) -> None:
    shown = on_a_terminal("classify", bad_picture, "--url", url)

    assert b"Not a picture." in shown
    assert b"\x1b[31m" in shown
    assert b"classifying" in shown


@pytest.mark.parametrize("arguments", [["classify"], ["submit"], ["--help"], ["status"], ["jobs", "--status", "wrong"]])
def test_a_terminal_gets_no_escape_sequence_under_no_color(url: str, bad_picture: Path, arguments: list[str]) -> None:
    pictures = [bad_picture] if arguments[0] in {"classify", "submit"} else []
    where = [] if arguments == ["--help"] else ["--url", url]

    shown = on_a_terminal(*arguments, *pictures, *where, NO_COLOR="1")

    assert shown
    assert ESCAPE not in shown


def test_an_empty_no_color_is_none(url: str, bad_picture: Path) -> None:
    assert ESCAPE in on_a_terminal("classify", bad_picture, "--url", url, NO_COLOR="")


def test_a_pipe_gets_no_escape_sequence(url: str, bad_picture: Path) -> None:
    told = program(command("classify", bad_picture, "--url", url), TERM="xterm-256color")

    assert "Not a picture." in told.stdout
    assert "\x1b" not in told.stdout + told.stderr


def test_json_on_a_terminal_is_json_alone(url: str) -> None:
    shown = on_a_terminal("status", "--url", url, "--json")

    assert json.loads(shown)["workers"]


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("name", ["jobs", "status"])
def test_a_reader_that_leaves_ends_it_quietly(url: str, name: str, options: list[str]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)

    with os.fdopen(theirs, "wb") as unread:
        told = program(command(name, "--url", url, *options), stdout=unread)

    assert (told.returncode, told.stderr) == (141, "")


def test_a_reader_that_leaves_ends_submitting_quietly(url: str, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_text("bird")
    words = shlex.join(command("submit", *[picture] * 50, "--url", url))

    told = program(["bash", "-o", "pipefail", "-c", f"{words} | head -1"])

    assert (told.returncode, told.stdout, told.stderr) == (141, "job_bird\n", "")


def test_output_that_cannot_be_written_is_one_sentence(url: str) -> None:
    with Path("/dev/full").open("wb") as full:
        told = program(command("status", "--url", url), stdout=full)

    assert told.returncode == 1
    assert told.stderr == "darkroom: The output cannot be written: No space left on device.\n"


PRINTED_FIRST: Final = [["--help"], ["--version"], ["jobs", "--help"], ["--show-completion", "bash"]]


@pytest.mark.parametrize("words", PRINTED_FIRST, ids=" ".join)
def test_help_that_cannot_be_written_is_one_sentence(words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        told = program(command(*words), stdout=full, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")

    assert told.returncode == 1
    assert told.stderr == "darkroom: The output cannot be written: No space left on device.\n"


@pytest.mark.parametrize("words", PRINTED_FIRST, ids=" ".join)
def test_a_reader_that_leaves_ends_help_quietly(words: list[str]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)

    with os.fdopen(theirs, "wb") as unread:
        told = program(command(*words), stdout=unread, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")

    assert (told.returncode, told.stderr) == (141, "")


def test_no_stdout_at_all_is_no_trouble(url: str) -> None:
    words = shlex.join(command("status", "--url", url))

    told = program(["bash", "-c", f"{words} >&-"])

    assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.parametrize(
    ("stdin", "sentence"),
    [("<&-", "There are no ids on stdin."), ("0>/dev/null", "stdin cannot be read: Bad file descriptor.")],
)
def test_a_stdin_that_holds_nothing_is_one_sentence(url: str, stdin: str, sentence: str) -> None:
    told = program(["bash", "-c", f"{shlex.join(command('wait', '-', '--url', url))} {stdin}"])

    assert (told.returncode, told.stdout, told.stderr.count("\n")) == (2, "", 1)
    assert told.stderr.startswith(f"darkroom: {sentence}")


def test_output_in_a_narrow_encoding_is_shown_as_far_as_it_goes(url: str, tmp_path: Path) -> None:
    picture = tmp_path / "Vögel.png"
    picture.write_text("bird")
    words = command("classify", picture, "--url", url)

    told = program(words, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    as_json = program([*words, "--json"], PYTHONIOENCODING="ascii")

    assert (told.returncode, told.stderr) == (0, "")
    assert "V?gel.png" in told.stdout
    assert json.loads(as_json.stdout)[0]["file"] == str(picture)


@pytest.mark.parametrize("name", ["wait", "classify"])
def test_ctrl_c_ends_it_with_130_and_without_a_word(tmp_path: Path, name: str) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(a_png(4, 3))
    with a_live_gateway() as (port, app):
        here = ["--url", f"http://127.0.0.1:{port}"]
        job_id = program(command("submit", picture, *here)).stdout.strip()
        process = subprocess.Popen(
            command(name, job_id if name == "wait" else picture, *here),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until(lambda: len(app.state.waiters), seconds=30, what="the command to wait")

        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)

    assert process.returncode == 130
    assert said == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there_for_the_usual_shells(shell: str) -> None:
    told = program(
        command("--show-completion", shell),
        _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1",
    )

    assert told.returncode == 0, told.stderr
    assert f"_DARKROOM_COMPLETE=complete_{shell}" in told.stdout


def test_bash_completes_commands_options_and_choices(bin_folder: Path) -> None:
    bash = shutil.which("bash")
    script = """
        eval "$(darkroom --show-completion)"
        complete -p darkroom
        for words in "darkroom cl" "darkroom j" "darkroom jobs --st" "darkroom jobs --status qu"; do
            COMP_WORDS=($words) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _darkroom_completion darkroom
            echo "${COMPREPLY[@]}"
        done
    """

    told = program([str(bash), "-c", script], PATH=f"{bin_folder}:{os.environ['PATH']}")

    registered, *completed = told.stdout.splitlines()
    assert registered.endswith("-F _darkroom_completion darkroom")
    assert completed == ["classify", "job jobs", "--status", "queued"], told.stderr


def test_every_command_is_completed() -> None:
    told = program(command(), _DARKROOM_COMPLETE="complete_bash", COMP_WORDS="darkroom ", COMP_CWORD="1")

    assert told.stdout.split() == COMMANDS


def test_help_loads_neither_tables_nor_commands() -> None:
    look = "import runpy, sys\ntry: runpy.run_module('darkroom', run_name='__main__')\nfinally: print(*sys.modules)"

    told = program([sys.executable, "-c", look, "--help"])

    loaded = set(told.stdout.splitlines()[-1].split())
    assert "Usage: darkroom" in told.stdout
    assert "darkroom.cli" in loaded
    assert not loaded & {"rich", "darkroom.commands", "darkroom.tables", "darkroom.up"}
