"""The threshold is a view of stored scores."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.predictions import Prediction, select

LABELS = ("Mammal", "Bird", "Reptile", "Amphibian")
scores = st.lists(st.floats(0, 1), min_size=4, max_size=4)


def test_predictions_fall_and_reach_the_threshold() -> None:
    chosen = select(LABELS, (0.2, 0.5, 0.05, 0.25), threshold=0.2)

    assert chosen == [
        Prediction(label="Bird", confidence=0.5),
        Prediction(label="Amphibian", confidence=0.25),
        Prediction(label="Mammal", confidence=0.2),
    ]


def test_top_k_keeps_the_first() -> None:
    assert [p.label for p in select(LABELS, (0.2, 0.5, 0.05, 0.25), threshold=0, top_k=1)] == ["Bird"]


def test_equal_scores_keep_the_labels_order() -> None:
    assert [p.label for p in select(LABELS, (0.25,) * 4, threshold=0)] == list(LABELS)


def test_a_score_without_a_label_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        select(LABELS, (0.5, 0.5), threshold=0)


@given(scores, st.floats(0, 1), st.none() | st.integers(1, 5))
def test_a_selection_is_sorted_bounded_and_complete(values: list[float], threshold: float, top_k: int | None) -> None:
    chosen = select(LABELS, values, threshold=threshold, top_k=top_k)

    confidences = [prediction.confidence for prediction in chosen]
    assert confidences == sorted(confidences, reverse=True)
    assert all(confidence >= threshold for confidence in confidences)
    expected = sum(value >= threshold for value in values)
    assert len(chosen) == min(expected, top_k or expected)
