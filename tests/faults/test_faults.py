"""The short version of every scenario: the product, as programs, keeps its promises under each fault."""

from pathlib import Path

import pytest

from tests.faults.scenario import Run, load_all

_SCENARIOS = load_all()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", _SCENARIOS, ids=[f"{name} {one.title}" for name, one in _SCENARIOS.items()])
def test_every_accepted_job_ends_exactly_once(name: str, tmp_path: Path) -> None:
    report = _SCENARIOS[name].body(Run(seed=1, short=True, folder=tmp_path))

    assert report.problems == (), dict(report.figures)
