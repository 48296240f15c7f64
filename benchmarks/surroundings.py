"""Where measurements are taken: the checkout, an environment without settings of ours, the machine, the versions."""

import os
import platform
import subprocess
import sysconfig
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from darkroom.embedded import find_server

ROOT: Final = Path(__file__).resolve().parents[1]

PACKAGES: Final = (
    *("pillow", "numpy", "pybase64", "celery", "kombu", "redis", "hiredis"),
    *("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "pydantic"),
)
"""What decides about speed, beside Python and Redis."""


def plain(**changes: str) -> dict[str, str]:
    """This process's environment without settings of ours, and with these."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("DARKROOM_", "X_API_KEY"))}
    return {**kept, **changes}


def surroundings() -> dict[str, str]:
    """Everything that a reader needs to judge the figures, in words."""
    told = {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB",
        "data on": _file_system(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": f"{platform.python_version()}, {_how_built()}",
        "Redis": _said(str(find_server()), "--version").partition(" sha=")[0],
    }
    return {**told, **{package: version(package) for package in PACKAGES}}


def _how_built() -> str:
    # An interpreter without it is slower by a fifth or more, and only it: pixels are C's in either.
    optimised = "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
    return f"built {'with' if optimised else 'without'} profile-guided optimisation"


def _file_system() -> str:
    # Where the private servers keep their files; in memory, durability would be free.
    return _said("stat", "--file-system", "--format=%T", tempfile.gettempdir())


def _commit() -> str:
    commit = _said("git", "rev-parse", "--short=12", "HEAD")
    return f"{commit} and changes" if commit and _said("git", "status", "--porcelain", "--", "*.py") else commit


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
