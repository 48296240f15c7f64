import base64
from dataclasses import replace
from time import perf_counter
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pytest
from structlog.testing import capture_logs

from shared.errors import (
    BrokerUnavailable,
    DarkroomError,
    DecoderCrashed,
    DecodeTimeout,
    InternalError,
    InvalidBase64,
    InvalidImage,
    OutOfMemory,
    UnsupportedImageFormat,
)
from shared.jobs import Answer, Claim, Failure, Setback
from shared.manifest import MOCK
from shared.payloads import too_many_pixels
from tests.support.jobs import a_spec
from tests.support.pictures import a_picture, a_png, encoded
from worker.classify import Decode, classify, decode_and_preprocess, warm_up
from worker.decoding import decode
from worker.isolation import Decoded, DecoderUnavailable
from worker.preprocessing import preprocess, resize
from worker.sessions.mock import MockSession


def a_claim(image: bytes | None) -> Claim:
    return Claim(spec=a_spec(), token="w1/1", attempt=1, image=image, created_us=0, fetch_ms=0.12345)


def in_process(image: bytes) -> Decoded:
    """What a decoder does, without one."""
    return Decoded(pixels=resize(decode(image)), decode_ms=0.001, resize_ms=0.001)


def raising(error: BaseException) -> Decode:
    def decoder(_: bytes) -> NoReturn:
        raise error

    return decoder


class BrokenSession:
    manifest = MOCK

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def run(self, tensor: npt.NDArray[np.float32]) -> NoReturn:
        raise self.error


def test_base64_and_bytes_go_the_same_way() -> None:
    image = encoded(a_picture(), "JPEG")

    tensor = decode_and_preprocess(base64.b64encode(image).decode())

    assert np.array_equal(tensor, preprocess(decode(image)))


def test_decode_and_preprocess_raises_the_error_of_the_step_that_failed() -> None:
    with pytest.raises(InvalidBase64):
        decode_and_preprocess("not base64")
    with pytest.raises(InvalidImage):
        decode_and_preprocess("")
    with pytest.raises(ValueError, match="mode"):
        decode_and_preprocess(base64.b64encode(encoded(a_picture())).decode(), mode="slow")  # type: ignore[arg-type]


def test_a_good_picture_is_answered_with_a_score_per_label() -> None:
    image = encoded(a_picture())

    outcome = classify(a_claim(image), MockSession(), in_process)

    assert isinstance(outcome, Answer)
    assert outcome.scores == MockSession().run(preprocess(decode(image)))


def test_the_steps_add_up_to_the_latency_in_thousandths_of_a_millisecond() -> None:
    outcome = classify(a_claim(encoded(a_picture(300, 200))), MockSession(), in_process)

    assert isinstance(outcome, Answer)
    timings = outcome.timings
    steps = (timings.decode_ms, timings.preprocess_ms, timings.predict_ms)
    assert all(step > 0 for step in steps)
    assert timings.latency_ms == pytest.approx(sum(steps), abs=0.003)
    assert timings.fetch_ms == 0.123
    assert all(step == round(step, 3) for step in (*steps, timings.latency_ms))


def test_resizing_is_no_part_of_decoding_although_the_decoder_does_both() -> None:
    def decoder(image: bytes) -> Decoded:
        end = perf_counter() + 0.02
        while perf_counter() < end:
            pass
        return replace(in_process(image), resize_ms=20)

    outcome = classify(a_claim(encoded(a_picture())), MockSession(), decoder)

    assert isinstance(outcome, Answer)
    assert outcome.timings.preprocess_ms >= 20
    assert outcome.timings.decode_ms <= outcome.timings.latency_ms - 20


def test_a_bad_picture_fails_with_its_code_and_sentence() -> None:
    outcome = classify(a_claim(b"BM"), MockSession(), in_process)

    assert outcome == Failure(code="invalid-image", detail="The bytes start like a BMP and do not decode as one.")


