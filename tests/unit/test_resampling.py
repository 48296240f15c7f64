import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.support.pictures import a_picture
from worker import resampling
from worker.preprocessing import resize
from worker.resampling import exactly_shrunk, shrunk


def pillow(picture: Image.Image) -> npt.NDArray[np.int64]:
    return np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC)).transpose(2, 0, 1).astype(int)


@pytest.mark.parametrize(
    "size",
    [(224, 224), (225, 224), (224, 500), (640, 480), (480, 640), (641, 479), (895, 895), (1900, 300), (230, 1900)],
)
def test_no_pixel_is_more_than_a_level_from_pillows_and_few_are_that(size: tuple[int, int]) -> None:
    picture = a_picture(*size)

    apart = np.abs(shrunk(picture) - pillow(picture))

    assert apart.max() <= 1
    assert apart.mean() < 1e-3


@pytest.mark.parametrize("size", [(896, 896), (1345, 1000), (1411, 1411), (2000, 1500), (5000, 300), (300, 5000)])
def test_a_large_picture_stays_where_it_is_though_its_last_squares_are_cut_off(size: tuple[int, int]) -> None:
    down, across = np.indices(size[::-1])
    waves = np.stack([np.sin(across / size[0] * 60), np.cos(down / size[1] * 60), np.sin((across + down) / 40)], axis=2)
    picture = Image.fromarray((127.5 + 127 * waves).astype(np.uint8))

    apart = np.abs(shrunk(picture) - pillow(picture))

    assert apart[:2].max() <= 3
    assert apart.mean() < 0.5


def test_what_overshoots_is_black_or_white_and_no_other_level() -> None:
    picture = Image.fromarray(np.where(np.indices((480, 640, 3))[1] % 60 < 30, 0, 255).astype(np.uint8))

    assert np.array_equal(shrunk(picture), pillow(picture))


def test_it_is_channels_first_and_contiguous_and_leaves_the_picture_as_it_was() -> None:
    for size in ((640, 480), (300, 900), (2000, 1800)):
        picture = a_picture(*size)
        before = picture.tobytes()

        pixels = shrunk(picture)

        assert pixels.shape == (3, 224, 224)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        assert picture.tobytes() == before


def test_a_filter_that_is_used_again_gives_the_same() -> None:
    first, other = a_picture(500, 400), a_picture(400, 500, seed=1)
    before = shrunk(first)

    shrunk(other)

    assert np.array_equal(shrunk(first), before)


def noise(size: tuple[int, int], *, levels: int) -> Image.Image:
    random = np.random.default_rng(levels)
    values = random.integers(0, levels, (size[1], size[0], 3)) * (255 // (levels - 1))
    return Image.fromarray(values.astype(np.uint8))


@pytest.mark.parametrize("levels", [2, 4, 256])
@pytest.mark.parametrize(
    "size",
    [
        *((224, 225), (225, 224), (448, 224), (640, 480), (480, 640), (641, 479), (1411, 1411), (1920, 1080)),
        *((300, 375), (300, 376), (300, 377), (230, 1900), (1900, 230), (224, 8192), (8192, 224)),
    ],
)
def test_exactly_means_every_pixel_is_pillows(size: tuple[int, int], levels: int) -> None:
    picture = noise(size, levels=levels)

    pixels = exactly_shrunk(picture)

    assert pixels is not None
    assert np.array_equal(pixels, pillow(picture))


def test_exactly_takes_more_than_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling._Filter, "doubt", -1.0)
    picture = noise((1411, 1411), levels=256)

    pixels = exactly_shrunk(picture)

    assert pixels is not None
    assert not np.array_equal(pixels, pillow(picture))


@pytest.mark.parametrize("period", [(2, 2), (2, 0), (0, 2)])
def test_what_is_all_doubt_is_left_to_pillow(period: tuple[int, int]) -> None:
    down, across = np.indices((2100, 2100))
    odd = (down * bool(period[0]) + across * bool(period[1])) % 2
    picture = Image.fromarray(np.repeat((127 + odd).astype(np.uint8)[:, :, None], 3, axis=2))

    assert exactly_shrunk(picture) is None
    assert np.array_equal(resize(picture), pillow(picture))
