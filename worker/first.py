"""What a worker needs that is the first process of its container.

The kernel lets nobody end the first process but from outside, and hands it every orphan. A worker must be able to end
itself, so it is made the second.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


def below_the_first(run: Callable[[], None]) -> None:
    """Run, in a child if this is the first process; then pass signals on, reap, and exit as the child does."""
    if os.getpid() == 1:
        # What is said before either of the two can hear it waits.
        signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
        child = os.fork()
        if child:
            os._exit(_attend(child))
        # A terminal speaks to the first process alone, so that nothing is heard twice.
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    run()


def _attend(child: int) -> int:
    def pass_on(number: int, _: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for number in _PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            # As a shell tells it: 128 and the signal.
            return code if code >= 0 else 128 - code
