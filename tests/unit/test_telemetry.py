"""A log that cannot be written stops nothing."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.programs import ROOT

PROGRAM = """
import logging
import structlog
from shared import telemetry
telemetry.configure()
structlog.get_logger().info("job", job_id="job_1", what=b"bytes")
logging.getLogger("library").warning("odd")
print("still here")
"""


def run(stderr: Path) -> str:
    with stderr.open("wb") as sink:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, stderr=sink, text=True, check=True
        )
    return done.stdout


def test_events_are_one_json_line_each(tmp_path: Path) -> None:
    log = tmp_path / "log"

    run(log)

    event, warning = log.read_text(encoding="utf-8").splitlines()
    told = json.loads(event)
    assert (told["event"], told["job_id"], told["level"]) == ("job", "job_1", "info")
    # What JSON has no word for is shown, and never breaks the line.
    assert told["what"] == "b'bytes'"
    assert "odd" in warning


def test_a_full_disk_under_the_log_does_not_reach_the_work() -> None:
    assert run(Path("/dev/full")) == "still here\n"
