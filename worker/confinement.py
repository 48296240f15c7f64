"""What a process gives up for good before it touches a hostile picture."""

import contextlib
import ctypes
import errno
import os
import platform
import resource
import signal
import struct
from pathlib import Path
from types import MappingProxyType
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2

_LIBC: Final = ctypes.CDLL(None, use_errno=True)

_MACHINES: Final = MappingProxyType({"x86_64": 0xC000003E, "aarch64": 0xC00000B7})
"""The filter's name for each machine that it is written for. Source: linux/audit.h."""

_CALLS: Final = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "readv": (19, 65),
    "writev": (20, 66),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "exit": (60, 93),
    "gettimeofday": (96, 169),
    "gettid": (186, 178),
    "futex": (202, 98),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "getrandom": (318, 278),
}
"""The system calls that remain, by their numbers on those machines: memory, time, what is open, a decent end."""

_CALLS_ON_ITSELF: Final = {"kill": (62, 129), "tgkill": (234, 131)}
"""Remain too, if their first argument is the process itself: how a library aborts."""


def die_with(parent: int) -> None:
    """Be killed as soon as the process `parent`, which forked this one, is gone; at once if it is."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def keep_three_descriptors(stdin: int, stdout: int) -> None:
    """Make these two descriptors 0 and 1 and /dev/null 2, and close all others."""
    null = os.open(os.devnull, os.O_RDWR)
    # Lifted out of the way first: one of them may be 0, 1 or 2.
    lifted = [os.dup(number) for number in (stdin, stdout, null)]
    for target, number in enumerate(lifted):
        os.dup2(number, target)
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def confine(address_space: int) -> None:
    """Give up files, sockets, processes, privileges, and memory beyond so many bytes of address space.

    The kernel's filter of calls is an addition where the kernel has one; the limits hold everywhere.
    """
    with contextlib.suppress(OSError):
        # When a container's memory runs out, the kernel takes this process and not the worker.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    for what, most in (
        (resource.RLIMIT_AS, address_space),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        # Three are open, so no other can be.
        (resource.RLIMIT_NOFILE, 3),
    ):
        resource.setrlimit(what, (most, most))
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    with contextlib.suppress(OSError):
        _filter_calls()


def _filter_calls() -> None:
    machine = platform.machine()
    if machine not in _MACHINES:
        return
    column = list(_MACHINES).index(machine)
    free = [numbers[column] for numbers in _CALLS.values()]
    itself = [numbers[column] for numbers in _CALLS_ON_ITSELF.values()]
    load, equal, answer = 0x20, 0x15, 0x06
    call, architecture, argument = 0, 4, 16
    refused, killed, allowed = 0x00050000 | errno.EPERM, 0x80000000, 0x7FFF0000
    # Of two numbers after `equal` the first says how many lines to skip if it is so, the second if not.
    program = [
        (load, 0, 0, architecture),
        (equal, 1, 0, _MACHINES[machine]),
        (answer, 0, 0, killed),
        (load, 0, 0, call),
        *((equal, len(free) - place + len(itself) + 2, 0, number) for place, number in enumerate(free)),
        *((equal, len(itself) - place, 0, number) for place, number in enumerate(itself)),
        (answer, 0, 0, refused),
        (load, 0, 0, argument),
        (equal, 0, 1, os.getpid()),
        (answer, 0, 0, allowed),
        (answer, 0, 0, refused),
    ]
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    pointer = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.create_string_buffer(pointer, len(pointer)))


def _prctl(option: int, value: int, argument: object = 0) -> None:
    if _LIBC.prctl(option, value, argument, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
