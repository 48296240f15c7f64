"""Programs that are fed a page's blocks one by one and keep what the blocks leave: a bash and a Python."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.docs.pages import Block
from tests.support.waiting import until

_PAUSE_S: Final = 0.02
_END_S: Final = 40.0

# Each is told a folder on stdin, runs the block in it and says so on stdout; a block that fails ends it. The block's
# file starts with as many empty lines as stand above it in its page, so that a message names the page's line. The trap
# sees failures in substitutions and after `set +e` too; the line that is put last sees a block that was left before.
_BASH: Final = """
# A block that fails ends this shell before anybody can end its process group.
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT
while IFS= read -r __folder; do
    set -Eeuo pipefail
    __last=
    trap 'echo "$LINENO" > "$__folder/line"' ERR
    source "$__folder/block" < /dev/null > "$__folder/out" 2> "$__folder/err"
    trap - ERR
    if [[ -e $__folder/line || $__last != 0 ]]; then
        echo "a command's failure was lost, or the block was left early" >> "$__folder/err"
        exit 1
    fi
    echo done
done
"""
_BASH_LAST: Final = "__last=$?"
_PYTHON: Final = """
import os, sys, traceback
names = {"__name__": "__main__"}
orders, done = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
for folder in map(str.strip, orders):
    for number, kind in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{folder}/{kind}", os.O_WRONLY | os.O_CREAT), number)
    try:
        exec(compile(open(f"{folder}/block").read(), f"{folder}/block", "exec"), names)
    except BaseException as error:
        traceback.print_exc()
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename.startswith(folder)]
        # A block that does not compile has no frame of its own.
        open(f"{folder}/line", "w").write(str(lines[-1] if lines else getattr(error, "lineno", "")))
        sys.exit(1)
    sys.stdout.flush()
    print("done", file=done, flush=True)
"""


class BlockFailed(Exception):
    """A block did not do what its page says; the message names file and line."""


class Shell(ABC):
    """Runs blocks in one process, in `checkout`, each with a folder of its own under `folder`."""

    def __init__(self, folder: Path, *, checkout: Path, environ: Mapping[str, str], patience_s: float) -> None:
        self._folder = folder
        self._patience_s = patience_s
        self._count = 0
        folder.mkdir()
        self._process = subprocess.Popen(
            self._command(),
            cwd=checkout,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    @abstractmethod
    def _command(self) -> Sequence[str]: ...

    def _script(self, text: str) -> str:
        return text

    def run(self, block: Block, text: str) -> str:
        """What `text`, the block's own as it is to be run, prints on stdout.

        Raises: BlockFailed.
        """
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        (folder / "block").write_text("\n" * (block.line - 1) + self._script(text) + "\n", encoding="utf-8")
        assert self._process.stdin is not None
        self._process.stdin.write(f"{folder}\n".encode())
        self._process.stdin.flush()
        self._await(block, folder)
        return _said(folder / "out")

    def _await(self, block: Block, folder: Path) -> None:
        assert self._process.stdout is not None
        end = time.monotonic() + self._patience_s
        while not select.select([self._process.stdout], [], [], _PAUSE_S)[0]:
            # A subshell that the block left behind may hold the other end open: the end of the process decides.
            if self._process.poll() is not None:
                break
            if time.monotonic() > end:
                raise BlockFailed(_report(block.place, f"not done after {self._patience_s:g} s", folder))
        else:
            if self._process.stdout.readline() == b"done\n":
                return
        line = _said(folder / "line").strip() or block.line
        reason = f"exit status {self._process.wait(_END_S)}"
        raise BlockFailed(_report(f"{block.page}:{line}", reason, folder))

    def end(self) -> None:
        """End it, and what it left in the background."""
        _end(self._process, signal.SIGTERM)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class Bash(Shell):
    """One bash: variables, functions and background jobs carry over; `set -euo pipefail` is said before each block."""

    def _command(self) -> Sequence[str]:
        return ("bash", "--noprofile", "--norc", "-c", _BASH)

    def _script(self, text: str) -> str:
        return f"{text}\n{_BASH_LAST}"


class Python(Shell):
    """One Python: names carry over."""

    def _command(self) -> Sequence[str]:
        return (sys.executable, "-c", _PYTHON)


class OtherTerminal:
    """A block that goes on while the page does: a terminal of its own, in which Ctrl-C is pressed in the end."""

    def __init__(
        self, folder: Path, block: Block, text: str, *, checkout: Path, environ: Mapping[str, str], patience_s: float
    ) -> None:
        folder.mkdir()
        self._folder = folder
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            self._process = subprocess.Popen(
                ("bash", "--noprofile", "--norc", "-euo", "pipefail", "-c", text),
                cwd=checkout,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        try:
            until(lambda: self._ready or self._process.poll() is not None, seconds=patience_s)
        except TimeoutError:
            self.end()
            raise BlockFailed(_report(block.place, f"no `ready` after {patience_s:g} s", folder)) from None
        if not self._ready:
            raise BlockFailed(_report(block.place, f"exit status {self._process.wait()}", folder))

    @property
    def _ready(self) -> bool:
        return re.search(r"^ready .*\n", _said(self._folder / "out"), re.MULTILINE) is not None

    def end(self) -> None:
        """Press Ctrl-C, which reaches every program of the terminal."""
        _end(self._process, signal.SIGINT)


def _end(process: subprocess.Popen[bytes], politely: int) -> None:
    # Every one of these leads a process group, whose name is good until the leader is waited for.
    if process.poll() is None:
        os.killpg(process.pid, politely)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(_END_S)


def _said(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def _report(place: str, reason: str, folder: Path) -> str:
    return "\n".join([f"{place}: {reason}", _said(folder / "out"), _said(folder / "err")])
