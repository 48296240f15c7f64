import base64
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pytest
from structlog.testing import capture_logs

from shared.errors import InternalError, InvalidBase64, InvalidImage
from shared.jobs import Answer, Claim, Failure
from shared.manifest import MOCK
from tests.support.jobs import a_spec
from tests.support.pictures import a_picture, a_png, encoded
from worker.classify import classify, decode_and_preprocess, warm_up
from worker.decoding import decode
from worker.preprocessing import preprocess
from worker.sessions.mock import MockSession


def a_claim(image: bytes | None) -> Claim:
    return Claim(spec=a_spec(), token="w1/1", attempt=1, image=image, created_us=0, fetch_ms=0.12345)


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
        decode_and_preprocess(base64.b64encode(encoded(a_picture())).decode(), mode="fast")  # type: ignore[arg-type]


def test_a_good_picture_is_answered_with_a_score_per_label() -> None:
    image = encoded(a_picture())

    outcome = classify(a_claim(image), MockSession())

    assert isinstance(outcome, Answer)
    assert outcome.scores == MockSession().run(preprocess(decode(image)))


def test_the_steps_add_up_to_the_latency_in_thousandths_of_a_millisecond() -> None:
    outcome = classify(a_claim(encoded(a_picture(300, 200))), MockSession())

    assert isinstance(outcome, Answer)
    timings = outcome.timings
    steps = (timings.decode_ms, timings.preprocess_ms, timings.predict_ms)
    assert all(step > 0 for step in steps)
    assert timings.latency_ms == pytest.approx(sum(steps), abs=0.003)
    assert timings.fetch_ms == 0.123
    assert all(step == round(step, 3) for step in (*steps, timings.latency_ms))


def test_a_bad_picture_fails_with_its_code_and_sentence() -> None:
    outcome = classify(a_claim(b"BM"), MockSession())

    assert outcome == Failure(code="invalid-image", detail="The bytes start like a BMP and do not decode as one.")


def test_a_picture_too_large_fails_with_limit_and_actual() -> None:
    outcome = classify(a_claim(a_png(10_000, 6000, (b"IDAT", b""))), MockSession())

    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.limit, outcome.actual) == ("image-too-large", 50_000_000, 60_000_000)


def test_a_picture_that_the_store_lost_is_our_fault() -> None:
    outcome = classify(a_claim(None), MockSession())

    assert isinstance(outcome, Failure)
    assert outcome.code == InternalError.code


def test_a_model_that_breaks_is_inference_failed_and_told_in_the_log() -> None:
    claim = a_claim(encoded(a_picture()))

    with capture_logs() as lines:
        outcome = classify(claim, BrokenSession(ZeroDivisionError("inside")))

    assert isinstance(outcome, Failure)
    assert outcome.code == "inference-failed"
    assert "inside" not in outcome.detail
    assert [(line["event"], line["job_id"]) for line in lines] == [("inference failed", claim.spec.id)]


def test_a_model_without_memory_is_out_of_memory() -> None:
    outcome = classify(a_claim(encoded(a_picture())), BrokenSession(MemoryError()))

    assert isinstance(outcome, Failure)
    assert outcome.code == "out-of-memory"


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt()])
def test_an_order_to_stop_passes_through(error: BaseException) -> None:
    with pytest.raises(type(error)):
        classify(a_claim(encoded(a_picture())), BrokenSession(error))


def test_warming_up_goes_the_whole_way_so_that_a_broken_model_shows_before_the_first_job() -> None:
    warm_up(MockSession())

    with pytest.raises(ValueError, match="weights"):
        warm_up(BrokenSession(ValueError("weights")))
