"""The wheel: what is in it, and what it is worth to a user who installs the client alone."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from shutil import copy2

import pytest

from tests.support.programs import ROOT

SERVER_PARTS = (
    "PIL",
    "celery",
    "fastapi",
    "hiredis",
    "kombu",
    "numpy",
    "pydantic_settings",
    "redis",
    "starlette",
    "structlog",
    "uvicorn",
)
"""What gateway and worker need, and a user of the client must not have to install."""

PROGRAM = """
import darkroom
from darkroom import Classification, Client, Outcome

def labels(client: Client) -> list[str]:
    return [outcome.unwrap().predictions[0].label for outcome in client.classify_many(["cat.png"])]

def wrong(client: Client) -> int:
    return client.classify("cat.png")
"""


def run(*words: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The program's end, far from the checkout and from settings of ours."""
    unset = ("PYTHONPATH", "DARKROOM_", "COVERAGE_", "X_API_KEY")
    env = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    ended = subprocess.run(words, cwd=cwd, env={**env, "NO_COLOR": "1"}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0 or not check, ended.stdout + ended.stderr
    return ended


def pip(python: Path | str, *words: str | Path, cwd: Path) -> str:
    return run(python, "-m", "pip", "--disable-pip-version-check", *words, cwd=cwd).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what is, or would be, in the repository: nothing else that lies about may get into it."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).stdout
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            place = folder / "source" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            copy2(ROOT / name, place)
    pip(
        sys.executable,
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        folder,
        folder / "source",
        cwd=folder,
    )
    (built,) = folder.glob("darkroom-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the client's locked requirements and the wheel, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    locked = ("--require-hashes", "--only-binary", ":all:", "--requirement", ROOT / "requirements" / "client.txt")
    pip(python, "install", "--quiet", *locked, cwd=folder)
    pip(python, "install", "--quiet", "--no-deps", wheel, cwd=folder)
    return python


def names(wheel: Path) -> Sequence[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_has_the_four_packages_and_nothing_beside_them(wheel: Path) -> None:
    version = wheel.name.split("-")[1]

    assert {name.partition("/")[0] for name in names(wheel)} == {
        "darkroom",
        "gateway",
        "shared",
        "worker",
        f"darkroom-{version}.dist-info",
    }


def test_the_wheel_has_every_module_and_says_that_it_is_typed(wheel: Path) -> None:
    modules = {
        str(path.relative_to(ROOT)) for package in ("darkroom", "gateway") for path in (ROOT / package).rglob("*.py")
    }

    assert modules <= set(names(wheel))
    assert "darkroom/py.typed" in names(wheel)
    assert not [name for name in names(wheel) if name.endswith((".pyc", ".md")) or "/tests/" in name]


@pytest.mark.timeout(600)
def test_the_client_is_importable_and_its_requirements_agree(python: Path, tmp_path: Path) -> None:
    told = run(python, "-c", "import darkroom; print(darkroom.Client().classify, darkroom.__file__)", cwd=tmp_path)

    assert str(python.parent.parent) in told.stdout
    assert pip(python, "check", cwd=tmp_path) == "No broken requirements found.\n"


@pytest.mark.timeout(600)
def test_no_part_of_the_server_comes_with_the_client(python: Path, tmp_path: Path) -> None:
    finding = "import sys, importlib.util as u; print([name for name in sys.argv[1:] if u.find_spec(name)])"
    installed = {line.partition("==")[0].lower() for line in pip(python, "freeze", cwd=tmp_path).splitlines()}

    assert run(python, "-c", finding, *SERVER_PARTS, cwd=tmp_path).stdout == "[]\n"
    assert not installed & {"pillow", "pydantic-settings", *(name.lower() for name in SERVER_PARTS)}


@pytest.mark.timeout(600)
def test_importing_the_client_brings_neither_its_command_nor_pydantic(python: Path, tmp_path: Path) -> None:
    told = run(python, "-c", "import sys, darkroom; print(*sys.modules)", cwd=tmp_path).stdout.split()

    assert not {"typer", "rich", "pydantic", "pydantic_core"} & set(told)


@pytest.mark.timeout(600)
def test_the_command_helps_and_knows_when_nobody_is_there(python: Path, tmp_path: Path) -> None:
    darkroom = python.with_name("darkroom")

    helped = run(darkroom, "--help", cwd=tmp_path)
    status = run(darkroom, "status", "--url", "http://127.0.0.1:1", cwd=tmp_path, check=False)

    assert "classify" in helped.stdout
    assert (status.returncode, status.stdout) == (3, "")
    assert len(status.stderr.splitlines()) == 1
    assert "Traceback" not in status.stderr


@pytest.mark.timeout(600)
def test_a_type_checker_sees_the_installed_clients_types(python: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "--cache-dir", tmp_path / "cache")

    seen = run(*mypy, "program.py", cwd=tmp_path, check=False).stdout

    assert seen.splitlines() == [
        'program.py:9: error: Incompatible return value type (got "Classification", expected "int")  [return-value]',
        "Found 1 error in 1 file (checked 1 source file)",
    ]
