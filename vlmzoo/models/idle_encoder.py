"""An encoder without a picture to look at, whose work the other ranks wait for."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vlmzoo.blocks.sizes import as_height_width
from vlmzoo.distributed import world_size
from vlmzoo.models.adapted import Adapted

__all__ = ["IdleEncoderMixin"]


class IdleEncoderMixin(Adapted):
    """Lets the encoder look at a blank picture in training, where a batch has none."""

    always_look: bool = False
    """Whether the encoder runs in every micro-batch of training; set under ZeRO-3 and where the optimiser lies on the
    CPU, which keep the gradient of the step before where the first micro-batch of a step gives none."""

    @property
    def _must_look(self) -> bool:
        """Whether the encoder must run even without an image: in training beside other ranks, or if it always does."""
        return self.training and (self.always_look or world_size() > 1)

    def _look_at_nothing(self) -> Tensor:
        """Run the encoder on a blank picture and return zero, as a number that its parameters have a part in.

        Ranks exchange gradients, and under ZeRO-3 weights, part by part and in one order; one that has no image in its
        batch must use the encoder all the same, in its place before the decoder, or the others wait for ever.
        """
        blank = {name: value.to(self.device) for name, value in self._blank_picture().items()}
        blank["pixel_values"] = blank["pixel_values"].to(self.dtype)
        return 0.0 * torch.stack([features.sum() for features in self._features_of(blank)]).sum()

    def _blank_picture(self) -> dict[str, Tensor]:
        """Return the smallest picture that the encoder takes, all zeros, known from the configuration alone."""
        vision: Any = self.config.vision_config
        if hasattr(vision, "spatial_merge_size"):  # the Qwen family takes patches in groups that become one token
            side = vision.spatial_merge_size
            values = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
            return {
                "pixel_values": torch.zeros(side**2, values),
                "image_grid_thw": torch.tensor([[1, side, side]]),
            }
        return {"pixel_values": torch.zeros(1, 3, *as_height_width(vision.image_size))}

    def _features_of(self, pictures: Mapping[str, Tensor]) -> Sequence[Tensor]:
        """Return what the encoder makes of pictures, as the processor prepares them."""
        inner: Any = self.model
        found = inner.get_image_features(**pictures, return_dict=True)
        deep = getattr(found, "deepstack_features", None) or ()  # Qwen3-VL's, which go to layers of the decoder
        return [*found.pooler_output, *(features for layer in deep for features in layer)]
