"""Image encoders: pixels in, one feature map out.

Letters: B images, C channels of a feature map, (H, W) pixels, (h, w) grid.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from vlmzoo.errors import ShapeError
from vlmzoo.registry import Registry

__all__ = ["ENCODERS", "Encoder"]


class Encoder(nn.Module):
    """What every encoder is: it states its input size, its grid and its channels, and gives a feature map."""

    image_size: tuple[int, int]
    """(H, W) of the input, in pixels."""
    grid_size: tuple[int, int]
    """(h, w) of the feature map."""
    out_channels: int
    """C of the feature map."""

    @abstractmethod
    def features(self, pixel_values: Tensor) -> Tensor:
        """Encode images of the right size: ``(B, 3, H, W)`` to ``(B, C, h, w)``."""

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Encode images.

        Args:
            pixel_values: ``(B, 3, H, W)``, normalised by the processor.

        Returns:
            A feature map of shape ``(B, C, h, w)``.

        Raises:
            ShapeError: if the images are not of ``image_size``.
        """
        if pixel_values.ndim != 4 or tuple(pixel_values.shape[1:]) != (3, *self.image_size):
            raise ShapeError(
                f"`pixel_values` must be (B, 3, {self.image_size[0]}, {self.image_size[1]}), but is "
                f"{tuple(pixel_values.shape)} instead; use the model's own processor."
            )
        return self.features(pixel_values)

    def freeze_unused(self) -> None:
        """Keep weights that nothing reads from learning; loaders make all weights learn, and call this."""

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return next(self.parameters()).dtype


ENCODERS: Registry[Encoder] = Registry("encoder", "vlmzoo.blocks.encoders")
