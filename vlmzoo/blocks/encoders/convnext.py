"""ConvNeXt, whose last stage is the feature map."""

from collections.abc import Sequence

import torch
from timm.models.convnext import ConvNeXt
from torch import Tensor

from vlmzoo.blocks.encoders import ENCODERS, Encoder
from vlmzoo.blocks.sizes import as_height_width
from vlmzoo.errors import ConfigError

__all__ = ["ConvNextEncoder"]


@ENCODERS.register(
    "convnext",
    source="ConvNeXt, arXiv:2201.03545; as Eagle reads it: arXiv:2408.15998, section 3",
    tiny={"image_size": 64, "depths": [1, 1, 1, 1], "dims": [8, 12, 16, 24]},
)
class ConvNextEncoder(Encoder):
    """The output of ConvNeXt's last stage, without norm, pooling and head; its defaults are ConvNeXt-XXLarge.

    Args:
        image_size: side or (height, width) of the input, in pixels.
        depths: blocks of each stage.
        dims: channels of each stage.
        num_classes: classes of a head that nothing reads; released weights bring one with them, and 0 leaves out the
            head and the norm before it. It starts from zero and never learns.

    Raises:
        ConfigError: if stages and channels differ in number, or the stages do not divide the image.
    """

    def __init__(
        self,
        *,
        image_size: int | Sequence[int] = 1024,
        depths: Sequence[int] = (3, 4, 30, 3),
        dims: Sequence[int] = (384, 768, 1536, 3072),
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        if len(depths) != len(dims):
            raise ConfigError(f"`depths` and `dims` must be as many, but are {len(depths)} and {len(dims)}.")
        stride = 2 * 2 ** len(depths)
        self.image_size = as_height_width(image_size)
        if any(side % stride for side in self.image_size):
            raise ConfigError(f"`image_size` must be a multiple of {stride} pixels, but is {image_size!r}.")
        self.vision = ConvNeXt(depths=tuple(depths), dims=tuple(dims), num_classes=num_classes, norm_eps=1e-5)
        if num_classes:
            with torch.no_grad():
                for parameter in self.vision.head.parameters():
                    parameter.zero_()
            self.freeze_unused()
        else:
            del self.vision.head, self.vision.norm_pre
        self.grid_size = (self.image_size[0] // stride, self.image_size[1] // stride)
        self.out_channels = int(dims[-1])

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether blocks compute their activations again in the backward pass; transformers' switch sets it."""
        return bool(self.vision.stages[0].grad_checkpointing)

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, value: bool) -> None:
        self.vision.set_grad_checkpointing(value)

    def freeze_unused(self) -> None:
        """Keep the head that released weights bring with them from learning."""
        if hasattr(self.vision, "head"):
            self.vision.head.requires_grad_(False)

    def features(self, pixel_values: Tensor) -> Tensor:
        """Encode: ``(B, 3, H, W)`` to ``(B, C, h, w)``."""
        return self.vision.stages(self.vision.stem(pixel_values.to(self.dtype)))
