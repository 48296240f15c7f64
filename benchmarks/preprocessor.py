"""The service's preprocessing against the plain formula, in one process of its own, picture by picture in turn.

A program that takes orders: `{"images": [PATH, …], "mode": MODE, "times": N}`, or `{"photograph": I, "crops": N}`.
"""

import base64
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import pictures
from benchmarks.apart import take_orders
from benchmarks.bare import keep_what_is_freed, tensor
from benchmarks.expectation import CLEAR
from worker.classify import decode_and_preprocess
from worker.sessions.mock import MockSession

_LARGE: Final = (2400, 1800)
_SIDES: Final = (900, 1150)
"""Of a crop, in pixels. Below twice 448 both ways decode alike."""


def compare(order: dict[str, Any]) -> dict[str, float]:
    """Both ways for every picture, so many times.

    Returns: `plain_s` and `mode_s`, processor time for a picture; `most` and `mean`, how far the tensors are apart.
    """
    texts = [base64.b64encode(Path(path).read_bytes()).decode() for path in order["images"]]
    plain_s = mode_s = 0.0
    apart = []
    for text in texts * order["times"]:
        start = time.process_time()
        plain = tensor(text)
        middle = time.process_time()
        ours = decode_and_preprocess(text, mode=order["mode"])
        mode_s += time.process_time() - middle
        plain_s += middle - start
        apart.append(np.abs(plain - ours))
    return {
        "plain_s": plain_s / len(apart),
        "mode_s": mode_s / len(apart),
        "most": float(max(one.max() for one in apart)),
        "mean": float(np.mean([one.mean() for one in apart])),
    }


def crop(order: dict[str, Any]) -> dict[str, int]:
    """Classify crops of one photograph, made large, in exact and in fast mode.

    Returns: `crops`; `clear`, how many have a best label that leads by more than `CLEAR`; `flips`, how many of these
    have another best label in fast mode.
    """
    random = np.random.default_rng(order["photograph"])
    photograph = pictures.photographs()[order["photograph"]]
    large = pictures.grained(pictures.cropped(photograph, *_LARGE), random)
    session = MockSession()
    clear = flips = 0
    for _ in range(order["crops"]):
        width, height = (int(side) for side in random.integers(*_SIDES, 2))
        left, top = int(random.integers(0, _LARGE[0] - width)), int(random.integers(0, _LARGE[1] - height))
        picture = large.crop((left, top, left + width, top + height))
        text = base64.b64encode(pictures.encoded(picture, "JPEG", int(random.integers(60, 96)))).decode()
        exact = session.run(decode_and_preprocess(text, mode="exact"))
        second, best = sorted(exact)[-2:]
        if best - second > CLEAR:
            fast = session.run(decode_and_preprocess(text, mode="fast"))
            clear += 1
            flips += int(np.argmax(fast) != np.argmax(exact))
    return {"crops": order["crops"], "clear": clear, "flips": flips}


if __name__ == "__main__":
    keep_what_is_freed()
    take_orders(lambda order: crop(order) if "crops" in order else compare(order))
