"""Mask decoders: an image is encoded once, then each prompt embedding becomes a mask.

    features = decoder.encode_images(pixels)                              # once for an image
    found = decoder.decode([f[image_of] for f in features], prompts)      # once for all masks
    full = logits_in_original(found.logits, …)                            # float32, in the pixels of the image

Letters: I images, K masks (prompts), M candidates of a mask, P tokens of a prompt, C width of a prompt, S side of the
decoder's square input, (h, w) low-resolution logits.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from vlmzoo.registry import Registry

__all__ = ["DECODERS", "Features", "ImageEncoding", "ImageRecipe", "MaskDecoder", "MaskPrediction"]

Features = tuple[Tensor, ...]
"""What an image becomes: tensors that all begin with I, so that they can be indexed, kept and repeated."""


@dataclass(frozen=True, kw_only=True)
class ImageRecipe:
    """How a picture becomes a decoder's input.

    Args:
        size: S, in pixels.
        fit: ``longest_side`` scales the longest side to S and pads below and to the right with zeros, after
            normalising; ``stretch`` scales both sides to S.
        mean: of each channel, on the scale 0 to 255.
        std: likewise.
    """

    size: int
    fit: Literal["longest_side", "stretch"] = "longest_side"
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)


@dataclass(frozen=True, kw_only=True)
class MaskPrediction:
    """Masks in the decoder's own low resolution.

    Args:
        logits: ``(K, M, h, w)``.
        iou: ``(K, M)``, what the decoder believes its overlap with the truth to be.
    """

    logits: Tensor
    iou: Tensor


class ImageEncoding(nn.Module):
    """A module with an image encoder inside, whose features can be kept."""

    encoder_parts: Sequence[str] = ("image_encoder.",)
    """Beginnings of the names of the image encoder's parameters."""

    @abstractmethod
    def encode_images(self, pixels: Tensor) -> Features:
        """Encode pictures: ``(I, 3, S, S)``, prepared as it wants them, to tensors that begin with I."""


class MaskDecoder(ImageEncoding):
    """What every mask decoder is: it says how pictures are prepared, encodes them, and turns prompts into masks."""

    recipe: ImageRecipe
    """How pictures are prepared."""
    prompt_dim: int
    """C."""
    num_candidates: int = 3
    """M where several masks are asked for."""
    trainable_parts: Sequence[str] = ("mask_decoder.",)
    """Beginnings of the names of the parameters that learn by default; the image encoder is never one of them."""

    @abstractmethod
    def decode(self, features: Sequence[Tensor], prompts: Tensor, *, multimask: bool = False) -> MaskPrediction:
        """Turn prompts into masks.

        Args:
            features: of the image of each prompt, so tensors that begin with K.
            prompts: ``(K, P, C)`` or ``(K, C)``; K may be 0.
            multimask: whether to give M candidates of each mask in place of one.
        """


DECODERS: Registry[MaskDecoder] = Registry("mask decoder", "vlmzoo.blocks.decoders")
