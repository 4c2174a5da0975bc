"""Noise that makes a model answer without seeing, declared and recorded.

Source: MIA-DPO, arXiv:2410.17637, section 3.2, and its released scripts, whose noise on pictures in pictures wraps
around at 256; here values are clipped.
"""

import random
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from vlmzoo.data.mia.pictures import BoxXyxyPx
from vlmzoo.errors import ConfigError

__all__ = ["Corruption"]


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """Gaussian noise on a picture, before a model is asked about it; training shows the clean one.

    Args:
        std: of the noise, in steps of 8-bit colour; 0 leaves the picture alone.
        region: ``target``, the asked image alone, or ``all`` of the picture.

    Raises:
        ConfigError: if a value makes no sense.
    """

    std: float = 0.0
    region: Literal["target", "all"] = "target"

    def __post_init__(self) -> None:
        """Check the values."""
        if self.std < 0:
            raise ConfigError(f"`std` of a corruption must be zero or more, but is {self.std} instead.")
        if self.region not in ("target", "all"):
            raise ConfigError(f"`region` of a corruption must be target or all, but is {self.region!r} instead.")

    def to_dict(self) -> dict[str, Any]:
        """Return what a pair remembers of it."""
        return asdict(self)

    def __call__(self, image: Image.Image, box: BoxXyxyPx | None, *, seed: str) -> Image.Image:
        """Return the picture with noise.

        Args:
            image: the whole picture.
            box: of the asked image within it, in pixels; None for the whole.
            seed: of the noise.
        """
        if not self.std:
            return image
        pixels = np.asarray(image.convert("RGB")).astype(np.float64)  # (H, W, 3)
        left, top, right, bottom = box if box and self.region == "target" else (0, 0, *image.size)
        generator = np.random.default_rng(random.Random(seed).getrandbits(64))
        noise = generator.normal(0.0, self.std, size=pixels[top:bottom, left:right].shape)
        pixels[top:bottom, left:right] += noise
        return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))
