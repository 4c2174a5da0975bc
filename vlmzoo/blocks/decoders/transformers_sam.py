"""Mask decoders of transformers that take an embedding as a prompt: SamModel, SAM-HQ, SAM 2 and SAM 3's tracker.

Parameters bear transformers' names, so that published folders fill them as they are.

Letters: I images, K masks, M candidates, C width of a prompt, S side of the input, (g, g) grid of the features.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor

from vlmzoo.blocks.decoders import DECODERS, Features, ImageRecipe, MaskDecoder, MaskPrediction
from vlmzoo.errors import ConfigError, ShapeError

__all__ = ["HfSamDecoder", "Sam2Decoder", "SamHqDecoder", "sam3_decoder"]

_IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
_HALF = {"mean": (127.5, 127.5, 127.5), "std": (127.5, 127.5, 127.5)}

_TINY_PROMPT = {"hidden_size": 32, "image_size": 64, "patch_size": 16}
_TINY_MASK = {"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 2, "iou_head_hidden_dim": 32}
_TINY_VIT = {
    "vision_config": {
        "image_size": 64,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "output_channels": 32,
        "mlp_dim": 64,
        "window_size": 3,
        "global_attn_indexes": [1],
        "num_pos_feats": 16,
    },
    "prompt_encoder_config": {**_TINY_PROMPT, "mask_input_channels": 16},
    "mask_decoder_config": _TINY_MASK,
}
_TINY_HQ = {**_TINY_VIT, "mask_decoder_config": {**_TINY_MASK, "vit_dim": 32}}
_TINY_HIERA = {
    "vision_config": {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 16,
            "num_attention_heads": 1,
            "image_size": [64, 64],
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [16, 32, 64, 128],
            "num_attention_heads_per_stage": [1, 2, 4, 8],
            "window_size_per_stage": [4, 2, 2, 2],
            "global_attention_blocks": [3],
            "window_positional_embedding_background_size": [4, 4],
        },
        "backbone_channel_list": [128, 64, 32, 16],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 32,
    },
    "prompt_encoder_config": {**_TINY_PROMPT, "mask_input_channels": 16},
    "mask_decoder_config": _TINY_MASK,
}
_TINY_SAM3 = {
    "vision_config": {
        "model_type": "sam3_vision_model",
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 56,
            "pretrain_image_size": 28,
            "patch_size": 14,
            "window_size": 2,
            "global_attn_indexes": [1],
        },
        "fpn_hidden_size": 32,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "scale_factors": [4.0, 2.0, 1.0],
    },
    "prompt_encoder_config": {**_TINY_PROMPT, "image_size": 56, "patch_size": 14, "mask_input_channels": 16},
    "mask_decoder_config": _TINY_MASK,
}


class _OfTransformers(MaskDecoder):
    """What the decoders of transformers share.

    Args:
        model: name of transformers' class.
        config: fields of its configuration; what is left out has transformers' own defaults.
        recipe: how pictures are prepared, by the size of the input.

    Raises:
        ConfigError: if a field is unknown, or its value cannot be used.
    """

    encoder_parts: Sequence[str] = ("vision_encoder.",)

    def __init__(self, model: str, config: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
        super().__init__()
        model_class: Any = getattr(transformers, model)
        try:
            settings = model_class.config_class(**config)
        except (TypeError, ValueError, StrictDataclassError) as error:
            raise ConfigError(
                f"`config` must hold fields of transformers' {model}, but cannot be used: {str(error).splitlines()[0]}."
            ) from error
        built = model_class._from_config(settings)
        for name, module in built.named_children():
            self.add_module(name, module)
        for name, parameter in built.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        self.prompt_dim = settings.prompt_encoder_config.hidden_size
        self.num_candidates = settings.mask_decoder_config.num_multimask_outputs
        self.recipe = ImageRecipe(size=settings.prompt_encoder_config.image_size, **recipe)
        self.grid: tuple[int, int] = (self.recipe.size // settings.prompt_encoder_config.patch_size,) * 2

    def _positions(self) -> Tensor:
        """Return the positions of the grid's cells, ``(1, C, g, g)``."""
        embedding: Any = self.shared_image_embedding
        matrix: Tensor = embedding.positional_embedding
        y, x = ((torch.arange(side, device=matrix.device, dtype=torch.float32) + 0.5) / side for side in self.grid)
        places = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)
        return embedding(places.to(matrix.dtype)).permute(2, 0, 1).unsqueeze(0)

    def _prompted(self, prompts: Tensor) -> dict[str, Tensor]:
        """Return what every mask decoder of transformers is called with; each prompt is an image of its own."""
        if prompts.shape[-1] != self.prompt_dim:
            raise ShapeError(
                f"A prompt must have the width {self.prompt_dim} of the decoder, but has {prompts.shape[-1]}."
            )
        sparse = prompts.unsqueeze(1) if prompts.ndim == 2 else prompts
        encoder: Any = self.prompt_encoder
        dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(len(prompts), -1, *self.grid)
        return {
            "image_positional_embeddings": self._positions().expand(len(prompts), -1, -1, -1),
            "sparse_prompt_embeddings": sparse.unsqueeze(1),
            "dense_prompt_embeddings": dense,
        }

    def _run(self, features: Sequence[Tensor], prompts: Tensor, *, multimask: bool, **more: Any) -> MaskPrediction:
        """Call transformers' decoder, which takes no batch of no images."""
        number = len(prompts)
        if not number:
            side, masks = 4 * self.grid[0], self.num_candidates if multimask else 1
            return MaskPrediction(logits=prompts.new_zeros(0, masks, side, side), iou=prompts.new_zeros(0, masks))
        decoder: Any = self.mask_decoder
        found = decoder(image_embeddings=features[0], multimask_output=multimask, **self._prompted(prompts), **more)
        return MaskPrediction(logits=found[0][:, 0], iou=found[1][:, 0])


