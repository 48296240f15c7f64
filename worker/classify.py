"""One job from its picture to its outcome."""

from time import perf_counter
from typing import Final

import numpy as np
import numpy.typing as npt
import structlog

from shared.errors import DarkroomError, InferenceFailed, InternalError, OutOfMemory, TooLarge
from shared.jobs import Answer, Claim, Failure, Outcome, Timings
from shared.payloads import decode_base64
from worker.decoding import decode
from worker.preprocessing import Mode, preprocess
from worker.sessions import InferenceSession

log = structlog.get_logger()

_PIXEL: Final = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
"""One transparent pixel, as a GIF in base64."""


def warm_up(session: InferenceSession) -> None:
    """Go the whole way once, so that no job pays for what libraries load late."""
    session.run(decode_and_preprocess(_PIXEL))


def decode_and_preprocess(base64_str: str, *, mode: Mode = "exact") -> npt.NDArray[np.float32]:
    """What a job does to its picture, for a picture in base64.

    Returns: float32 of shape (1, 3, 224, 224), channels first, RGB, standardised.
    Raises: InvalidBase64, and what `decode` and `preprocess` raise.
    """
    return preprocess(decode(decode_base64(base64_str)), mode=mode)


def classify(claim: Claim, session: InferenceSession) -> Outcome:
    """Work on a job. Never raises: whatever goes wrong is a Failure."""
    try:
        return _answer(claim, session)
    except DarkroomError as error:
        return _failure(error)
    except MemoryError:
        return _failure(OutOfMemory("Classifying the image needs more memory than a worker has."))
    except Exception:
        # Ours to mend, and the outcome has no room for the traceback.
        log.exception("inference failed", job_id=claim.spec.id)
        return _failure(InferenceFailed("The model failed on the image."))


def _answer(claim: Claim, session: InferenceSession) -> Answer:
    if claim.image is None:
        raise InternalError("The picture is no longer in the store.")
    start = perf_counter()
    image = decode(claim.image)
    decoded = perf_counter()
    tensor = preprocess(image)
    preprocessed = perf_counter()
    scores = session.run(tensor)
    end = perf_counter()
    return Answer(
        scores=scores,
        timings=Timings(
            fetch_ms=round(claim.fetch_ms, 3),
            decode_ms=_ms(start, decoded),
            preprocess_ms=_ms(decoded, preprocessed),
            predict_ms=_ms(preprocessed, end),
            latency_ms=_ms(start, end),
        ),
    )


def _failure(error: DarkroomError) -> Failure:
    if isinstance(error, TooLarge):
        return Failure(code=error.code, detail=error.detail, limit=error.limit, actual=error.actual)
    return Failure(code=error.code, detail=error.detail)


def _ms(start: float, end: float) -> float:
    return round((end - start) * 1000, 3)
