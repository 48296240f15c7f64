"""Pictures from other projects' own tests, good and hostile: what must be read is read exactly, all else is refused."""

import base64
import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from gateway.uploads import inspect
from shared.errors import DarkroomError, ImageTooLarge, InvalidImage, UnsupportedImageFormat, UsageError
from tests.support.pictures import CORPUS
from worker.classify import decode_and_preprocess
from worker.decoding import decode
from worker.isolation import Decoder, Limits
from worker.preprocessing import MEAN_APART, MOST_APART, Mode, preprocess, resize

CHUNKS = 8

EXPECTED: dict[str, tuple[type[UsageError], ...]] = {
    "too_many_pixels": (ImageTooLarge,),
    "unsupported_format": (UnsupportedImageFormat,),
    "not_an_image": (UnsupportedImageFormat, InvalidImage),
    "corrupt_image": (InvalidImage,),
}

pytestmark = pytest.mark.skipif(not (CORPUS / "images.csv").is_file(), reason=f"there are no pictures in {CORPUS}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    path: str
    expect: str

    @property
    def image(self) -> bytes:
        return (CORPUS / self.path).read_bytes()


def rows(chunk: int) -> Iterator[Row]:
    with (CORPUS / "images.csv").open(newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            if number % CHUNKS == chunk:
                yield Row(path=row["path"], expect=row["expect"])


def reference(image: bytes) -> npt.NDArray[np.float64]:
    """The plain lines, in float64."""
    picture: Image.Image = ImageOps.exif_transpose(Image.open(BytesIO(image)))
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray(np.rint(np.asarray(picture) / 257).astype(np.uint8))
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    x = np.asarray(picture.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)).astype(np.float64)
    z = ((x / 255) - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    return np.expand_dims(z.transpose(2, 0, 1), 0)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_good_picture_equals_the_plain_lines(chunk: int) -> None:
    differences = {}

    for row in rows(chunk):
        if row.expect == "accept":
            tensor = decode_and_preprocess(base64.b64encode(row.image).decode())
            difference = float(np.abs(tensor - reference(row.image)).max())
            if not difference <= 1e-6:
                differences[row.path] = difference

    assert not differences


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_door_lets_every_good_picture_pass(chunk: int) -> None:
    refused = {}

    for row in rows(chunk):
        if row.expect == "accept":
            try:
                inspect(row.image)
            except UsageError as error:
                refused[row.path] = error.code

    assert not refused


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_decoder_refuses_every_other_file_with_the_error_that_fits(chunk: int) -> None:
    wrong = {}

    for row in rows(chunk):
        if row.expect != "accept":
            try:
                decode_and_preprocess(base64.b64encode(row.image).decode())
            except EXPECTED[row.expect]:
                continue
            except UsageError as error:
                wrong[row.path] = error.code
            else:
                wrong[row.path] = "accepted"

    assert not wrong


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_door_lets_every_other_file_pass_or_refuses_it_with_the_error_that_fits(chunk: int) -> None:
    wrong = {}

    for row in rows(chunk):
        if row.expect != "accept":
            try:
                inspect(row.image)
            except UsageError as error:
                # A broken header may tell of any size.
                if not isinstance(error, (*EXPECTED[row.expect], ImageTooLarge)):
                    wrong[row.path] = error.code

    assert not wrong


def told(decode_: Callable[[bytes], npt.NDArray[np.uint8]], image: bytes) -> tuple[object, ...]:
    """The pixels, or the error with all that it says."""
    try:
        return (decode_(image).tobytes(),)
    except DarkroomError as error:
        return (type(error), vars(error))


def refusal(image: bytes, mode: Mode) -> tuple[object, ...] | None:
    """The error with all that it says; None if there is none."""
    try:
        preprocess(decode(image, mode=mode), mode=mode)
    except DarkroomError as error:
        return (type(error), vars(error))
    return None


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_fast_refuses_what_exact_refuses_with_the_same_words_and_nothing_else(chunk: int) -> None:
    differences = [row.path for row in rows(chunk) if refusal(row.image, "fast") != refusal(row.image, "exact")]

    assert not differences


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_fast_stays_near_the_plain_lines_for_every_good_picture(chunk: int) -> None:
    differences = {}

    for row in rows(chunk):
        if row.expect == "accept":
            fast = preprocess(decode(row.image, mode="fast"), mode="fast")
            apart = np.abs(fast - reference(row.image))
            if apart.max() > MOST_APART or apart.mean() > MEAN_APART:
                differences[row.path] = float(apart.max())

    assert not differences


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_decoder_of_its_own_gives_the_same_pixels_and_the_same_words_and_outlives_every_file(
    chunk: int, mode: Mode
) -> None:
    differences = []

    with Decoder(Limits(seconds=10), mode=mode) as decoder:
        for row in rows(chunk):
            alone = told(lambda image: resize(decode(image, mode=mode), mode=mode), row.image)
            if told(lambda image: decoder(image).pixels, row.image) != alone:
                differences.append(row.path)

    assert not differences
