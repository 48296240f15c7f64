"""The short versions of the scenarios that find most: the product, as programs, keeps its promises under each fault.

How long things take is for `make chaos` to judge, on a machine that does nothing else meanwhile.
"""

from pathlib import Path
from typing import Final

import pytest

from tests.faults.scenario import Run, load_all

_SCENARIOS = load_all()
_CHOSEN: Final = ("F1", "F2", "F3", "F6", "F7", "F8", "F11", "F16", "F26", "F30", "F31")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", _CHOSEN, ids=[f"{name} {_SCENARIOS[name].title}" for name in _CHOSEN])
def test_every_accepted_job_ends_exactly_once(name: str, tmp_path: Path) -> None:
    report = _SCENARIOS[name].body(Run(seed=1, short=True, folder=tmp_path))

    broken = [problem for problem in report.problems if problem not in report.late]
    assert broken == [], dict(report.figures)
