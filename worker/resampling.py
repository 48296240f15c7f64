"""An RGB picture at 224 by 224 by matrix products: Pillow's bicubic filter with antialiasing, in a third of its time.

Pillow adds up weighted pixels one by one, in whole numbers; NumPy's BLAS adds up sixteen at a time, in float32. So of a
photograph one value in a thousand, at most, is rounded to the level above or below. Where that must not be, the sums
that lie near the middle of two levels are added up again as Pillow does it. Pure.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE: Final = 224
"""Height and width of what comes out."""

_SUPPORT: Final = 2.0
_A: Final = -0.5
"""Of the bicubic filter: how far it reaches, and its shape. Source: Keys 1981, and Pillow's Resample.c."""

_ACROSS: Final = 16
_DOWN: Final = 8
"""Pixels of the result that one product gives, along a row and along a column."""

_UNITS: Final = 1 << 22
"""Pillow's weights are whole numbers of so many to one. Source: Resample.c, PRECISION_BITS."""

_SMALL: Final = 1_000_000
"""Multiplications up to which OpenBLAS takes a product as it lies, without packing it first."""

MOST_EXACTLY: Final = 8192
"""Longest side that is shrunk exactly in reasonable memory: 22 MB of what lies between the two passes."""

_MOST_DOUBTS: Final = 1_000_000
"""Products that are added up again at most, in 24 MB. A photograph of twelve megapixels has 400,000."""

_GUARD: Final = 3 * SIDE
_MOST: Final = 2048
"""Pixels that dividing leaves of the shorter side at least, and from which on it divides the longer one."""


class _TooDoubtful(Exception):
    """Of stripes and checkerboards nearly every sum lies in the middle of two levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filter:
    """`weights[b]`, of shape (`width`, outputs), makes a block of outputs of the `width` inputs from `starts[b]` on."""

    starts: tuple[int, ...]
    width: int
    weights: npt.NDArray[np.float32]
    inputs: npt.NDArray[np.int64]
    """Of each output, of shape (224, taps); some of them weigh nothing."""
    wholes: npt.NDArray[np.int64]
    """Their weights in `_UNITS`, as Pillow has them."""

    @property
    def doubt(self) -> float:
        """How far a sum may be from Pillow's: each tap rounds its product, the sum, and Pillow its weight."""
        return float(255 * self.inputs.shape[1] / _UNITS)


def exactly_shrunk(image: Image.Image) -> npt.NDArray[np.uint8] | None:
    """An RGB image, at least as large as the result and with no side above `MOST_EXACTLY`: Pillow's pixels, every one.

    Returns: C-contiguous uint8 of shape (3, 224, 224), channels first. None for a picture that Pillow is better at.
    """
    try:
        return _in_order(image, *image.size, exact=True)
    except _TooDoubtful:
        return None


