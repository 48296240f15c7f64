"""A program that outlives whoever started it for one moment: it ends what that one left running.

Each line of its input is `+ <id>` for a process (a negative id: its whole group) or `- <id>` for one that has gone.
When the input ends, whatever the reason, all that is left is killed.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress


class Keeper:
    """The same, seen from the one that it watches."""

    def __init__(self) -> None:
        # A session of its own: what ends a whole terminal's processes would end it before its work.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, start_new_session=True, text=True
        )

    def keep(self, pid: int) -> None:
        """End this process, or for a negative id this group, when nobody else does."""
        self._say(f"+ {pid}")

    def forget(self, pid: int) -> None:
        """It has gone, and its id may be another's."""
        self._say(f"- {pid}")

    def close(self) -> None:
        """End all that is left, and go."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()


def main() -> None:
    kept: set[int] = set()
    for line in sys.stdin:
        sign, pid = line.split()
        (kept.add if sign == "+" else kept.discard)(int(pid))
    for pid in kept:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
