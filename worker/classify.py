"""One job from its picture to its outcome."""

from collections.abc import Callable
from time import perf_counter
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import structlog

from shared.errors import (
    DarkroomError,
    DecoderCrashed,
    DecodeTimeout,
    FatalError,
    InferenceFailed,
    InternalError,
    OutOfMemory,
    TooLarge,
    TransientError,
)
from shared.jobs import Answer, Claim, Failure, Outcome, Setback, Timings
from shared.payloads import decode_base64
from worker.decoding import decode
from worker.isolation import Decoded, DecoderUnavailable
from worker.preprocessing import Mode, preprocess, standardise
from worker.sessions import InferenceSession

Decode: TypeAlias = Callable[[bytes], Decoded]
"""What a `Decoder` does."""

log = structlog.get_logger()

_REPEATS: Final = MappingProxyType({DecodeTimeout: 1, DecoderCrashed: 1, OutOfMemory: 1, TransientError: 2})
"""What may pass, and how often it is tried again: once where it costs a decoder and the picture is the likely cause."""

_PIXEL: Final = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
"""One transparent pixel, as a GIF in base64."""


def warm_up(session: InferenceSession, decoder: Decode) -> None:
    """Go the whole way once, so that no job pays for what is loaded late."""
    session.run(standardise(decoder(decode_base64(_PIXEL)).pixels))


def decode_and_preprocess(base64_str: str, *, mode: Mode = "exact") -> npt.NDArray[np.float32]:
    """What a job does to its picture, for a picture in base64; of the two modes the worker's setting chooses.

    Returns: float32 of shape (1, 3, 224, 224), channels first, RGB, standardised.
    Raises: InvalidBase64, and what `decode` and `preprocess` raise.
    """
    return preprocess(decode(decode_base64(base64_str), mode=mode), mode=mode)


def classify(claim: Claim, session: InferenceSession, decoder: Decode) -> Outcome:
    """Work on a job. Whatever goes wrong with it is a Failure or a Setback.

    Raises: DecoderUnavailable, the worker's own trouble.
    """
    try:
        return _answer(claim, session, decoder)
    except DecoderUnavailable:
        raise
    except DarkroomError as error:
        return _outcome(error)
    except MemoryError:
        return _outcome(OutOfMemory("Classifying the image needs more memory than a worker has."))
    except (Exception, SystemExit):
        # Ours to mend, and the outcome has no room for the traceback.
        log.exception("inference failed", job_id=claim.spec.id)
        return _outcome(InferenceFailed("The model failed on the image."))


def _answer(claim: Claim, session: InferenceSession, decoder: Decode) -> Answer:
    if claim.image is None:
        raise InternalError("The picture is no longer in the store.")
    start = perf_counter()
    decoded = decoder(claim.image)
    received = perf_counter()
    tensor = standardise(decoded.pixels)
    preprocessed = perf_counter()
    scores = session.run(tensor)
    end = perf_counter()
    resized_s = decoded.resize_ms / 1000
    return Answer(
        scores=scores,
        timings=Timings(
            fetch_ms=round(claim.fetch_ms, 3),
            # The way to the decoder and back counts as decoding.
            decode_ms=_ms(start, received - resized_s),
            preprocess_ms=_ms(received - resized_s, preprocessed),
            predict_ms=_ms(preprocessed, end),
            latency_ms=_ms(start, end),
        ),
    )


def _outcome(error: DarkroomError) -> Failure | Setback:
    failure = Failure(
        code=error.code,
        detail=error.detail,
        limit=error.limit if isinstance(error, TooLarge) else None,
        actual=error.actual if isinstance(error, TooLarge) else None,
        dead=isinstance(error, (*_REPEATS, FatalError)),
    )
    repeats = next((times for kind, times in _REPEATS.items() if isinstance(error, kind)), 0)
    return Setback(failure=failure, repeats=repeats) if repeats else failure


def _ms(start: float, end: float) -> float:
    return round((end - start) * 1000, 3)
