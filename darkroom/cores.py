"""How many cores there are for us."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

_GROUPS: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")


def cores(groups: Path = _GROUPS, own: Path = _OWN) -> int:
    """Cores that this process may use, as the kernel and the limits of its containers have it; at least 1. Linux only.

    A limit that is no whole number counts as the next one. `groups` is where control groups of version 2 are mounted,
    `own` the file that names this process's.
    """
    limits = [len(os.sched_getaffinity(0)), *(math.ceil(limit) for limit in _limits(groups, own))]
    return min(limits)


def _limits(groups: Path, own: Path) -> Iterator[float]:
    try:
        named = [line[3:] for line in own.read_text(encoding="ascii").splitlines() if line.startswith("0::")]
    except (OSError, UnicodeDecodeError):
        return
    # In a container the name may be one of the host's, of which only the root is to be seen.
    for place in {place for name in named for place in (PurePosixPath(name), *PurePosixPath(name).parents)}:
        try:
            quota, period = (groups / place.relative_to("/") / "cpu.max").read_text(encoding="ascii").split()
            yield int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            # There is none, or it is "max".
            continue
