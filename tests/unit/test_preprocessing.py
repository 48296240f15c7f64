from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.support.pictures import a_photograph, a_picture, encoded
from tests.support.programs import ROOT
from worker.decoding import decode
from worker.preprocessing import MEAN_APART, MOST_APART, Mode, preprocess, resize, standardise


def formula(levels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    z = ((levels.astype(np.float64) / 255) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return z.transpose(2, 0, 1)[None]


def photographs() -> Iterator[Image.Image]:
    """Real ones where there are any, and one that is always there."""
    yield a_photograph(side=700)
    for file in sorted((ROOT / "examples").glob("*.[jp][pn]g")):
        with Image.open(file) as picture:
            yield picture.convert("RGB")


@pytest.mark.parametrize("size", [(640, 480), (1280, 960), (1411, 1411), (1920, 1080), (1080, 1920)])
def test_fast_stays_as_near_to_exact_as_is_promised(size: tuple[int, int]) -> None:
    for picture in photographs():
        image = encoded(picture.resize(size, Image.Resampling.LANCZOS), "JPEG", quality=88)

        exact = preprocess(decode(image))
        fast = preprocess(decode(image, mode="fast"), mode="fast")

        apart = np.abs(fast - exact)
        assert apart.max() <= (0.018 if min(size) < 896 else MOST_APART)
        assert apart.mean() <= (1e-4 if min(size) < 896 else MEAN_APART)


@pytest.mark.parametrize("size", [(1, 1), (500, 1), (224, 224), (223, 3000), (31, 17)])
def test_a_picture_that_is_not_to_be_shrunk_is_the_same_in_both_modes(size: tuple[int, int]) -> None:
    picture = a_picture(*size)

    assert np.array_equal(preprocess(picture, mode="fast"), preprocess(picture))


def test_every_level_of_every_channel_is_within_a_millionth_of_the_formula() -> None:
    levels = np.zeros((224, 224, 3), dtype=np.uint8)
    levels.reshape(-1, 3)[: 3 * 256] = np.concatenate(
        [np.arange(256)[:, None] * np.eye(3, dtype=int)[channel] for channel in range(3)],
    )

    tensor = preprocess(Image.fromarray(levels))

    assert set(levels.reshape(-1, 3)[:, 0]) == set(range(256))
    assert np.abs(tensor - formula(levels)).max() <= 1e-6


def test_the_tensor_is_float32_channels_first_and_contiguous() -> None:
    tensor = preprocess(a_picture(300, 200))

    assert tensor.shape == (1, 3, 224, 224)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (224, 224), (640, 480), (31, 17)])
def test_any_size_is_resized_by_the_antialiased_bicubic_filter(size: tuple[int, int]) -> None:
    picture = a_picture(*size)

    tensor = preprocess(picture)

    resized = np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC))
    assert np.abs(tensor - formula(resized)).max() <= 1e-6


def test_the_picture_is_left_as_it_was() -> None:
    picture = a_photograph()
    before = picture.tobytes()

    preprocess(picture)

    assert picture.tobytes() == before


def test_a_mode_that_there_is_not_is_refused() -> None:
    mode: Mode = "slow"  # type: ignore[assignment]  # what a caller without a type checker may send

    with pytest.raises(ValueError, match="slow"):
        preprocess(a_picture(), mode=mode)


@pytest.mark.parametrize("mode", ["L", "RGBA", "HSV"])
def test_an_image_that_is_not_rgb_is_refused(mode: str) -> None:
    for side in (4, 400):
        with pytest.raises(ValueError, match=mode):
            preprocess(Image.new(mode, (side, side)), mode="fast")


def test_resizing_and_standardising_in_two_steps_is_the_same() -> None:
    picture = a_picture(300, 200)

    tensor = standardise(resize(picture))

    assert np.array_equal(tensor, preprocess(picture))


def test_pixels_that_may_not_be_written_are_standardised_as_well() -> None:
    pixels = np.frombuffer(bytes(range(256)) * 588, np.uint8).reshape(3, 224, 224)

    assert np.abs(standardise(pixels) - formula(pixels.transpose(1, 2, 0))).max() <= 1e-6
