"""`python -m tests.faults.mutants`: break the product in one way after the other; somebody must notice each time.

Every mutant lives in a copy of the tree, in a folder of its own, from where its judges run: scenarios in their short
version with a fixed seed, or a test. They must fail, and say which promise was broken. They must pass first on a copy
without any mutant.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from tests.faults.mutations import MUTANTS, Edit, Mutant, Stale
from tests.support.programs import ROOT

PARTS: Final = ("darkroom", "gateway", "shared", "tests", "worker")
PROGRAMS: Final = ("gateway", "shared", "worker")
"""Packages that tell in the copy that they were run."""

SEED: Final = 1
_MOST_S: Final = 240.0
_GRACE_S: Final = 15.0
_RAN: Final = "ran.txt"
_CANARY: Final = f"\n__import__('pathlib').Path(__file__).with_name({_RAN!r}).touch()\n"
_NOT_TAKEN: Final = shutil.ignore_patterns("__pycache__", _RAN)
_OURS: Final = ("DARKROOM_", "X_API_KEY", "COVERAGE_", "COV_", "PYTEST_", "PYTHON")


class Fate(StrEnum):
    """What became of a mutant."""

    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    BROKE = "BROKE"
    """The judges failed, and not over a promise."""
    ESCAPED = "ESCAPED"
    """Other code than the copy's was run."""
    STALE = "STALE"
    """It does not apply any more."""
    UNTRIED = "UNTRIED"
    """Its judges fail on the product itself, so that they prove nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What a judge said of a copy. `ran`: the packages of the copy that were run."""

    status: int | None
    problems: tuple[str, ...]
    ran: frozenset[str]
    seconds: float
    output: str = ""


