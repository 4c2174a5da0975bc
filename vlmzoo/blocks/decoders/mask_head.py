"""SAM's mask decoder: prompt tokens and image features in, mask logits and a guess of their quality out.

Letters: K masks, M candidates, P tokens of a prompt, C width, (g, g) grid of the features, (h, w) logits.
"""

import torch
from torch import Tensor, nn

from vlmzoo.blocks.decoders._layers import ChannelNorm, Perceptron
from vlmzoo.blocks.decoders.two_way import TwoWayTransformer

__all__ = ["MaskHead", "sam_upscaling"]


def sam_upscaling(dim: int) -> nn.Sequential:
    """Return SAM's own upscaling, fourfold in each direction: ``(K, C, g, g)`` to ``(K, C / 8, 4 g, 4 g)``."""
    return nn.Sequential(
        nn.ConvTranspose2d(dim, dim // 4, kernel_size=2, stride=2),
        ChannelNorm(dim // 4),
        nn.GELU(),
        nn.ConvTranspose2d(dim // 4, dim // 8, kernel_size=2, stride=2),
        nn.GELU(),
    )


class MaskHead(nn.Module):
    """Turns each prompt into one mask, or into several candidates.

    Source: Segment Anything, arXiv:2304.02643, appendix A, "Mask decoder".

    Args:
        dim: C.
        transformer: mixes tokens and image.
        upscaling: from C to C / 8 channels and to the resolution of the logits.
        num_candidates: masks that are given where one prompt may mean several things.
        quality_dim: inner width of what guesses a mask's quality.
    """

    def __init__(
        self,
        *,
        dim: int,
        transformer: TwoWayTransformer,
        upscaling: nn.Module,
        num_candidates: int = 3,
        quality_dim: int = 256,
    ) -> None:
        super().__init__()
        num_masks = num_candidates + 1
        self.transformer = transformer
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(num_masks, dim)
        self.output_upscaling = upscaling
        self.output_hypernetworks_mlps = nn.ModuleList(
            Perceptron(dim, inner=dim, out_dim=dim // 8) for _ in range(num_masks)
        )
        self.iou_prediction_head = Perceptron(dim, inner=quality_dim, out_dim=num_masks)

    def forward(
        self, features: Tensor, positions: Tensor, *, sparse: Tensor, dense: Tensor, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Predict masks.

        Args:
            features: ``(K, C, g, g)``, of the image of each prompt.
            positions: ``(1, C, g, g)``.
            sparse: ``(K, P, C)``.
            dense: ``(K, C, g, g)``, added to the features.
            multimask: whether to give the candidates in place of the one mask.

        Returns:
            Logits ``(K, M, h, w)`` and qualities ``(K, M)``.
        """
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
        image = (features + dense).flatten(2).transpose(1, 2)
        tokens, image = self.transformer(image, positions.flatten(2).transpose(1, 2), tokens)
        maps = self.output_upscaling(image.transpose(1, 2).unflatten(2, features.shape[2:]))
        chosen = range(1, len(self.output_hypernetworks_mlps)) if multimask else range(1)
        weights = torch.stack([self.output_hypernetworks_mlps[n](tokens[:, 1 + n]) for n in chosen], dim=1)
        logits = torch.einsum("kmc,kchw->kmhw", weights, maps)
        quality = self.iou_prediction_head(tokens[:, 0])
        return logits, quality[:, chosen.start : chosen.stop]
