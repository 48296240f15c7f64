"""Write the pages of docs/reference from the code; with --check only say which of them are not up to date."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tools import cli_reference, client_reference, http_reference, settings_reference

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs" / "reference"

PAGES: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "cli.md": cli_reference.page,
        "client.md": client_reference.page,
        "http.md": lambda: http_reference.page(http_reference.document()),
        "settings.md": settings_reference.page,
    }
)


def main(arguments: Sequence[str], folder: Path = FOLDER) -> int:
    """Write or check the pages; the exit status."""
    stale = [name for name, page in PAGES.items() if _text(folder / name) != page()]
    if "--check" in arguments:
        for name in stale:
            print(f"docs/reference/{name} differs from the code: run `make docs`", file=sys.stderr)
        return 1 if stale else 0
    folder.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (folder / name).write_text(PAGES[name](), encoding="utf-8")
    return 0


def _text(page: Path) -> str | None:
    return page.read_text(encoding="utf-8") if page.is_file() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