_NOTHING: Final = Ruling(status=None, problems=(), ran=frozenset(), seconds=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table."""

    name: str
    fate: str
    judges: str
    seconds: float
    said: tuple[str, ...]


@contextmanager
def a_copy(source: Path, edits: Sequence[Edit] = ()) -> Iterator[Path]:
    """A folder with the product and its tests, edited, that is gone afterwards.

    Raises: Stale where an edit does not apply.
    """
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        for part in PARTS:
            shutil.copytree(source / part, folder / part, ignore=_NOT_TAKEN)
        shutil.copy(source / "pyproject.toml", folder)
        for edit in edits:
            path = folder / edit.path
            path.write_text(edit.apply(path.read_text(encoding="utf-8")), encoding="utf-8")
        for package in PROGRAMS:
            with (folder / package / "__init__.py").open("a", encoding="utf-8") as file:
                file.write(_CANARY)
        yield folder


def judge(folder: Path, judges: Sequence[str]) -> Ruling:
    """Let these scenarios, or this test, judge the code in `folder`."""
    tests = [name for name in judges if "::" in name]
    if tests:
        options = [
            "-q",
            "-rf",
            "--tb=short",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            "--hypothesis-seed",
            str(SEED),
        ]
        command = ["pytest", *options, *tests]
    else:
        command = ["tests.faults", "--short", "--seed", str(SEED), "--scenario", ",".join(judges)]
    for package in PROGRAMS:
        (folder / package / _RAN).unlink(missing_ok=True)
    start = time.monotonic()
    status, output = _run([sys.executable, "-m", *command], folder)
    return Ruling(
        status=status,
        problems=_failed(output) if tests else _problems(output),
        ran=frozenset(package for package in PROGRAMS if (folder / package / _RAN).exists()),
        seconds=time.monotonic() - start,
        output=output,
    )


def fate(mutant: Mutant, ruling: Ruling) -> Fate:
    """What the ruling means for the mutant."""
    edited = {edit.path.partition("/")[0] for edit in mutant.edits}
    needed = edited if any("::" in name for name in mutant.judges) else {*edited, *PROGRAMS}
    if not needed <= ruling.ran:
        return Fate.ESCAPED
    if ruling.status == 0:
        return Fate.SURVIVED
    return Fate.CAUGHT if ruling.status == 1 and broken(mutant, ruling) else Fate.BROKE


def broken(mutant: Mutant, ruling: Ruling) -> tuple[str, ...]:
    """What the judges said of the promises that the mutant breaks."""
    return tuple(said for said in ruling.problems if any(re.search(promise, said) for promise in mutant.promises))


def try_all(mutants: Sequence[Mutant], *, source: Path = ROOT, control: bool = True) -> list[Row]:
    """Try one mutant after the other, and before them all of their judges on the product itself."""
    rows: list[Row] = []
    unsound = set()
    # Whoever edits the tree meanwhile edits none of the copies.
    with a_copy(source) as snapshot:
        for judges in sorted({mutant.judges for mutant in mutants}) if control else ():
            with a_copy(snapshot) as folder:
                ruling = judge(folder, judges)
            rows.append(_told("(none)", "passed" if ruling.status == 0 else "FAILED", judges, ruling))
            if ruling.status != 0:
                unsound.add(judges)
        for mutant in mutants:
            if mutant.judges in unsound:
                rows.append(_told(mutant.name, Fate.UNTRIED, mutant.judges, _NOTHING))
                continue
            try:
                with a_copy(snapshot, mutant.edits) as folder:
                    ruling = judge(folder, mutant.judges)
                ruling = replace(ruling, problems=broken(mutant, ruling) or ruling.problems)
                rows.append(_told(mutant.name, fate(mutant, ruling), mutant.judges, ruling))
            except Stale as error:
                rows.append(_told(mutant.name, Fate.STALE, mutant.judges, replace(_NOTHING, problems=(str(error),))))
    return rows


def main() -> int:
    """0 where every mutant was caught, else 1."""
    names = ", ".join(mutant.name for mutant in MUTANTS)
    parser = argparse.ArgumentParser(prog="python -m tests.faults.mutants", description=__doc__)
    parser.add_argument("--only", metavar="NAME", help=f"this one; there are {names}")
    parser.add_argument("--no-control", action="store_true", help="believe that the product itself passes")
    asked = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if asked.only in {None, mutant.name}]
    if not chosen:
        parser.error(f"no such mutant: {asked.only}")
    rows = try_all(chosen, control=not asked.no_control)
    width = max(len(row.name) for row in rows)
    sys.stdout.write(f"\n{'mutant':{width}} {'fate':8} {'seconds':>7}  judge, and what it said\n")
    for row in rows:
        said = f": {row.said[0]}" if row.said else ""
        sys.stdout.write(f"{row.name:{width}} {row.fate:8} {row.seconds:7.1f}  {row.judges}{said}\n")
    return int(any(row.fate not in {Fate.CAUGHT, "passed"} for row in rows))


def _told(name: str, fate: str, judges: Sequence[str], ruling: Ruling) -> Row:
    short = ", ".join(judge.rpartition("::")[2] for judge in judges)
    row = Row(name=name, fate=fate, judges=short, seconds=round(ruling.seconds, 1), said=ruling.problems)
    sys.stdout.write(f"{json.dumps(asdict(row))}\n")
    sys.stdout.flush()
    if fate not in {Fate.CAUGHT, "passed"}:
        sys.stderr.write(ruling.output)
    return row


def _run(command: list[str], folder: Path) -> tuple[int | None, str]:
    """Exit status, None after `_MOST_S`, and what was written."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    # Wide enough for pytest to say why.
    environ["COLUMNS"] = "500"
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=_MOST_S)
        except subprocess.TimeoutExpired:
            return None, _ended(process)
        except BaseException:
            _ended(process)
            raise
        return process.returncode, output


def _ended(process: subprocess.Popen[str]) -> str:
    """What it had written. Asked first, it ends what it has started."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    output, _ = process.communicate()
    return output


def _problems(output: str) -> tuple[str, ...]:
    """What the scenarios found, without what broke in themselves."""
    told = [json.loads(line) for line in output.splitlines() if line.startswith('{"scenario"')]
    return tuple(problem for line in told for problem in line["problems"] if not problem.startswith("it broke"))


def _failed(output: str) -> tuple[str, ...]:
    """The tests that failed, as pytest sums them up."""
    return tuple(line.removeprefix("FAILED ") for line in output.splitlines() if line.startswith("FAILED "))


if __name__ == "__main__":
    sys.exit(main())
