"""The least that a negative image must do: show something, and not what the picture itself shows."""

from typing import TYPE_CHECKING

import numpy as np

from vlmzoo.errors import ConfigError
from vlmzoo.services.verifiers import VERIFIERS, Acceptance

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["DiffersVerifier"]

_SIDE_PX = 32


@VERIFIERS.register("differs", source="vlmzoo's own; OViP, arXiv:2505.15963, checks nothing", tiny={})
class DiffersVerifier:
    """Refuses pictures of one colour, and those that look like the positive one.

    Args:
        least_contrast: standard deviation of the brightness, as a fraction of its range; 0 takes blank ones, too.
        least_difference: mean difference from the positive picture at 32 × 32 pixels, as a fraction of the range.

    Raises:
        ConfigError: if a number is out of range.
    """

    def __init__(self, *, least_contrast: float = 0.01, least_difference: float = 0.002) -> None:
        for name, value in (("least_contrast", least_contrast), ("least_difference", least_difference)):
            if not 0 <= value < 1:
                raise ConfigError(f"`{name}` must be within [0, 1), but is {value} instead.")
        self.least_contrast, self.least_difference = least_contrast, least_difference

    def accept(self, image: "Image", *, positive: "Image | None", chosen: str, rejected: str) -> Acceptance:
        """Compare brightness and pixels."""
        contrast = float(np.asarray(image.convert("L"), dtype=np.float64).std()) / 255
        if contrast < self.least_contrast:
            return Acceptance(is_accepted=False, score=contrast, reason="one colour")
        if positive is None:
            return Acceptance(is_accepted=True, score=contrast)
        difference = float(np.abs(_small(image) - _small(positive)).mean()) / 255
        is_other = difference >= self.least_difference
        return Acceptance(is_accepted=is_other, score=difference, reason="" if is_other else "the positive picture")


def _small(image: "Image") -> "np.ndarray":
    return np.asarray(image.convert("RGB").resize((_SIDE_PX, _SIDE_PX)), dtype=np.float64)
