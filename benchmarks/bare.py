"""The floor: the work itself in one loop, without server, queue or second process, as one writes it down at first.

A program that takes orders: `{"bodies": [PATH, …], "pictures": N, "seconds": S}`, each path a request's body; with
`"answers": true` it answers each once instead.
"""

import base64
import json
import sys
import time
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.apart import take_orders
from worker.sessions.mock import MockSession

MEAN: Final = np.array((0.485, 0.456, 0.406), np.float32)
STD: Final = np.array((0.229, 0.224, 0.225), np.float32)

FORGETFUL: Final = "--forgetful"
"""Gives what it frees back to the system, as a process does that has held nothing large yet."""

_LARGEST: Final = 31 * 1024 * 1024


def tensor(image_base64: str) -> npt.NDArray[np.float32]:
    """The plain formula, from base64 to float32 of shape (1, 3, 224, 224)."""
    image = base64.b64decode(image_base64)
    picture = Image.open(BytesIO(image)).convert("RGB").resize((224, 224))
    pixels = np.asarray(picture, np.float32) / 255
    return np.ascontiguousarray(((pixels - MEAN) / STD).transpose(2, 0, 1)[None])


def answer(body: str, session: MockSession) -> str:
    """A request's body in, an answer's body out: every label and its confidence, in the labels' order."""
    payload = json.loads(body)
    start = time.perf_counter()
    scores = session.run(tensor(payload["image_base64"]))
    predictions = [
        {"label": label, "confidence": score}
        for label, score in zip(session.manifest.labels, scores, strict=True)
        if score >= payload["confidence_threshold"]
    ]
    return json.dumps({"predictions": predictions, "latency_ms": (time.perf_counter() - start) * 1000})


def obey(order: dict[str, Any]) -> dict[str, Any]:
    """Work through the bodies in turn, so many times and no longer than so many seconds.

    Returns: `cpu_s`, the processor time of one; `pictures`, how many there were.
    """
    session = MockSession()
    bodies = [_text(path) for path in order["bodies"]]
    if order.get("answers"):
        return {"answers": [answer(body, session) for body in bodies]}
    answer(bodies[-1], session)
    done = 0
    end = time.monotonic() + order["seconds"]
    start = time.process_time()
    while done < order["pictures"] and (done == 0 or time.monotonic() < end):
        answer(bodies[done % len(bodies)], session)
        done += 1
    return {"cpu_s": (time.process_time() - start) / done, "pictures": done}


def keep_what_is_freed() -> None:
    """Let glibc keep freed memory, as it does in every process that has once held something large.

    Without this a floor would cost a fifth more until the first large picture, and less from then on.
    """
    # The largest that moves its thresholds. Source: mallopt(3), DEFAULT_MMAP_THRESHOLD_MAX.
    np.ones(_LARGEST, np.uint8)


@cache
def _text(path: str) -> str:
    return Path(path).read_text(encoding="ascii")


if __name__ == "__main__":
    if FORGETFUL not in sys.argv:
        keep_what_is_freed()
    take_orders(obey)