def test_a_picture_too_large_fails_with_limit_and_actual() -> None:
    outcome = classify(a_claim(a_png(10_000, 6000, (b"IDAT", b""))), MockSession(), in_process)

    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.limit, outcome.actual) == ("image-too-large", 50_000_000, 60_000_000)


def test_a_picture_that_the_store_lost_is_our_fault() -> None:
    outcome = classify(a_claim(None), MockSession(), in_process)

    assert isinstance(outcome, Failure)
    assert outcome.code == InternalError.code


def test_a_model_that_breaks_is_inference_failed_and_told_in_the_log() -> None:
    claim = a_claim(encoded(a_picture()))

    with capture_logs() as lines:
        outcome = classify(claim, BrokenSession(ZeroDivisionError("inside")), in_process)

    assert isinstance(outcome, Failure)
    assert outcome.code == "inference-failed"
    assert "inside" not in outcome.detail
    assert [(line["event"], line["job_id"]) for line in lines] == [("inference failed", claim.spec.id)]


def test_a_model_without_memory_is_a_setback() -> None:
    outcome = classify(a_claim(encoded(a_picture())), BrokenSession(MemoryError()), in_process)

    assert isinstance(outcome, Setback)
    assert outcome.failure.code == "out-of-memory"


@pytest.mark.parametrize(
    ("error", "repeats"),
    [
        (DecodeTimeout("Too long."), 1),
        (OutOfMemory("Too much."), 1),
        (DecoderCrashed("Gone."), 1),
        (BrokerUnavailable("Away."), 2),
    ],
)
def test_what_may_pass_is_a_setback_and_at_last_a_dead_letter(error: DarkroomError, repeats: int) -> None:
    outcome = classify(a_claim(b"BM"), MockSession(), raising(error))

    failure = Failure(code=error.code, detail=error.detail, dead=True)
    assert outcome == Setback(failure=failure, repeats=repeats)


def test_a_worker_without_a_decoder_blames_no_picture() -> None:
    with pytest.raises(DecoderUnavailable):
        classify(a_claim(b"BM"), MockSession(), raising(DecoderUnavailable("None.")))


@pytest.mark.parametrize("error", [InvalidImage("No."), UnsupportedImageFormat("No."), too_many_pixels(60_000_000)])
def test_the_callers_fault_is_final_and_no_dead_letter(error: DarkroomError) -> None:
    outcome = classify(a_claim(b"BM"), MockSession(), raising(error))

    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.detail, outcome.dead) == (error.code, error.detail, False)


@pytest.mark.parametrize("error", [InternalError("Ours."), ZeroDivisionError("inside")])
def test_our_fault_is_final_and_a_dead_letter(error: Exception) -> None:
    outcome = classify(a_claim(b"BM"), MockSession(), raising(error))

    assert isinstance(outcome, Failure)
    assert outcome.dead


@pytest.mark.parametrize("error", [SystemExit(), RecursionError(), AssertionError(), StopIteration()])
def test_a_model_may_raise_what_it_likes(error: BaseException) -> None:
    outcome = classify(a_claim(encoded(a_picture())), BrokenSession(error), in_process)

    assert isinstance(outcome, Failure)
    assert outcome.code == "inference-failed"


def test_an_order_from_the_keyboard_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        classify(a_claim(encoded(a_picture())), BrokenSession(KeyboardInterrupt()), in_process)


def test_warming_up_through_a_decoder_uses_it() -> None:
    seen = []

    def decoder(image: bytes) -> Decoded:
        seen.append(image)
        return in_process(image)

    warm_up(MockSession(), decoder)

    assert len(seen) == 1


def test_warming_up_goes_the_whole_way_so_that_a_broken_model_shows_before_the_first_job() -> None:
    warm_up(MockSession(), in_process)

    with pytest.raises(ValueError, match="weights"):
        warm_up(BrokenSession(ValueError("weights")), in_process)
