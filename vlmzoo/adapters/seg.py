"""The seg adapter: each ``[SEG]`` that the model says becomes a pixel mask, on any base (LISA, arXiv:2308.00692).

A run trains it like any other adapter:

    model = build_model("llava-1.5-7b", adapters=[{"type": "seg", "decoder": "sam-vit-h"}, {"type": "lora"}])
    sample = Sample(
        messages=[user("Please segment the cup.", num_images=1), assistant("It is [SEG].")],
        images=[picture],
        masks=[Mask(array, frame=Frame.original("cups/1.jpg", width=640, height=480))],
    )

``outputs.adapters["seg"]["mask_logits"]`` of a forward pass are the logits of all masks of the batch, in float32 and in
the pixels of their images, one after the other: ``split_flat(mask_logits, batch.targets["mask_sizes"])`` of
``vlmzoo.objectives.geometry`` cuts them apart. Without targets, ``model.generate(…, return_dict_in_generate=True)``
gives ``masks``, and ``model.segment(image, text)`` does it all.

Letters: B sequences, T text positions, I pictures, K masks, M candidates of a mask, C width of a prompt, D width of a
token, P pixels of all masks, S side of the decoder's input, (H, W) pixels of an image, (h, w) of its features.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vlmzoo.adapters import ADAPTERS
from vlmzoo.adapters._seg_images import ImageFeatures
from vlmzoo.adapters._seg_inputs import INPUT_NAMES, SegInputs
from vlmzoo.adapters._token_images import encoded_pictures, image_name, images_of_tokens, places_among
from vlmzoo.adapters.contract import Adapter, AdapterContext, GenerationContext, Host
from vlmzoo.adapters.tokens import AROUND_IMAGE
from vlmzoo.blocks.decoders import DECODERS, MaskPrediction
from vlmzoo.blocks.decoders.postprocess import logits_in_original
from vlmzoo.blocks.decoders.scratch import start_from_scratch, widen
from vlmzoo.data.adapter_inputs import AdapterInputs
from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.geometry import Frame, Mask

__all__ = ["SegAdapter"]

_TINY_DECODER = {
    "type": "sam",
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


@ADAPTERS.register(
    "seg",
    source="LISA, arXiv:2308.00692, section 3.2; the seg adapter of FaST, arXiv:2408.08862",
    tiny={"decoder": _TINY_DECODER},
)
class SegAdapter(Adapter):
    """A token, two layers from its hidden state to a prompt, and a mask decoder with an image encoder of its own.

    Args:
        decoder: ``{type: …}`` for the registry of mask decoders, or a name in it.
        weights: a file or folder with the decoder's published weights to start from, in the authors' names or
            transformers'; None starts from random ones. A saved model does not need it any more.
        from_scratch: whether decoder and prompts start wider, for a decoder that has no weights to start from and
            learns with its image encoder (`start_from_scratch`).
        token: ``[SEG]``.
        image_tokens: whether ``<im_start>`` and ``<im_end>`` are added behind it, as LISA does; a chat template such as
            ``llava_v1`` puts them around images.
        train_decoder: whether the mask decoder learns.
        train_encoder: whether the decoder's image encoder learns, too.
        multimask: whether generation weighs the decoder's candidates and takes the one that it believes in most.
        cache_size: pictures whose features are kept, by content.
        encoder_chunk: pictures in one call of the image encoder; 0 for all.
        mask_chunk: masks in one call of the mask decoder when nothing learns; 0 for all.
        offload_encoder: whether the image encoder waits on the CPU between calls.
        host: the base.

    Raises:
        ConfigError: if an option cannot be.
        RegistryError: if there is no such decoder.
    """

    special_tokens: Sequence[str] = ("[SEG]",)
    input_names: Sequence[str] = INPUT_NAMES
    hidden_layers: Sequence[int] = (-1,)
    loss_terms: Mapping[str, Mapping[str, Any]] = {
        "bce": {"type": "mask_bce", "weight": 2.0},
        "dice": {"type": "mask_dice", "weight": 0.5},
    }
    listens: ClassVar[bool] = True
    transient_options: ClassVar[Sequence[str]] = ("weights",)

    def __init__(
        self,
        *,
        decoder: str | Mapping[str, Any] = "sam-vit-h",
        weights: str | None = None,
        from_scratch: bool = False,
        token: str = "[SEG]",
        image_tokens: bool = False,
        train_decoder: bool = True,
        train_encoder: bool = False,
        multimask: bool = False,
        cache_size: int = 8,
        encoder_chunk: int = 0,
        mask_chunk: int = 64,
        offload_encoder: bool = False,
        host: Host,
    ) -> None:
        super().__init__(host=host)
        self.check_host(
            host,
            decoder=decoder,
            weights=weights,
            from_scratch=from_scratch,
            cache_size=cache_size,
            encoder_chunk=encoder_chunk,
            mask_chunk=mask_chunk,
        )
        self.decoder = DECODERS.build(_spec_of(decoder))
        width, prompt = host.hidden_size, self.decoder.prompt_dim
        self.text_hidden_fcs = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, prompt))
        if from_scratch:
            start_from_scratch(self.decoder)
            widen(self.text_hidden_fcs[0], gain=1.0)
            widen(self.text_hidden_fcs[2], gain=math.sqrt(2.0))  # half of the values before it are 0
        self.special_tokens = (token, *(AROUND_IMAGE if image_tokens else ()))
        learning = [f"decoder.{part}" for part in self.decoder.trainable_parts] if train_decoder else []
        learning += [f"decoder.{part}" for part in self.decoder.encoder_parts] if train_encoder else []
        self.trainable = ("text_hidden_fcs.", *learning)
        self.features = ImageFeatures(capacity=cache_size, chunk=encoder_chunk, offload=offload_encoder)
        self.multimask = multimask
        self.mask_chunk = mask_chunk
        self._weights = weights

    @classmethod
    def check_host(cls, host: Host, **options: Any) -> None:
        """Check the decoder's spec and the sizes.

        Raises:
            ConfigError: naming the option.
            RegistryError: if there is no such decoder.
        """
        DECODERS.check(_spec_of(options.get("decoder", "sam-vit-h")))
        if options.get("from_scratch") and options.get("weights") is not None:
            raise ConfigError(
                f"adapter `seg`: `from_scratch` has no effect beside `weights` ({options['weights']!r}); leave one out."
            )
        for name in ("cache_size", "encoder_chunk", "mask_chunk"):
            value = options.get(name, 0)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ConfigError(f"adapter `seg`: `{name}` must be a whole number of 0 or more, but is {value!r}.")

    @property
    def token(self) -> str:
        """``[SEG]``."""
        return self.special_tokens[0]

    def starting_weights(self) -> Mapping[str, str]:
        """Return where the decoder's published weights lie."""
        return {} if self._weights is None else {"decoder": self._weights}

    def make_inputs(self) -> AdapterInputs:
        """Return what prepares pictures and masks."""
        return SegInputs(token=self.token, recipe=self.decoder.recipe)

    def forward(self, context: AdapterContext) -> dict[str, Tensor]:
        """Decode the masks of all ``[SEG]`` tokens that stand in the batch.

        Returns:
            ``mask_logits`` ``(P,)`` in float32, the masks one after the other; ``mask_iou`` ``(K, 1)``, what the
            decoder believes of them; ``mask_prompts`` ``(K, C)``.

        Raises:
            ShapeError: if tokens and pictures differ in number.
        """
        if context.input_ids is None:
            raise ShapeError("The seg adapter finds its tokens in `input_ids`; do not give `inputs_embeds` alone.")
        is_seg = context.input_ids[:, 1:] == context.token_ids[self.token]
        states = context.hidden_states[-1][:, :-1][is_seg]  # (K, D), those that predict the token
        images = context.inputs["seg_images"]
        if len(images) != len(states):
            raise ShapeError(
                f"`seg_images` must name the picture of each of the {len(states)} {self.token} tokens in `input_ids`, "
                f"but has {len(images)} entries; let the model's processor make both, and never truncate."
            )
        is_idle = not len(states)
        if is_idle and not self.training:
            nothing = states.new_zeros
            prompts = nothing(0, self.decoder.prompt_dim)
            return {"mask_logits": nothing(0).float(), "mask_iou": nothing(0, 1), "mask_prompts": prompts}
        if is_idle:  # every rank runs every module equally often, and has the same graph, down to the hidden states
            states, images = context.hidden_states[-1][:1, 0], images.new_zeros(1)
        prompts = self.text_hidden_fcs(states)
        features = self._features(context.inputs, images.unique())
        found = self._decode(features, prompts, places_among(images), multimask=False)
        if is_idle:
            flat = found.logits.float().flatten()[:0]
            return {"mask_logits": flat, "mask_iou": found.iou[:0], "mask_prompts": prompts[:0]}
        whole = self._in_originals(found.logits, context.inputs["seg_sizes"][images])
        flat = torch.cat([mask.flatten() for mask in whole])
        return {"mask_logits": flat, "mask_iou": found.iou, "mask_prompts": prompts}

    @torch.no_grad()
    def after_generation(self, context: GenerationContext) -> dict[str, Any]:
        """Turn the ``[SEG]`` tokens of finished sequences into masks.

        Returns:
            ``masks``: for each row the masks of its tokens, prompts included, in the original frames of their images,
            which are named after their content; ``mask_logits``: likewise, their logits ``(H, W)``; ``mask_columns``:
            where in ``sequences`` the tokens stand; ``mask_scores``: what the decoder believes of them, 0 to 1.
        """
        num_rows = len(context.sequences)
        made: list[list[tuple[Mask, Tensor, int, float]]] = [[] for _ in range(num_rows)]
        places, states = context.places[self.token], context.states[self.token]
        images = images_of_tokens(
            context, token=self.token, last=context.inputs["seg_last"], named=context.inputs["seg_images"]
        )
        kept = [number for number, image in enumerate(images) if image >= 0]
        if kept:
            wanted = torch.tensor([images[number] for number in kept], device=states.device)
            prompts = self.text_hidden_fcs(states[kept])
            features = self._features(context.inputs, wanted.unique())
            found = self._decode(features, prompts, places_among(wanted), multimask=self.multimask)
            best = found.iou.float().argmax(dim=1)  # (K,)
            scores = found.iou.float().gather(1, best[:, None]).squeeze(1).clamp(0, 1).tolist()
            chosen = found.logits[torch.arange(len(best), device=best.device), best].unsqueeze(1)
            whole = self._in_originals(chosen, context.inputs["seg_sizes"][wanted])
            keys = context.inputs["seg_keys"][wanted].tolist()
            for number, logits, key, score in zip(kept, whole, keys, scores, strict=True):
                row, column = places[number].tolist()
                array = (logits > 0).cpu().numpy()
                frame = Frame.original(image_name(key), width=array.shape[1], height=array.shape[0])
                made[row].append((Mask(array, frame=frame), logits, column, score))
        names = ("masks", "mask_logits", "mask_columns", "mask_scores")
        return {name: [[found[place] for found in row] for row in made] for place, name in enumerate(names)}

    def _features(self, inputs: Mapping[str, Tensor], used: Tensor) -> tuple[Tensor, ...]:
        side = self.decoder.recipe.size
        return encoded_pictures(
            self.features, self.decoder, inputs["seg_pixels"], inputs["seg_keys"], used=used, side=side
        )

    def _decode(
        self, features: Sequence[Tensor], prompts: Tensor, places: Tensor, *, multimask: bool
    ) -> MaskPrediction:
        """Decode K prompts; in pieces only where nothing learns, since ranks must call alike."""
        size = self.mask_chunk if not torch.is_grad_enabled() and self.mask_chunk else len(prompts)
        found = [
            self.decoder.decode([feature[part] for feature in features], piece, multimask=multimask)
            for piece, part in zip(prompts.split(size), places.split(size), strict=True)
        ]
        return MaskPrediction(
            logits=torch.cat([one.logits for one in found]), iou=torch.cat([one.iou for one in found])
        )

    def _in_originals(self, logits: Tensor, sizes: Tensor) -> list[Tensor]:
        """Scale ``(K, 1, h, w)`` to the images: K logits ``(H, W)``; masks of equally large images go together."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, size in enumerate(sizes.tolist()):
            groups.setdefault(tuple(size), []).append(number)
        whole: dict[int, Tensor] = {}
        for (height, width, *original), numbers in groups.items():
            scaled = logits_in_original(
                logits[numbers],
                recipe=self.decoder.recipe,
                resized=(height, width),
                original=(original[0], original[1]),
            )
            whole |= dict(zip(numbers, scaled[:, 0], strict=True))
        return [whole[number] for number in range(len(logits))]


def _spec_of(decoder: str | Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": decoder} if isinstance(decoder, str) else decoder
