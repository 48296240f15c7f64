"""The guards of `make check` bite: what they must refuse is planted, and they refuse it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("darkroom", "deploy", "gateway", "shared", "worker")
HASH = "--hash=sha256:" + 64 * "0"


def plant(folder: Path, line: str, *, where: str) -> None:
    """Copy the packages and the configuration into the folder, with `line` at the end of one file."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    with (folder / where).open("a") as module:
        module.write(f"\n{line}\n")


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The tool's exit status and all that it said, in that folder, on lines wide enough not to be broken."""
    env = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    both = subprocess.STDOUT
    return subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=both, text=True, check=False)


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """import-linter's verdict over the packages of that folder, not over the installed ones."""
    return run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache", cwd=folder)


def test_the_tree_as_it_stands_keeps_every_import_contract() -> None:
    verdict = lint_imports(ROOT)

    assert verdict.returncode == 0, verdict.stdout


@pytest.mark.parametrize(
    ("where", "line", "contract"),
    [
        ("gateway/config.py", "import worker", "gateway and worker are siblings"),
        ("worker/config.py", "import gateway", "gateway and worker are siblings"),
        ("shared/jobs.py", "import gateway", "gateway and worker are siblings"),
        ("darkroom/__init__.py", "import shared", "darkroom imports nothing of ours"),
        ("gateway/config.py", "import darkroom", "nothing of ours imports darkroom"),
        ("worker/config.py", "import fastapi", "HTTP stays in the gateway"),
        ("shared/jobs.py", "import fastapi", "HTTP stays in the gateway"),
        ("gateway/config.py", "import numpy", "the gateway never sees a tensor"),
        ("gateway/config.py", "import PIL.Image", "the gateway never sees a tensor"),
        ("gateway/config.py", "import redis", "Redis is known to shared.adapters alone"),
        ("worker/config.py", "import redis.asyncio", "Redis is known to shared.adapters alone"),
        ("gateway/config.py", "import celery", "Celery is known to the bell"),
        ("worker/sessions/mock.py", "import onnxruntime", "ONNX Runtime is known to one module"),
        ("gateway/config.py", "import gateway.jobs", "the gateway's layers"),
        ("worker/decoding.py", "import worker.classify", "the worker's layers"),
        ("worker/preprocessing.py", "import worker.decoding", "preprocessing is pure"),
    ],
)
def test_a_wrong_import_breaks_its_contract(tmp_path: Path, where: str, line: str, contract: str) -> None:
    plant(tmp_path, line, where=where)

    verdict = lint_imports(tmp_path)

    assert verdict.returncode == 1, verdict.stdout
    assert re.search(rf"^{contract}.* BROKEN", verdict.stdout, flags=re.MULTILINE), verdict.stdout


def test_a_print_left_behind_is_refused_by_ruff(tmp_path: Path) -> None:
    plant(tmp_path, 'print("debugging")', where="gateway/config.py")

    verdict = run(sys.executable, "-m", "ruff", "check", "--no-cache", "gateway/config.py", cwd=tmp_path)

    assert verdict.returncode == 1
    assert "T201" in verdict.stdout


def test_an_import_that_no_requirement_brings_is_refused_by_deptry(tmp_path: Path) -> None:
    plant(tmp_path, "import requests", where="gateway/config.py")

    verdict = run(sys.executable, "-m", "deptry", ".", cwd=tmp_path)

    assert verdict.returncode == 1
    assert "'requests' imported but" in verdict.stdout


def check_locks(folder: Path) -> subprocess.CompletedProcess[str]:
    """What the lock files' own check says of that folder."""
    return run(sys.executable, str(ROOT / "tools" / "check_locks.py"), str(folder), cwd=folder)


def test_the_lock_files_carry_hashes_and_no_addresses() -> None:
    verdict = check_locks(ROOT / "requirements")

    assert verdict.returncode == 0, verdict.stdout


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("dev.txt", "rich==15.0.0\n", "not pinned by version and hash"),
        ("dev.txt", f"rich>=15 {HASH}\n", "not pinned by version and hash"),
        ("dev.txt", f"--index-url https://example.test\nrich==15.0.0 {HASH}\n", "names an address"),
        ("dev.txt", f"rich==15.0.0 \\\n    {HASH}\n    # via https://example.test\n", "names an address"),
        ("dev.txt", "# nothing\n", "locks nothing"),
        ("gateway.txt", f"numpy==2.4.6 \\\n    {HASH}\n", "the gateway does without numpy"),
        ("gateway.txt", f"pillow==13.0.0 \\\n    {HASH}\n", "the gateway does without pillow"),
        ("gateway.txt", f"httpx2==2.16.2 \\\n    {HASH}\n", "the gateway does without httpx2"),
        ("worker.txt", f"fastapi==0.165.0 \\\n    {HASH}\n", "the worker does without fastapi"),
        ("client.txt", f"celery==5.7.0 \\\n    {HASH}\n", "the client does without celery"),
    ],
)
def test_a_lock_file_without_its_guarantees_is_refused(tmp_path: Path, name: str, text: str, fault: str) -> None:
    (tmp_path / name).write_text(text)

    verdict = check_locks(tmp_path)

    assert verdict.returncode == 1
    assert fault in verdict.stdout
