"""Every mutant still applies to the product as it is, and one that nobody notices is told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.faults.mutants import PARTS, Fate, Ruling, fate, judge, try_all
from tests.faults.mutants import a_copy as copied
from tests.faults.mutations import MUTANTS, Edit, Mutant, Promise, Stale
from tests.faults.scenario import load_all
from tests.support.programs import ROOT
from tests.support.redis_server import RedisServer

KEYS = "shared/adapters/keys.py"
EVERYBODY = frozenset({"gateway", "shared", "worker"})
TRUTH = Edit(path="shared/truth.py", old="TRUE = True", new="TRUE = False")
OF_SCRIPTS = [mutant for mutant in MUTANTS if any(edit.path == KEYS for edit in mutant.edits)]
each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
each_of_a_script = pytest.mark.parametrize("mutant", OF_SCRIPTS, ids=[mutant.name for mutant in OF_SCRIPTS])


def mutated(mutant: Mutant) -> Mapping[str, str]:
    texts: dict[str, str] = {}
    for edit in mutant.edits:
        text = texts.get(edit.path) or (ROOT / edit.path).read_text(encoding="utf-8")
        texts[edit.path] = edit.apply(text)
    return texts


def a_mutant(**changes: Any) -> Mutant:
    return Mutant(**{"name": "a mutant", "edits": (TRUTH,), "judges": ("tests/test_it.py::test_it",), **changes})


def a_ruling(**changes: Any) -> Ruling:
    return Ruling(**{"status": 1, "problems": (), "ran": EVERYBODY, "seconds": 1.0, **changes})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A product so small that it is judged in a second."""
    for part in PARTS:
        (tmp_path / part).mkdir()
        (tmp_path / part / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['.']\n", encoding="utf-8")
    (tmp_path / "shared/truth.py").write_text("TRUE = True\nTWICE = 1\nTWICE = 1\n", encoding="utf-8")
    (tmp_path / "tests/test_it.py").write_text(
        "def test_it():\n"
        "    from shared.truth import TRUE\n"
        "    assert TRUE\n"
        "def test_nothing():\n"
        "    from shared.truth import TRUE\n"
        "def test_elsewhere():\n"
        "    assert False\n",
        encoding="utf-8",
    )
    return tmp_path


@each_mutant
def test_every_edit_applies_exactly_once_and_leaves_a_program(mutant: Mutant) -> None:
    texts = mutated(mutant)

    for path, text in texts.items():
        assert text != (ROOT / path).read_text(encoding="utf-8")
        compile(text, path, "exec")


@each_of_a_script
def test_every_edited_script_is_still_one(mutant: Mutant, empty_redis: RedisServer) -> None:
    module: dict[str, Any] = {}
    exec(mutated(mutant)[KEYS], module)  # noqa: S102 - the product's own text
    scripts = [text for text in module.values() if isinstance(text, str) and "-- ARGV" in text]

    assert scripts
    with empty_redis.client() as client:
        for script in scripts:
            # An error of its own would be noticed by everybody, and prove nothing.
            client.script_load(script)


def test_every_judge_exists() -> None:
    scenarios = load_all()
    for mutant in MUTANTS:
        for name in mutant.judges:
            path, _, test = name.partition("::")
            assert name in scenarios or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), name


def test_every_mutant_has_a_name_of_its_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("old", ["TWICE = 1", "NOWHERE = 1"])
def test_an_edit_that_stands_twice_or_nowhere_is_stale(tree: Path, old: str) -> None:
    stale = Edit(path="shared/truth.py", old=old, new="")

    with pytest.raises(Stale, match=r"shared/truth\.py"), copied(tree, [stale]):
        pass

    (row,) = try_all([a_mutant(edits=(stale,))], source=tree, control=False)
    assert row.fate == Fate.STALE


def test_a_copy_goes_afterwards_and_the_tree_stays_as_it_was(tree: Path) -> None:
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}

    with copied(tree, [TRUTH]) as folder:
        assert "False" in (folder / "shared/truth.py").read_text(encoding="utf-8")

    assert not folder.exists()
    assert {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("test", "wanted"),
    [("test_it", Fate.CAUGHT), ("test_nothing", Fate.SURVIVED), ("test_elsewhere", Fate.ESCAPED)],
)
def test_a_mutant_is_caught_only_by_who_ran_its_code_and_failed(tree: Path, test: str, wanted: Fate) -> None:
    (row,) = try_all([a_mutant(judges=(f"tests/test_it.py::{test}",))], source=tree, control=False)

    assert row.fate == wanted


def test_a_judge_that_fails_on_the_product_itself_judges_no_mutant(tree: Path) -> None:
    unsound = a_mutant(name="unsound", judges=("tests/test_it.py::test_elsewhere",))

    rows = try_all([unsound, a_mutant(name="sound")], source=tree)

    assert {(row.name, row.fate) for row in rows} == {
        ("(none)", "FAILED"),
        ("(none)", "passed"),
        ("unsound", Fate.UNTRIED),
        ("sound", Fate.CAUGHT),
    }


def test_a_judge_that_passes_on_the_product_is_asked_about_the_mutant(tree: Path) -> None:
    rows = try_all([a_mutant()], source=tree)

    assert [row.fate for row in rows] == ["passed", Fate.CAUGHT]


def test_a_judge_says_which_packages_it_ran(tree: Path) -> None:
    with copied(tree) as folder:
        ruling = judge(folder, ["tests/test_it.py::test_it"])

    assert (ruling.status, ruling.ran) == (0, frozenset({"shared"}))


def test_a_scenario_must_have_run_every_program_of_the_copy() -> None:
    mutant = a_mutant(judges=("F1",), promises=(Promise.LOST,))
    said = ("1 accepted and not ended: job_1",)

    assert fate(mutant, a_ruling(problems=said)) is Fate.CAUGHT
    assert fate(mutant, a_ruling(problems=said, ran=EVERYBODY - {"worker"})) is Fate.ESCAPED


@pytest.mark.parametrize(
    ("ruling", "wanted"),
    [
        (a_ruling(status=0), Fate.SURVIVED),
        (a_ruling(problems=("duplicates is 1, more than 0",)), Fate.BROKE),
        (a_ruling(problems=()), Fate.BROKE),
        (a_ruling(status=None, problems=("1 accepted and not ended: job_1",)), Fate.BROKE),
        (a_ruling(status=2, problems=("1 accepted and not ended: job_1",)), Fate.BROKE),
    ],
)
def test_a_failure_counts_only_if_it_names_the_broken_promise(ruling: Ruling, wanted: Fate) -> None:
    assert fate(a_mutant(judges=("F1",), promises=(Promise.LOST,)), ruling) is wanted
