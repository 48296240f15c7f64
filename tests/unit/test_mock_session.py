import subprocess
import sys
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shared.manifest import MOCK
from tests.support.pictures import a_photograph
from worker.preprocessing import preprocess
from worker.sessions import InferenceSession
from worker.sessions.mock import MockSession

IN_ANOTHER_PROCESS = """
from tests.support.pictures import a_photograph
from worker.preprocessing import preprocess
from worker.sessions.mock import MockSession
print([MockSession().run(preprocess(a_photograph(seed))) for seed in range(20)])
"""


def scores_of(picture: Image.Image) -> tuple[float, ...]:
    return MockSession().run(preprocess(picture))


def test_there_is_a_confidence_per_label_and_they_add_up_to_one() -> None:
    session: InferenceSession = MockSession()

    scores = session.run(preprocess(a_photograph()))

    assert session.manifest == MOCK
    assert len(scores) == len(MOCK.labels)
    assert sum(scores) == pytest.approx(1, abs=1e-5)


def test_scores_are_plain_numbers_of_six_decimals() -> None:
    scores = scores_of(a_photograph())

    assert all(type(score) is float for score in scores)
    assert all(score == round(score, 6) for score in scores)


def test_another_process_gives_the_same_scores() -> None:
    here = [scores_of(a_photograph(seed)) for seed in range(20)]

    there = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS], check=True, capture_output=True, text=True
    ).stdout

    assert there.strip() == repr(here)


def test_the_formula_stays_what_it_was() -> None:
    grey = np.zeros((1, 3, 224, 224), dtype=np.float32)
    ramp = np.linspace(-2, 2, 224, dtype=np.float32) * np.ones((1, 3, 224, 1), dtype=np.float32)

    assert MockSession().run(grey) == (0.25, 0.25, 0.25, 0.25)
    assert MockSession().run(ramp) == pytest.approx((0.026768, 0.740298, 0.230692, 0.002243), abs=2e-6)


def test_photographs_have_a_clear_winner_and_each_label_wins_somewhere() -> None:
    scores = [scores_of(a_photograph(seed)) for seed in range(60)]

    winners = Counter(row.index(max(row)) for row in scores)
    clear = sum(max(row) > 0.5 for row in scores)
    assert set(winners) == {0, 1, 2, 3}
    assert clear > len(scores) / 2


@given(st.integers(0, 50), st.integers(0, 216), st.integers(0, 216), st.integers(0, 2))
def test_one_small_visible_detail_changes_the_scores(seed: int, x: int, y: int, channel: int) -> None:
    tensor = preprocess(a_photograph(seed))
    changed = tensor.copy()
    changed[0, channel, y : y + 8, x : x + 8] += 0.7

    assert MockSession().run(changed) != MockSession().run(tensor)


def test_a_detail_that_moves_within_a_cell_changes_the_scores() -> None:
    def with_a_dot_at(x: int) -> Image.Image:
        picture = Image.new("RGB", (224, 224), "grey")
        picture.paste("red", (x, 40, x + 4, 44))
        return picture

    assert len({scores_of(with_a_dot_at(x)) for x in range(32, 60, 4)}) == 7


def a_tensor_of(value: float) -> npt.NDArray[np.float32]:
    return np.full((1, 3, 224, 224), value, dtype=np.float32)


def a_checkerboard() -> npt.NDArray[np.float32]:
    return np.where(np.indices((1, 3, 224, 224)).sum(axis=0) % 2, 2.7, -2.2).astype(np.float32)


@pytest.mark.parametrize(
    "tensor",
    [
        a_tensor_of(-2.2),
        a_tensor_of(2.7),
        a_checkerboard(),
        a_tensor_of(3e38),
        a_tensor_of(-3e38),
        a_tensor_of(float("inf")),
        a_tensor_of(float("-inf")),
        a_tensor_of(float("nan")),
    ],
)
def test_the_most_extreme_input_has_confidences_between_0_and_1(tensor: npt.NDArray[np.float32]) -> None:
    scores = MockSession().run(tensor)

    assert all(0 <= score <= 1 for score in scores)
    assert sum(scores) == pytest.approx(1, abs=1e-5)
