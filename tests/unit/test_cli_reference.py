"""The page about the command leaves nothing out."""

from pathlib import Path

from tests.support.command_line import run

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "cli.md"


def test_the_page_has_every_command_and_what_gives_the_key() -> None:
    page = PAGE.read_text()

    for line in run("--help").stdout.partition("Commands:")[2].partition("Exit status")[0].split("\n"):
        if line.strip():
            assert f"\n## `darkroom {line.split()[0]}`\n" in page
    for words in ("`X_API_KEY`", "`X_API_KEY_FILE`", "`DARKROOM_URL`", "| 5 | ", "| 130 | "):
        assert words in page
