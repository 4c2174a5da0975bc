"""SAM: the mask decoder of LISA, in our own implementation or the authors' package.

Letters: I images, K masks, C width of a prompt, S side of the input, (g, g) grid of the features.
"""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from vlmzoo.blocks.decoders import DECODERS, Features, ImageRecipe, MaskDecoder, MaskPrediction
from vlmzoo.blocks.decoders._integrations import integration
from vlmzoo.blocks.decoders.mask_head import MaskHead, sam_upscaling
from vlmzoo.blocks.decoders.sam_image_encoder import SamImageEncoder
from vlmzoo.blocks.decoders.sam_prompt_encoder import PromptEncoder
from vlmzoo.blocks.decoders.two_way import TwoWayTransformer
from vlmzoo.errors import ConfigError

__all__ = ["SamDecoder", "sam_vit_b", "sam_vit_h", "sam_vit_l"]

_SOURCE = "Segment Anything, arXiv:2304.02643, appendix A; facebookresearch/segment-anything, build_sam.py"
_TINY = {
    "image_size": 64,
    "dim": 16,
    "depth": 2,
    "num_heads": 2,
    "global_blocks": [1],
    "window_size": 3,
    "prompt_dim": 16,
    "decoder_mlp_dim": 32,
    "decoder_heads": 2,
    "quality_dim": 16,
}


@DECODERS.register("sam", source=_SOURCE, tiny=_TINY)
class SamDecoder(MaskDecoder):
    """Image encoder, prompt encoder and mask decoder of Segment Anything; embeddings and boxes are its prompts.

    Parameters bear the names of the released ``.pth`` files.

    Args:
        image_size: S, in pixels.
        patch_size: side of a patch, in pixels.
        dim: width of the image encoder.
        depth: blocks of the image encoder.
        num_heads: of the image encoder.
        mlp_ratio: of the image encoder.
        global_blocks: blocks of the image encoder that see the whole image.
        window_size: of the others, in patches.
        prompt_dim: C.
        decoder_depth: blocks of the two-way transformer.
        decoder_mlp_dim: width of their feed-forward parts.
        decoder_heads: of the two-way transformer.
        quality_dim: inner width of what guesses a mask's quality.
        mask_channels: of the unused part that embeds drawn masks.
        norm_eps: of the image encoder's layer norms.
        backend: ``native`` is ours; ``segment_anything`` runs the authors' package, with the same weights.

    Raises:
        ConfigError: if sizes do not fit one another, or there is no such back end.
        MissingExtraError: if the package is asked for and not installed.
    """

    def __init__(
        self,
        *,
        image_size: int = 1024,
        patch_size: int = 16,
        dim: int = 1280,
        depth: int = 32,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        global_blocks: Sequence[int] = (7, 15, 23, 31),
        window_size: int = 14,
        prompt_dim: int = 256,
        decoder_depth: int = 2,
        decoder_mlp_dim: int = 2048,
        decoder_heads: int = 8,
        quality_dim: int = 256,
        mask_channels: int = 16,
        norm_eps: float = 1e-6,
        backend: Literal["native", "segment_anything"] = "native",
    ) -> None:
        super().__init__()
        if image_size % patch_size or dim % num_heads or prompt_dim % 8 or (prompt_dim // 2) % decoder_heads:
            raise ConfigError(
                "A SAM decoder needs `patch_size` to divide `image_size`, `num_heads` to divide `dim`, 8 to divide "
                "`prompt_dim` and `decoder_heads` to divide half of it, but has "
                f"{(image_size, patch_size, dim, num_heads, prompt_dim, decoder_heads)} instead."
            )
        if backend not in ("native", "segment_anything"):
            raise ConfigError(f"`backend` must be native or segment_anything, but is {backend!r} instead.")
        self.recipe = ImageRecipe(size=image_size)
        self.prompt_dim = prompt_dim
        self.backend = backend
        encoder: dict[str, Any] = {
            "image_size": image_size,
            "patch_size": patch_size,
            "dim": dim,
            "depth": depth,
            "num_heads": num_heads,
            "mlp_ratio": mlp_ratio,
            "global_blocks": tuple(global_blocks),
            "window_size": window_size,
            "norm_eps": norm_eps,
        }
        decoder: dict[str, Any] = {"depth": decoder_depth, "mlp_dim": decoder_mlp_dim, "num_heads": decoder_heads}
        self.image_encoder: nn.Module
        self.mask_decoder: nn.Module
        if backend == "native":
            self.image_encoder = SamImageEncoder(**encoder, out_dim=prompt_dim)
            transformer = TwoWayTransformer(dim=prompt_dim, **decoder)
            self.mask_decoder = MaskHead(
                dim=prompt_dim,
                transformer=transformer,
                upscaling=sam_upscaling(prompt_dim),
                quality_dim=quality_dim,
            )
        else:
            package = integration("segment_anything")
            self.image_encoder = package.build_image_encoder(**encoder, out_dim=prompt_dim)
            self.mask_decoder = package.build_mask_decoder(dim=prompt_dim, quality_dim=quality_dim, **decoder)
        self.prompt_encoder = PromptEncoder(
            dim=prompt_dim, grid_size=image_size // patch_size, mask_channels=mask_channels
        )

    def encode_images(self, pixels: Tensor) -> Features:
        """Encode pictures: ``(I, 3, S, S)`` to ``((I, C, g, g),)``."""
        return (self.image_encoder(pixels),)

    def decode(self, features: Sequence[Tensor], prompts: Tensor, *, multimask: bool = False) -> MaskPrediction:
        """Turn prompts into masks of ``(4 g, 4 g)`` logits.

        Args:
            features: ``((K, C, g, g),)``.
            prompts: ``(K, C)`` or ``(K, P, C)``.
            multimask: whether to give three candidates of each mask.
        """
        sparse, dense = self.prompt_encoder(prompts)
        positions = self.prompt_encoder.image_positions()
        logits, iou = self.mask_decoder(features[0], positions, sparse=sparse, dense=dense, multimask=multimask)
        return MaskPrediction(logits=logits, iou=iou)

    def embed_boxes(self, boxes_xyxy_px: Tensor) -> Tensor:
        """Return the prompts of boxes in pixels of the input: ``(K, 4)`` to ``(K, 2, C)``."""
        return self.prompt_encoder.embed_boxes(boxes_xyxy_px, image_size=self.recipe.size)


@DECODERS.register("sam-vit-b", source=_SOURCE, tiny=_TINY)
def sam_vit_b(**changes: Any) -> SamDecoder:
    """Build SAM ViT-B; ``changes`` are arguments of ``SamDecoder``."""
    sizes = {"dim": 768, "depth": 12, "num_heads": 12, "global_blocks": (2, 5, 8, 11)}
    return SamDecoder(**{**sizes, **changes})


@DECODERS.register("sam-vit-l", source=_SOURCE, tiny=_TINY)
def sam_vit_l(**changes: Any) -> SamDecoder:
    """Build SAM ViT-L; ``changes`` are arguments of ``SamDecoder``."""
    sizes = {"dim": 1024, "depth": 24, "num_heads": 16, "global_blocks": (5, 11, 17, 23)}
    return SamDecoder(**{**sizes, **changes})


@DECODERS.register("sam-vit-h", source=_SOURCE, tiny=_TINY)
def sam_vit_h(**changes: Any) -> SamDecoder:
    """Build SAM ViT-H, which LISA uses; ``changes`` are arguments of ``SamDecoder``."""
    return SamDecoder(**changes)
