"""The page about the command is what the code says, whoever makes it and wherever."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.command_line import run

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "cli_reference.py"
PAGE = ROOT / "docs" / "reference" / "cli.md"


def test_the_page_is_up_to_date_on_every_machine(tmp_path: Path) -> None:
    elsewhere = {
        **os.environ,
        "COLUMNS": "40",
        "DARKROOM_URL": "http://elsewhere",
        "FORCE_COLOR": "1",
        "HOME": str(tmp_path),
        "X_API_KEY_FILE": "elsewhere",
    }

    told = subprocess.run(
        [sys.executable, TOOL, "--check"], cwd=tmp_path, env=elsewhere, capture_output=True, check=False
    )

    assert (told.returncode, told.stderr) == (0, b"")


def test_the_page_has_every_command_and_what_gives_the_key() -> None:
    page = PAGE.read_text()

    for line in run("--help").stdout.partition("Commands:")[2].partition("Exit status")[0].split("\n"):
        if line.strip():
            assert f"\n## `darkroom {line.split()[0]}`\n" in page
    for words in ("`X_API_KEY`", "`X_API_KEY_FILE`", "`DARKROOM_URL`", "| 5 | ", "| 130 | "):
        assert words in page
