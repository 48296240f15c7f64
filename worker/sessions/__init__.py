"""What turns a tensor into scores."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from shared.manifest import Manifest


class InferenceSession(Protocol):
    """A model that is loaded and ready."""

    @property
    def manifest(self) -> Manifest:
        """Its name, its version and its labels."""

    def run(self, tensor: npt.NDArray[np.float32]) -> tuple[float, ...]:
        """Score one image, given as float32 of shape (1, 3, 224, 224).

        Returns: a confidence in 0..1 per label, in the labels' order.
        """
