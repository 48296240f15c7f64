"""Scores → predictions: the threshold is a view of stored scores, so another threshold costs no inference."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A label and its confidence in 0..1."""

    label: str
    confidence: float


def select(
    labels: Sequence[str],
    scores: Sequence[float],
    *,
    threshold: float,
    top_k: int | None = None,
) -> list[Prediction]:
    """The labels whose score is at least `threshold`, by falling score, at most `top_k` of them.

    Equal scores keep the labels' order.

    Raises: ValueError when there is not one score per label.
    """
    pairs = [
        Prediction(label=label, confidence=score)
        for label, score in zip(labels, scores, strict=True)
        if score >= threshold
    ]
    pairs.sort(key=lambda prediction: -prediction.confidence)
    return pairs if top_k is None else pairs[:top_k]
