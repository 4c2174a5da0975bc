"""Fusions: from the feature maps of several encoders to one sequence of tokens.

Letters: B images or tiles, K encoders, C_k channels and (h_k, w_k) grid of encoder k, N tokens of an image or tile, C
width of a fused token.
"""

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate

from vlmzoo.errors import ShapeError
from vlmzoo.registry import Registry

__all__ = ["FUSIONS", "Fusion", "resize_bilinear"]


def resize_bilinear(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps so that corners stay where they are: ``(B, C, h, w)`` to ``(B, C, *size)``.

    It computes in float32 and returns the dtype that it was given. Source: NVlabs/EAGLE@fef95f1,
    eagle/model/multimodal_encoder/multi_backbone_channel_concatenation_encoder.py.

    Args:
        maps: images or feature maps; those that have the size already are returned as they are.
        size: (height, width).
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return interpolate(maps.float(), size=size, mode="bilinear", align_corners=True).to(maps.dtype)


class Fusion(nn.Module):
    """What every fusion is: it knows what K encoders give, and states how many tokens it makes, and how wide.

    Args:
        channels: C_k of each encoder, in the order in which the maps will arrive.
        grid_sizes: (h_k, w_k) of each.
    """

    num_tokens: int
    """N."""
    out_dim: int
    """C."""

    def __init__(self, *, channels: Sequence[int], grid_sizes: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.shapes = tuple((count, *grid) for count, grid in zip(channels, grid_sizes, strict=True))

    @abstractmethod
    def fuse(self, feature_maps: Sequence[Tensor]) -> Tensor:
        """Fuse K maps of the right shapes into ``(B, N, C)``."""

    def forward(self, feature_maps: Sequence[Tensor]) -> Tensor:
        """Fuse.

        Args:
            feature_maps: K tensors, the k-th of shape ``(B, C_k, h_k, w_k)``.

        Returns:
            Tokens of shape ``(B, N, C)``, row by row over a grid.

        Raises:
            ShapeError: if the maps are not those of the encoders, in their order.
        """
        found = tuple(tuple(feature_map.shape[1:]) for feature_map in feature_maps)
        if found != self.shapes:
            raise ShapeError(
                f"`feature_maps` must have the shapes {self.shapes} behind the batch, one for each encoder in its "
                f"order, but have {found} instead."
            )
        return self.fuse(feature_maps)


FUSIONS: Registry[Fusion] = Registry("fusion", "vlmzoo.blocks.fusion")
"""Each is built with ``channels`` and ``grid_sizes`` of the encoders."""