def shrunk(image: Image.Image) -> npt.NDArray[np.uint8]:
    """An RGB image, at least as large as the result; a large one is first divided by a whole number, in squares' means.

    Of its shorter side that leaves 672 pixels or more.

    Returns: C-contiguous uint8 of shape (3, 224, 224), channels first.
    """
    width, height = image.size
    factor = max(1, min(width, height) // _GUARD)
    # However long the other side is: what comes next takes memory for it.
    factors = max(factor, width // _MOST), max(factor, height // _MOST)
    few = image if factors == (1, 1) else image.reduce(factors)
    # The last squares may be cut off; the picture still stops where it does.
    right, bottom = width / factors[0], height / factors[1]
    return _in_order(few, right, bottom, exact=False)


def _in_order(image: Image.Image, right: float, bottom: float, *, exact: bool) -> npt.NDArray[np.uint8]:
    if image.height > 2 * image.width - SIDE:
        # Pillow goes down such a picture before it goes across, and rounds in between.
        turned = _resampled(image.transpose(Image.Transpose.TRANSPOSE), bottom, right, exact=exact)
        return np.ascontiguousarray(turned.transpose(0, 2, 1))
    return _resampled(image, right, bottom, exact=exact)


def _resampled(image: Image.Image, right: float, bottom: float, *, exact: bool) -> npt.NDArray[np.uint8]:
    width, height = image.size
    across, down = _filter(width, right, _ACROSS), _filter(height, bottom, _DOWN)
    rows = max(1, _SMALL // (across.width * _ACROSS))
    levels = np.empty((min(rows, height), width), np.float32)
    narrow = np.empty((height, 3, SIDE), np.float32)
    for channel, name in enumerate("RGB"):
        band = np.frombuffer(image.tobytes("raw", name), np.uint8).reshape(height, width)
        for top in range(0, height, rows):
            strip = band[top : top + rows]
            np.copyto(levels[: len(strip)], strip)
            for block, start in enumerate(across.starts):
                window = levels[: len(strip), start : start + across.width]
                place = slice(block * _ACROSS, (block + 1) * _ACROSS)
                np.matmul(window, across.weights[block], out=narrow[top : top + rows, channel, place])
        if exact:
            lines, outputs = _doubtful(narrow[:, channel], across)
            inputs = band[lines[:, None], across.inputs[outputs]]
            narrow[lines, channel, outputs] = _added_up(inputs, across.wholes[outputs])
    # Pillow too keeps whole levels between the two.
    _round(narrow)
    tall = narrow.reshape(height, 3 * SIDE)
    small = np.empty((SIDE, 3 * SIDE), np.float32)
    for block, start in enumerate(down.starts):
        place = slice(block * _DOWN, (block + 1) * _DOWN)
        np.matmul(down.weights[block].T, tall[start : start + down.width], out=small[place])
    if exact:
        outputs, columns = _doubtful(small, down)
        levels = tall[down.inputs[outputs], columns[:, None]]
        small[outputs, columns] = _added_up(levels, down.wholes[outputs])
    _round(small)
    return small.reshape(SIDE, 3, SIDE).transpose(1, 0, 2).astype(np.uint8, order="C")


def _doubtful(sums: npt.NDArray[np.float32], along: _Filter) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where, by row and column, sums may be rounded otherwise than Pillow's.

    Raises: _TooDoubtful.
    """
    rest = np.rint(sums)
    np.subtract(sums, rest, out=rest)
    np.abs(rest, out=rest)
    places = np.flatnonzero(rest > 0.5 - along.doubt)
    if places.size * along.inputs.shape[1] > _MOST_DOUBTS:
        raise _TooDoubtful
    # Ten times as fast as `nonzero` of two dimensions.
    rows, columns = np.divmod(places, sums.shape[1])
    return rows, columns


def _added_up(inputs: npt.NDArray[Any], wholes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The levels that Pillow makes of each row of inputs, before it cuts off what overshoots."""
    sums: npt.NDArray[np.int64] = np.einsum("ij,ij->i", inputs.astype(np.int64), wholes)
    return (sums + _UNITS // 2) // _UNITS


def _round(levels: npt.NDArray[np.float32]) -> None:
    np.rint(levels, out=levels)
    np.clip(levels, 0, 255, out=levels)


@lru_cache(maxsize=32)
def _filter(length: int, end: float, outputs: int) -> _Filter:
    scale = end / SIDE
    stretch = max(scale, 1.0)
    reach = _SUPPORT * stretch
    centres = (np.arange(SIDE) + 0.5) * scale
    first = np.maximum((centres - reach + 0.5).astype(int), 0)
    last = np.minimum((centres + reach + 0.5).astype(int), length)
    inputs = first[:, None] + np.arange((last - first).max())
    weights = _bicubic((inputs - centres[:, None] + 0.5) / stretch)
    weights[inputs >= last[:, None]] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    starts = first[::outputs]
    width = int((last[outputs - 1 :: outputs] - starts).max())
    starts = np.minimum(starts, length - width)
    blocks, places = np.divmod(np.arange(SIDE), outputs)
    # Wider at first: some rows of weights end in a few that are nothing and would stand outside.
    matrices = np.zeros((SIDE // outputs, width + weights.shape[1], outputs), np.float32)
    matrices[blocks[:, None], inputs - starts[blocks][:, None], places[:, None]] = weights
    return _Filter(
        starts=tuple(starts.tolist()),
        width=width,
        weights=np.ascontiguousarray(matrices[:, :width]),
        inputs=np.minimum(inputs, length - 1),
        wholes=np.trunc(weights * _UNITS + np.copysign(0.5, weights)).astype(np.int64),
    )


def _bicubic(distances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    x = np.abs(distances)
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _A
    return np.where(x < 1, near, np.where(x < _SUPPORT, far, 0.0))
