"""SAM's prompt encoder, for prompts that are embeddings already, and for boxes.

Letters: K masks, P tokens of a prompt, C width, (h, w) grid of the image features, S side of the decoder's input.
"""

import math

import torch
from torch import Tensor, nn

from vlmzoo.blocks.decoders._layers import ChannelNorm
from vlmzoo.errors import ShapeError

__all__ = ["PromptEncoder"]


class PromptEncoder(nn.Module):
    """Gives a mask decoder its prompts, its positions, and what stands for "no mask was drawn".

    Source: Segment Anything, arXiv:2304.02643, appendix A; LISA, arXiv:2308.00692, section 3.2, puts the embedding of
    a token in the place of points and boxes. The weights for points and drawn masks are held, so that released files
    fit and are written again whole, and are not used.

    Args:
        dim: C.
        grid_size: h and w, in cells.
        mask_channels: width of what would embed a drawn mask.
    """

    def __init__(self, *, dim: int, grid_size: int, mask_channels: int = 16) -> None:
        super().__init__()
        self.dim = dim
        self.grid_size = grid_size
        self.pe_layer = RandomPositions(dim)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, kernel_size=2, stride=2),
            ChannelNorm(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, kernel_size=2, stride=2),
            ChannelNorm(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, dim, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, dim)

    def forward(self, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sparse prompts and the dense one.

        Args:
            prompts: ``(K, P, C)``, or ``(K, C)`` for one token each.

        Returns:
            ``(K, P, C)``, and ``(K, C, h, w)``.

        Raises:
            ShapeError: if a prompt has another width.
        """
        if prompts.shape[-1] != self.dim:
            raise ShapeError(f"A prompt must have the width {self.dim} of the decoder, but has {prompts.shape[-1]}.")
        sparse = prompts.unsqueeze(1) if prompts.ndim == 2 else prompts
        dense = self.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(len(sparse), -1, self.grid_size, self.grid_size)
        return sparse, dense

    def embed_boxes(self, boxes_xyxy_px: Tensor, *, image_size: int) -> Tensor:
        """Return the prompts of boxes: two tokens each, their corners.

        Source: Segment Anything, arXiv:2304.02643, appendix A, "Prompt encoder".

        Args:
            boxes_xyxy_px: ``(K, 4)``, in pixels of the decoder's input.
            image_size: S.

        Returns:
            ``(K, 2, C)``.

        Raises:
            ShapeError: if a box has not four numbers.
        """
        if boxes_xyxy_px.ndim != 2 or boxes_xyxy_px.shape[1] != 4:
            raise ShapeError(f"Boxes must have the shape (K, 4), but have {tuple(boxes_xyxy_px.shape)} instead.")
        corners = (boxes_xyxy_px.float().unflatten(1, (2, 2)) + 0.5) / image_size  # pixels are meant by their centres
        first, second = (self.point_embeddings.get_parameter(f"{kind}.weight") for kind in (2, 3))
        kinds = torch.cat([first, second])
        return self.pe_layer.at(corners).to(kinds.dtype) + kinds

    def image_positions(self) -> Tensor:
        """Return the positions of the grid's cells, ``(1, C, h, w)``."""
        return self.pe_layer(self.grid_size)


class RandomPositions(nn.Module):
    """Sines and cosines of random projections of a cell's centre (Fourier features, arXiv:2006.10739).

    Args:
        dim: C, half of it sines.
    """

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, dim // 2))

    def forward(self, grid_size: int) -> Tensor:
        """Return ``(1, C, h, w)`` for a square grid."""
        matrix = self.positional_encoding_gaussian_matrix
        centres = (torch.arange(grid_size, device=matrix.device, dtype=torch.float32) + 0.5) / grid_size
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        return self.at(torch.stack([x, y], dim=-1)).movedim(-1, 0).unsqueeze(0).to(matrix.dtype)

    def at(self, points: Tensor) -> Tensor:
        """Return the encoding of points, ``(…, 2)`` as fractions of the image's sides, x first: ``(…, C)``, float32."""
        angles = 2 * math.pi * ((2 * points.float() - 1) @ self.positional_encoding_gaussian_matrix.float())
        return torch.cat([angles.sin(), angles.cos()], dim=-1)