@DECODERS.register(
    "hf-sam", source="transformers, SamModel; Segment Anything, arXiv:2304.02643", tiny={"config": _TINY_VIT}
)
class HfSamDecoder(_OfTransformers):
    """transformers' SamModel, with the weights of a facebook/sam-vit-* folder.

    Args:
        config: fields of ``SamConfig``.
    """

    def __init__(self, *, config: Mapping[str, Any]) -> None:
        super().__init__("SamModel", config, _IMAGENET)

    def encode_images(self, pixels: Tensor) -> Features:
        """Encode pictures: ``(I, 3, S, S)`` to ``((I, C, g, g),)``."""
        encoder: Any = self.vision_encoder
        return (encoder(pixels)[0],)

    def decode(self, features: Sequence[Tensor], prompts: Tensor, *, multimask: bool = False) -> MaskPrediction:
        """Turn prompts into masks; see ``MaskDecoder``."""
        return self._run(features, prompts, multimask=multimask)


@DECODERS.register("sam-hq", source="transformers, SamHQModel; SAM-HQ, arXiv:2306.01567", tiny={"config": _TINY_HQ})
class SamHqDecoder(_OfTransformers):
    """SAM with a token and features for fine borders, added to each mask.

    Args:
        config: fields of ``SamHQConfig``.
        hq_token_only: whether the mask is the fine one alone, and not its sum with SAM's.
    """

    def __init__(self, *, config: Mapping[str, Any], hq_token_only: bool = False) -> None:
        super().__init__("SamHQModel", config, _IMAGENET)
        self.hq_token_only = hq_token_only

    def encode_images(self, pixels: Tensor) -> Features:
        """Encode pictures to the last features ``(I, C, g, g)`` and the first global block's ``(I, g, g, D)``."""
        encoder: Any = self.vision_encoder
        found = encoder(pixel_values=pixels)
        return found[0], found[1][0]

    def decode(self, features: Sequence[Tensor], prompts: Tensor, *, multimask: bool = False) -> MaskPrediction:
        """Turn prompts into masks; see ``MaskDecoder``."""
        more = {"hq_token_only": self.hq_token_only, "intermediate_embeddings": [features[1]]}
        return self._run(features, prompts, multimask=multimask, **more)


@DECODERS.register(
    "sam2", source="transformers, Sam2Model; SAM 2, arXiv:2408.00714, image mode", tiny={"config": _TINY_HIERA}
)
class Sam2Decoder(_OfTransformers):
    """SAM 2 on single images. What brings fine features to the decoder belongs to the frozen image encoder.

    Args:
        config: fields of ``Sam2Config``.
        model: name of transformers' class.
        recipe: how pictures are prepared.
    """

    trainable_parts: Sequence[str] = (
        "mask_decoder.transformer.",
        "mask_decoder.iou_token.",
        "mask_decoder.mask_tokens.",
        "mask_decoder.obj_score_token.",
        "mask_decoder.upscale_",
        "mask_decoder.output_hypernetworks_mlps.",
        "mask_decoder.iou_prediction_head.",
    )

    def __init__(
        self, *, config: Mapping[str, Any], model: str = "Sam2Model", recipe: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(model, config, {"fit": "stretch", **(_IMAGENET if recipe is None else recipe)})

    def encode_images(self, pixels: Tensor) -> Features:
        """Encode pictures to ``(I, C, g, g)`` and two maps of four and two times its resolution."""
        encoder, decoder, memory = (
            getattr(self, name) for name in ("vision_encoder", "mask_decoder", "no_memory_embedding")
        )
        fine, middle, coarse = encoder(pixels, return_dict=True).fpn_hidden_states[:3]
        return coarse + memory.reshape(1, -1, 1, 1), decoder.conv_s0(fine), decoder.conv_s1(middle)

    def decode(self, features: Sequence[Tensor], prompts: Tensor, *, multimask: bool = False) -> MaskPrediction:
        """Turn prompts into masks; see ``MaskDecoder``."""
        return self._run(features, prompts, multimask=multimask, high_resolution_features=list(features[1:]))


@DECODERS.register(
    "sam3", source="transformers, Sam3TrackerModel; SAM 3, arXiv:2511.16719, image mode", tiny={"config": _TINY_SAM3}
)
def sam3_decoder(*, config: Mapping[str, Any]) -> Sam2Decoder:
    """Build the decoder of SAM 3 that takes prompts of SAM's kind, its tracker on single images.

    The detector of SAM 3, which takes words and finds all that they mean, takes no embedding, so it does not fit.

    Args:
        config: fields of ``Sam3TrackerConfig``.
    """
    return Sam2Decoder(config=config, model="Sam3TrackerModel", recipe=_HALF)
