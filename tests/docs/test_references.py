"""The pages about HTTP and the client are what the code says, whoever makes them and wherever."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import darkroom
from gateway.errors import TABLE
from tests.docs.pages import ROOT
from tools import client_reference, http_reference, references

REFERENCE = ROOT / "docs" / "reference"


def test_the_pages_are_up_to_date_on_every_machine(tmp_path: Path) -> None:
    elsewhere = {
        **os.environ,
        "COLUMNS": "40",
        "DARKROOM_URL": "http://elsewhere",
        "FORCE_COLOR": "1",
        "HOME": str(tmp_path),
        "PYTHONHASHSEED": "7",
        "X_API_KEY": "not one",
        "X_API_KEY_FILE": "elsewhere",
    }
    command = (sys.executable, ROOT / "tools" / "references.py", "--check")

    told = subprocess.run(command, cwd=tmp_path, env=elsewhere, capture_output=True, check=False)

    assert (told.returncode, told.stderr) == (0, b"")


@pytest.mark.parametrize("name", references.PAGES)
def test_a_page_that_differs_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    absent = references.main(["--check"], tmp_path)
    written = references.main([], tmp_path)
    same = references.main(["--check"], tmp_path)
    capsys.readouterr()
    page = tmp_path / name
    page.write_text(page.read_text() + "\n")
    changed = references.main(["--check"], tmp_path)

    assert (absent, written, same, changed) == (1, 0, 0, 1)
    assert capsys.readouterr().err == f"docs/reference/{name} differs from the code: run `make docs`\n"


def test_the_page_of_http_has_every_call_body_and_code() -> None:
    described = http_reference.document()

    page = (REFERENCE / "http.md").read_text()

    for path, item in described["paths"].items():
        for method in item:
            assert f"\n### {method.upper()} {path}\n" in page
    for name in described["components"]["schemas"]:
        assert f"\n### {name}\n" in page
    for code, rule in TABLE.items():
        assert f"| {int(rule.status)} | `{code}` | {rule.title} | {'yes' if rule.retryable else ''} |" in page


def test_the_page_of_the_client_has_every_public_name() -> None:
    page = (REFERENCE / "client.md").read_text()

    for name in darkroom.__all__:
        assert f"\n### {name}\n" in page or f"\n| `{name}` |" in page
    for method in ("submit", "wait", "classify_many", "classify_each"):
        assert f"\n#### Client.{method}\n" in page


def test_a_public_name_that_says_nothing_of_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        pass

    monkeypatch.setattr(darkroom, "Silent", Silent, raising=False)
    monkeypatch.setattr(darkroom, "__all__", ["Silent"])

    with pytest.raises(SystemExit, match="Silent has no docstring"):
        client_reference.page()


def test_a_long_call_is_broken_into_its_parameters() -> None:
    call = "async def f(self, a: int, b: str = 'x', *, c: float | None = None, **rest: Unpack[Wishes]) -> Job: ..."
    node = ast.parse(call.replace("rest", "r" * 80)).body[0]
    assert isinstance(node, ast.AsyncFunctionDef)

    lines = client_reference.signature(node, "f")

    assert lines == [
        "await f(",
        "    a: int,",
        "    b: str = 'x',",
        "    *,",
        "    c: float | None = None,",
        f"    **{'r' * 80}: Unpack[Wishes],",
        ") -> Job",
    ]
