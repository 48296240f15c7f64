"""Measure what Darkroom costs, write the results and the page docs/performance.md; or only a part, and print it."""

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks import programs, report, results, stack
from benchmarks.apart import Failed
from benchmarks.bench import Bench, Effort
from benchmarks.figures import http
from benchmarks.load import WrongAnswer
from benchmarks.parts import PARTS, Part
from benchmarks.pictures import KINDS, NoPhotographs
from benchmarks.processes import Replaced
from benchmarks.results import LATEST, Figure, Results
from benchmarks.surroundings import surroundings

QUICK: Final = Effort(rounds=2, share=0.3)

_MOST_S: Final = 15 * 60


class TooLong(Exception):
    """It has taken longer than it should; the machine is too busy for figures."""


def main(arguments: Sequence[str] | None = None, parts: Mapping[str, Part] = PARTS) -> int:
    """Do what the command line asks.

    Returns: the exit status, 1 where something was measured that does not count.
    """
    asked = _parser().parse_args(arguments)
    if asked.list:
        print("\n".join(f"{name:12} {part.title}" for name, part in parts.items()))
        return 0
    if asked.parts == ["report"]:
        return _report(asked.output or LATEST)
    unknown = [part for part in asked.parts if part not in parts]
    if unknown:
        print(f"there is no part {', '.join(unknown)}; there are {', '.join(parts)}, and report", file=sys.stderr)
        return 2
    try:
        _measure(asked, {name: parts[name] for name in asked.parts or parts})
    except (WrongAnswer, Replaced, Failed, stack.NotReady, programs.NotReady, NoPhotographs, TooLong) as error:
        print(f"nothing of this run counts: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped: nothing of this run counts", file=sys.stderr)
        return 130
    return 0


def _report(path: Path) -> int:
    try:
        report.write(results.load(path))
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def _measure(asked: argparse.Namespace, parts: Mapping[str, Part]) -> None:
    start = time.monotonic()
    usual = QUICK if asked.quick else Effort()
    effort = replace(usual, rounds=asked.rounds or usual.rounds)
    figures = []
    with Bench(effort) as bench:
        for figure in _figures(bench, asked, parts):
            print(f"{time.monotonic() - start:5.0f} s  {figure.part}: {report.said(figure)}", flush=True)
            if figure.part == http.PART:
                print(f"         {_parts(figure)}", flush=True)
            figures.append(figure)
            if time.monotonic() - start > _MOST_S:
                raise TooLong(f"it has taken longer than {_MOST_S} s")
    measured = Results(surroundings=surroundings(), seconds=time.monotonic() - start, figures=figures)
    if asked.output:
        results.save(measured, asked.output)
    elif not any((asked.parts, asked.quick, asked.rounds, asked.pictures, asked.connections, asked.mode)):
        results.save(measured, LATEST)
        report.write(results.load(LATEST))


def _figures(bench: Bench, asked: argparse.Namespace, parts: Mapping[str, Part]) -> Iterator[Figure]:
    for name, part in parts.items():
        if name == http.PART and (asked.quick or asked.pictures or asked.connections or asked.mode):
            yield from http.measure(bench, cases=[_case(asked)])
        else:
            yield from part.measure(bench)


def _case(asked: argparse.Namespace) -> http.Case:
    usual = http.CASES[0]
    case = http.Case(
        pictures=asked.pictures or usual.pictures,
        connections=asked.connections or usual.connections,
        mode=asked.mode or usual.mode,
    )
    # One that has a goal keeps it.
    return next((known for known in http.CASES if known.name == case.name), case)


def _parts(figure: Figure) -> str:
    names = [name for name in figure.rounds[0] if name.endswith("_s") and name not in {"floor_s", "cpu_s"}]
    shares = (f"{name[:-2]} {figure.middle(name) / figure.middle('floor_s'):.3f}" for name in names)
    return f"{', '.join(shares)}; bare loop {figure.middle('floor_s') * 1000:.2f} ms"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="only these; `report` writes the page, and measures nothing"
    )
    parser.add_argument("--list", action="store_true", help="name the parts")
    parser.add_argument("--rounds", type=_positive, help=f"how many rounds, {Effort().rounds} unless said")
    parser.add_argument(
        "--quick", action="store_true", help="short rounds, two of them, one case of http: a first look"
    )
    parser.add_argument("--pictures", choices=KINDS, help="http: pictures of this size")
    parser.add_argument("--connections", type=_positive, help="http: how many callers at a time")
    parser.add_argument("--mode", choices=("fast", "exact"), help="http: how workers preprocess")
    parser.add_argument("--output", type=Path, help="the file of results to write, or for `report` to read")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a number from 1 on is wanted")
    return number


if __name__ == "__main__":
    # Folders and programs end as by Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
