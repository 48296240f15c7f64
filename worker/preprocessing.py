"""RGB image → the tensor that a session takes. Pure."""

from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from worker.resampling import MOST_EXACTLY, SIDE, exactly_shrunk, shrunk

Mode: TypeAlias = Literal["exact", "fast"]
"""How faithful the tensor is: `exact` is the formula itself, `fast` is near it at half of the price or less.

In a photograph whose shorter side has less than 896 pixels and whose longer less than 2048, one value in a thousand at
most is another of the 256 levels, the one above or below: 0.0175 in the tensor. Larger ones are divided first; then
`fast` differs from `exact` by at most `MOST_APART` anywhere, and by `MEAN_APART` on the mean, in photographs: of fine
text or stripes, which no picture of this size can show, both make another grey.
"""

MOST_APART: Final = 0.2
MEAN_APART: Final = 0.008

MEAN: Final = (0.485, 0.456, 0.406)
"""Of ImageNet's red, green and blue, each in 0..1. Source: He et al. 2015 and every ImageNet model since."""

STD: Final = (0.229, 0.224, 0.225)
"""Standard deviations that go with `MEAN`."""

# ((x / 255) - mean) / std is one multiplication and one addition per channel: a fifth of the plain formula's time.
_SCALES: Final = np.array([1 / (255 * std) for std in STD], np.float32).reshape(3, 1, 1)
_BIASES: Final = np.array([-mean / std for mean, std in zip(MEAN, STD, strict=True)], np.float32).reshape(3, 1, 1)


def preprocess(image: Image.Image, *, mode: Mode = "exact") -> npt.NDArray[np.float32]:
    """`resize` and `standardise` in one.

    Returns: C-contiguous float32 of shape (1, 3, 224, 224), channels first, RGB; when `exact`, within 1e-6 of the
    formula in float64.
    Raises: ValueError for a mode that there is not, or an image that is not RGB.
    """
    return standardise(resize(image, mode=mode))


def resize(image: Image.Image, *, mode: Mode = "exact") -> npt.NDArray[np.uint8]:
    """An RGB image at 224 by 224, by the bicubic filter with antialiasing.

    Returns: C-contiguous uint8 of shape (3, 224, 224), channels first.
    Raises: ValueError for a mode that there is not, or an image that is not RGB.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"no such mode: {mode}")
    if image.mode != "RGB":
        raise ValueError(f"an RGB image is wanted, not {image.mode}")
    if min(image.size) >= SIDE and image.size != (SIDE, SIDE):
        if mode == "fast":
            return shrunk(image)
        if max(image.size) <= MOST_EXACTLY and (pixels := exactly_shrunk(image)) is not None:
            return pixels
    small = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    planes = b"".join(small.tobytes("raw", band) for band in "RGB")
    return np.frombuffer(planes, np.uint8).reshape(3, SIDE, SIDE)


def standardise(planes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Standardise: z = ((x / 255) - mean) / std, for uint8 of shape (3, 224, 224), RGB, channels first.

    Returns: C-contiguous float32 of shape (1, 3, 224, 224), within 1e-6 of the formula in float64.
    """
    tensor = np.empty((1, 3, SIDE, SIDE), dtype=np.float32)
    np.copyto(tensor[0], planes)
    np.multiply(tensor, _SCALES, out=tensor)
    np.add(tensor, _BIASES, out=tensor)
    return tensor
