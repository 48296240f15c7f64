"""A worker's signs of life: a thread that tells the store, every few seconds, that the process is there."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from shared.errors import TransientError

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_GRACE_S: Final = 3.0

log = structlog.get_logger()


def resident_bytes() -> int:
    """Resident memory of this process, from the kernel's /proc/self/statm."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE


class Presence:
    """Beats until stopped, and touches `file` with every beat. That the process lives, not that its job gets on.

    `beat` tells the store, and returns whether a bell hung unheard; `look` learns that after every beat, and False
    after one that failed. `retire` says goodbye to the store.
    """

    def __init__(
        self,
        *,
        beat: Callable[[], bool],
        retire: Callable[[], None],
        look: Callable[[bool], None],
        every_s: Callable[[], float],
        file: Path | None = None,
    ) -> None:
        self._beat = beat
        self._retire = retire
        self._look = look
        self._every_s = every_s
        self._file = file
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Beat at once, and go on beating. Call it after the fork: a thread does not cross one."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more, and tell the store that the worker goes."""
        self._stopped.set()
        # It may be in the middle of asking a store that is away.
        self._thread.join(_GRACE_S)
        try:
            self._retire()
        except TransientError as error:
            # The store forgets us by itself within seconds.
            log.warning("retire failed", error=error.code)

    def _run(self) -> None:
        while not self._stopped.is_set():
            unheard = False
            try:
                unheard = self._beat()
                if self._file is not None:
                    self._file.touch()
            except TransientError as error:
                log.warning("beat failed", error=error.code)
            except OSError as error:
                log.warning("beat file failed", error=error.strerror)
            except Exception:
                # Without this thread the worker would lose its lease, and nobody would look after it.
                log.exception("beat broke")
            try:
                self._look(unheard)
            except Exception:
                log.exception("look broke")
            self._stopped.wait(self._every_s())
