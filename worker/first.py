"""What a worker needs that is the first process of its container.

The kernel lets nobody end the first process but from outside, and hands it every orphan. A worker must be able to end
itself, so it is made the second.
"""

import os
import signal
from collections.abc import Callable

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


def below_the_first(run: Callable[[], None]) -> None:
    """Run, in a child if this is the first process; then pass signals on, reap, and exit as the child does."""
    if os.getpid() == 1:
        child = os.fork()
        if child:
            os._exit(_attend(child))
    run()


def _attend(child: int) -> int:
    for number in _PASSED_ON:
        signal.signal(number, lambda number, _: os.kill(child, number))
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            # As a shell tells it: 128 and the signal.
            return code if code >= 0 else 128 - code
