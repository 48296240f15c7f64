"""Check that lock files pin each package by hash and name no address, and that none carries another side's."""

import re
import sys
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent.parent / "requirements"

ABSENT: Final = {
    "gateway": {"numpy", "pillow", "onnxruntime", "httpx2", "typer"},
    "worker": {"fastapi", "uvicorn", "starlette", "httpx2", "typer"},
    "client": {"fastapi", "celery", "redis", "numpy", "pillow"},
}
"""What each side must do without."""


def faults(name: str, text: str) -> list[str]:
    """What is wrong with one lock file, a sentence each."""
    found = [f"{name}:{number}: names an address" for number, line in enumerate(text.splitlines(), 1) if "://" in line]
    # A backslash joins a package and its hashes into one logical line.
    entries = [
        line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    for entry in entries:
        package = re.match(r"([A-Za-z0-9._-]+)(\[[^\]]*\])?==\S+ ", entry)
        if package is None or " --hash=sha256:" not in entry:
            found.append(f"{name}: `{entry.split(' ')[0]}` is not pinned by version and hash")
        elif package[1].lower() in ABSENT.get(name.removesuffix(".txt"), ()):
            found.append(f"{name}: the {name.removesuffix('.txt')} does without {package[1]}")
    if not entries:
        found.append(f"{name}: locks nothing")
    return found


def main(folder: Path) -> int:
    """Check every lock file of the folder; the exit status."""
    locks = sorted(folder.glob("*.txt"))
    found = [fault for lock in locks for fault in faults(lock.name, lock.read_text())]
    if not locks:
        found = [f"{folder} holds no lock file"]
    print("\n".join(found or [f"{len(locks)} lock files: pinned by hash, no addresses"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if sys.argv[1:] else FOLDER))
