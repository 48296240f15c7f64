"""What an answer has to be: near the bare loop's at first, and the same to the letter from then on."""

import json
from typing import Final

from benchmarks.load import WrongAnswer

_NEAR: Final = {True: 1e-4, False: 0.1}
"""How far a confidence may be from the bare loop's, in exact mode and in fast mode."""

CLEAR: Final = 0.05
"""A best label that leads by more is one that fast mode may not change."""

_LATENCY: Final = '"latency_ms"'


def expect(first: str, bare: str, *, exact: bool) -> str:
    """What every later answer to the same picture starts with: all of the first but its latency.

    Raises: WrongAnswer where its best label, or any of its confidences, is not the bare loop's.
    """
    theirs, ours = _confidences(bare), _confidences(first)
    if ours.keys() != theirs.keys() or list(ours.values()) != sorted(ours.values(), reverse=True):
        raise WrongAnswer(f"the answer is {first!r}, the bare loop's is {bare!r}")
    best, second = sorted(theirs, key=theirs.__getitem__, reverse=True)[:2]
    clear = exact or theirs[best] - theirs[second] > CLEAR
    far = max(abs(ours[label] - theirs[label]) for label in theirs)
    if (clear and next(iter(ours)) != best) or far > _NEAR[exact]:
        raise WrongAnswer(f"the answer {first!r} is too far from the bare loop's {bare!r}")
    return first[: first.index(_LATENCY)]


def _confidences(answer: str) -> dict[str, float]:
    try:
        return {item["label"]: item["confidence"] for item in json.loads(answer)["predictions"]}
    except (ValueError, KeyError, TypeError) as error:
        raise WrongAnswer(f"no classification: {answer!r}") from error
