"""`python -m tests.faults`: put the faults to the product, print a JSON line and a row of a table for each."""

import argparse
import json
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.faults.scenario import Report, Run, Scenario, load_all


def main() -> int:
    """0 where every scenario passed, else 1."""
    scenarios = load_all()
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"{one.name:4} {one.title}" for one in scenarios.values()),
    )
    parser.add_argument("--scenario", metavar="F1,F2", help="only these, see below")
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes for each")
    parser.add_argument("--seed", type=int, default=1, help="what the dice start from (1)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep logs and files here, a folder for each")
    asked = parser.parse_args()
    names = asked.scenario.upper().split(",") if asked.scenario else list(scenarios)
    unknown = [name for name in names if name not in scenarios]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}")
    rows = []
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        for name in names:
            folder = (asked.keep or Path(scratch)) / name
            folder.mkdir(parents=True, exist_ok=True)
            rows.append(_run(scenarios[name], Run(seed=asked.seed, short=asked.short, folder=folder)))
    width = max(len(scenarios[name].title) for name in names)
    sys.stdout.write(f"\n{'':4} {'':{width}} {'seconds':>7}  result\n")
    for name, seconds, report in rows:
        result = "ok" if not report.problems else "; ".join(report.problems)
        sys.stdout.write(f"{name:4} {scenarios[name].title:{width}} {seconds:7.1f}  {result}\n")
    return int(any(report.problems for _, _, report in rows))


def _run(scenario: Scenario, run: Run) -> tuple[str, float, Report]:
    start = time.monotonic()
    try:
        report = scenario.body(run)
    except Exception as error:  # noqa: BLE001 - one that breaks must not hide the others
        traceback.print_exc()
        report = Report(figures={}, problems=(f"it broke: {error}",))
    seconds = time.monotonic() - start
    line = {
        "scenario": scenario.name,
        "seed": run.seed,
        "short": run.short,
        "seconds": round(seconds, 1),
        "ok": not report.problems,
        **report.figures,
        "problems": report.problems,
    }
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()
    return scenario.name, seconds, report


if __name__ == "__main__":
    sys.exit(main())
