"""From low-resolution logits to the pixels of the original image.

Letters: K masks, M candidates, (h, w) low resolution, (H, W) pixels of the original, S side of the decoder's input.
"""

import torch.nn.functional as F
from torch import Tensor

from vlmzoo.blocks.decoders import ImageRecipe

__all__ = ["logits_in_original"]


def logits_in_original(
    logits: Tensor, *, recipe: ImageRecipe, resized: tuple[int, int], original: tuple[int, int]
) -> Tensor:
    """Scale logits up to the decoder's input, cut the padding off, and scale to the original image.

    Source: Segment Anything, arXiv:2304.02643, appendix A; its code's ``postprocess_masks``. Always in float32, since
    16 bits move the border of a mask. A decoder that stretches its pictures needs one step only.

    Args:
        logits: ``(K, M, h, w)``.
        recipe: of the decoder.
        resized: (height, width) of the picture inside the decoder's input.
        original: (height, width) of the image.

    Returns:
        ``(K, M, H, W)`` in float32; above 0 belongs to the mask.
    """
    logits = logits.float()
    if logits.shape[0] == 0:
        return logits.new_zeros((0, logits.shape[1], *original)) + logits.sum()
    if recipe.fit == "longest_side":
        whole = F.interpolate(logits, size=(recipe.size, recipe.size), mode="bilinear", align_corners=False)
        logits = whole[..., : resized[0], : resized[1]]
    return F.interpolate(logits, size=original, mode="bilinear", align_corners=False)
