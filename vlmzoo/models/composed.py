"""The composed base: image features scattered into the embeddings of a decoder-only language model.

Letters: B sequences, T text positions, V vocabulary, N visual tokens of an image, D width of a token.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, GenerationMixin, PreTrainedConfig, PreTrainedModel

from vlmzoo.blocks.encoders.timm import TimmEncoder
from vlmzoo.blocks.language.causal_lm import build_language_model
from vlmzoo.data.packing import Segments
from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.models.adapting import AdapterMixin
from vlmzoo.models.feature_cache import FeatureCache
from vlmzoo.models.image_memory import ImageMemory
from vlmzoo.models.packed import place_rows
from vlmzoo.models.parts import freeze_unused
from vlmzoo.outputs import VlmOutput

__all__ = ["ComposedConfig", "ComposedVlm"]


class ComposedConfig(PreTrainedConfig):
    """What all composed models store: specs of their blocks, and a transformers text configuration.

    Args:
        text_config: of the language model, a transformers configuration or its dictionary.
        image_token_id: the placeholder that the processor repeats once per visual token.
        kwargs: transformers' common fields.
    """

    sub_configs = {"text_config": AutoConfig}  # type: ignore[assignment]
    has_no_defaults_at_init = True

    def __init__(
        self,
        text_config: PreTrainedConfig | dict[str, Any] | None = None,
        image_token_id: int | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(text_config, dict):
            text_config = AutoConfig.for_model(**text_config)
        self.text_config = text_config
        self.image_token_id = image_token_id
        kwargs.setdefault("tie_word_embeddings", bool(getattr(text_config, "tie_word_embeddings", False)))
        super().__init__(**kwargs)


class ComposedVlm(AdapterMixin, PreTrainedModel, GenerationMixin):
    """Encoders, a projector and a language model; families say how images become features.

    A family builds its parts in ``__init__``, sets ``self.language_model`` and implements :meth:`feature_maps` and
    :meth:`project`.

    Raises:
        ConfigError: if its configuration describes no language model.
    """

    config_class = ComposedConfig
    base_model_prefix = "language_model"
    main_input_name = "input_ids"
    input_modalities = ["image", "text"]
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _skip_keys_device_placement = ["cache"]

    image_size: tuple[int, int]
    """(height, width) of the images that the model takes, in pixels; a family sets it."""
    language_model: PreTrainedModel
    feature_cache: FeatureCache | None = None
    """Keeps what frozen encoders make of images, in training."""
    image_memory: ImageMemory | None = None
    """Keeps what the encoders make of the latest images, while questions are asked (``remembered_images``)."""
    part_prefixes = {"encoder": ("encoder.",), "projector": ("projector.",), "language_model": ("language_model.",)}

    def __init__(self, config: ComposedConfig) -> None:
        super().__init__(config)
        if config.text_config is None:
            raise ConfigError("`text_config` must describe a language model, but is missing.")
        self.language_model = build_language_model(config.text_config)

    @abstractmethod
    def feature_maps(self, pixel_values: Tensor) -> list[Tensor]:
        """Encode images with each of K encoders: ``(images, 3, H, W)`` to K maps ``(images, C_k, h_k, w_k)``."""

    @abstractmethod
    def project(self, feature_maps: list[Tensor]) -> Tensor:
        """Turn K maps, the k-th ``(images, C_k, h_k, w_k)``, into visual tokens ``(images, N, D)``."""

    def image_features(self, pixel_values: Tensor) -> Tensor:
        """Encode and project images: ``(images, 3, H, W)`` to ``(images, N, D)``, from the cache where there is one."""
        return self.project(self._maps_of(pixel_values))

    def _maps_of(self, pixel_values: Tensor) -> list[Tensor]:
        if not self.training and self.image_memory is not None:
            return self.image_memory.maps(pixel_values, self.feature_maps)
        if self.feature_cache is None or not self.training:
            return self.feature_maps(pixel_values)
        return self.feature_cache.maps(pixel_values, self.feature_maps, together=self.always_look)

    @property
    @abstractmethod
    def num_image_tokens(self) -> int:
        """N, the visual tokens of one image."""

    def get_input_embeddings(self) -> nn.Module:
        """Return the language model's token embeddings."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the language model's token embeddings."""
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """Return the language model's head."""
        head: Any = self.language_model.get_output_embeddings()
        return head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace the language model's head."""
        self.language_model.set_output_embeddings(new_embeddings)

    def get_decoder(self) -> PreTrainedModel:
        """Return the language model without its head."""
        return self.language_model.get_decoder()

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load as transformers does, then restore what it leaves undefined: timm's buffers, and what never learns."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        for module in model.modules():
            if isinstance(module, TimmEncoder):
                module.restore_buffers()
        freeze_unused(model)
        return loaded

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise nothing: transformers' own parts initialise themselves, timm's are born initialised."""

    def embed(
        self,
        input_ids: Tensor,
        pixel_values: Tensor | None,
        image_index: Tensor | None = None,
        adapter_inputs: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Embed tokens and put the features of the images in place of their placeholders.

        Args:
            input_ids: ``(B, T)``, with N placeholders for each image, or as many as an adapter makes of it.
            pixel_values: ``(images, 3, H, W)`` in the order of the placeholders, or None.
            image_index: as for :meth:`forward`.
            adapter_inputs: of all adapters, by name.

        Returns:
            The embeddings ``(B, T, D)`` and the features ``(images, N, D)``; None for the latter where an adapter
            shapes images.

        Raises:
            ShapeError: if placeholders and features differ in number.
        """
        is_image = input_ids == self.config.image_token_id  # (B, T)
        embeddings = self.get_input_embeddings()(input_ids.masked_fill(is_image, 0))  # the placeholder needs no row
        if pixel_values is None:
            _check_placeholders(is_image, num_images=0, num_tokens=0)
            return (embeddings + self._look_at_nothing() if self._must_look else embeddings), None
        shaped = self._shaped_images(pixel_values, adapter_inputs or self._image_inputs, image_index)
        if shaped is not None:
            _check_total(is_image, lengths=[len(own) for own in shaped])
            return embeddings.masked_scatter(is_image.unsqueeze(-1), torch.cat(shaped).to(embeddings)), None
        features = self.image_features(pixel_values).to(embeddings)
        if image_index is not None:
            features = features[image_index]
        _check_placeholders(is_image, num_images=features.shape[0], num_tokens=features.shape[1])
        return embeddings.masked_scatter(is_image.unsqueeze(-1), features), features

    def _shaped_images(
        self, pixel_values: Tensor, inputs: Mapping[str, Tensor], image_index: Tensor | None = None
    ) -> list[Tensor] | None:
        """Return what an adapter makes of each image, ``(N_i, D)``; None where no adapter shapes any."""
        for adapter in self.attached.values():
            own = {name: inputs[name] for name in adapter.input_names if name in inputs}
            if adapter.shapes_images and (own or self._must_look):
                maps = self._maps_of(pixel_values)
                shown = maps if image_index is None else [one[image_index] for one in maps]
                return adapter.visual_tokens(shown, self.project, own)
        return None

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Any = None,
        inputs_embeds: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_index: Tensor | None = None,
        labels: Tensor | None = None,
        return_logits: bool = True,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: int | Tensor | None = None,
        temperature: float = 1.0,
        return_entropy: bool = False,
        **kwargs: Any,
    ) -> VlmOutput:
        """Run the model.

        Args:
            input_ids: ``(B, T)``, image placeholders already expanded by the processor.
            attention_mask: ``(B, T)``, 1 where a token counts.
            position_ids: ``(B, T)``; None counts the attended tokens. Where a single sequence without mask and
                cache starts anew in them, it is packed, and its rows are kept apart.
            cache: the key-value cache; images enter with the first call only.
            inputs_embeds: ``(B, T, D)`` in place of ``input_ids``.
            pixel_values: ``(images, 3, H, W)`` over the whole batch, in the order of the placeholders.
            image_index: ``(shown,)``, which image stands at each place of one, in their order, so that an image that
                several rows show is encoded once; None shows each once.
            labels: ``(B, T)``, ``input_ids`` at targets and -100 elsewhere; asks for ``logprobs`` and ``loss``.
            return_logits: False leaves the logits out, so that ``(B, T, V)`` never exists.
            logits_to_keep: logits of the last so many positions only; 0 for all.
            num_items_in_batch: divides ``loss`` in place of this batch's own number of targets.
            temperature: divides the logits behind ``logprobs`` and ``entropy``, not those that are returned.
            return_entropy: True adds ``entropy`` at the targets.
            kwargs: inputs of adapters; what is left is passed to the language model.

        Raises:
            ShapeError: if placeholders and image features differ in number.
        """
        adapter_inputs = self._take_adapter_inputs(kwargs)
        if labels is not None:
            kwargs.setdefault("use_cache", False)
        segments = Segments.of(position_ids, attention_mask=attention_mask, cache=cache)
        if segments is not None and position_ids is not None:
            attention_mask, position_ids = place_rows(self, segments, input_ids=input_ids, position_ids=position_ids)
            if len(segments.lengths) > 1:
                kwargs["use_cache"] = False
        outputs, features = self._run_decoder(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=cache,
            inputs_embeds=inputs_embeds,
            pixel_values=pixel_values,
            image_index=image_index,
            adapter_inputs=adapter_inputs,
            **kwargs,
        )
        result = self._conclude(
            outputs,
            labels=labels,
            return_logits=return_logits,
            logits_to_keep=logits_to_keep,
            num_items_in_batch=num_items_in_batch,
            context={"input_ids": input_ids, "attention_mask": attention_mask},
            adapter_inputs=adapter_inputs,
            language_model=self.language_model,
            segments=segments,
            temperature=temperature,
            return_entropy=return_entropy,
        )
        result.image_features = features
        return result

    def _blank_picture(self) -> dict[str, Tensor]:
        return {"pixel_values": torch.zeros(1, 3, *self.image_size)}

    def _features_of(self, pictures: Mapping[str, Tensor]) -> Sequence[Tensor]:
        shaped = self._shaped_images(pictures["pixel_values"], {})
        return shaped if shaped is not None else [self.image_features(pictures["pixel_values"])]

    def _run_decoder(
        self,
        *,
        input_ids: Tensor | None,
        attention_mask: Tensor | None = None,
        cache: Any = None,
        inputs_embeds: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_index: Tensor | None = None,
        adapter_inputs: Mapping[str, Tensor] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, Tensor | None]:
        """Run everything but the head; return the decoder's outputs and the features of the images."""
        features = None
        if inputs_embeds is None:
            if input_ids is None:
                raise ShapeError("Exactly one of `input_ids` and `inputs_embeds` must be given, but neither is.")
            inputs_embeds, features = self.embed(input_ids, pixel_values, image_index, adapter_inputs)
        outputs = self.get_decoder()(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask if cache is not None else _needed(attention_mask),
            cache=cache,
            **kwargs,
        )
        return outputs, features

    @property
    def base_model(self) -> Any:
        """Everything but the head, as trainers call it that bring a head of their own."""
        return _Headless(self)

    def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs: Any) -> dict[str, Any]:
        """Let the images enter with the first call; afterwards they are in the cache."""
        pixel_values = kwargs.pop("pixel_values", None)
        is_first = kwargs.get("is_first_iteration", False)
        inputs = super().prepare_inputs_for_generation(input_ids, **kwargs)  # type: ignore[misc]
        if is_first or not kwargs.get("use_cache", True):
            inputs["pixel_values"] = pixel_values
        return inputs

    def _expand_inputs_for_generation(
        self, expand_size: int = 1, is_encoder_decoder: bool = False, input_ids: Tensor | None = None, **kwargs: Any
    ) -> tuple[Tensor | None, dict[str, Any]]:
        """Repeat rows for several completions each, and with every row all of its images."""
        pixel_values = kwargs.pop("pixel_values", None)
        if pixel_values is not None and expand_size > 1 and self._image_inputs:
            raise ConfigError(
                f"`num_return_sequences` must be 1 where images have short forms, but is {expand_size} instead; repeat "
                "the prompts."
            )
        if pixel_values is not None and input_ids is not None and expand_size > 1:
            per_row = (input_ids == self.config.image_token_id).sum(dim=1) // self.num_image_tokens
            images = pixel_values.split(per_row.tolist())
            pixel_values = torch.cat([image for image in images for _ in range(expand_size)])
        input_ids, kwargs = super()._expand_inputs_for_generation(  # type: ignore[misc]
            expand_size=expand_size, is_encoder_decoder=is_encoder_decoder, input_ids=input_ids, **kwargs
        )
        if pixel_values is not None:
            kwargs["pixel_values"] = pixel_values
        return input_ids, kwargs


class _Headless:
    """A composed model without its head; holds no parameters of its own."""

    _tp_plan: Mapping[str, str] = {}
    _pp_plan: Mapping[str, Any] = {}

    def __init__(self, model: ComposedVlm) -> None:
        self._model = model

    def __call__(self, input_ids: Tensor | None = None, **kwargs: Any) -> Any:
        """Return the decoder's outputs, ``last_hidden_state`` among them."""
        return self._model._run_decoder(input_ids=input_ids, **kwargs)[0]


def _needed(attention_mask: Tensor | None) -> Tensor | None:
    """Drop a mask that hides nothing a causal model sees: where all gaps stand on the right.

    It makes attention on a CPU twice as fast; accelerators' kernels pass over gaps by themselves.
    """
    if attention_mask is None or attention_mask.ndim != 2 or attention_mask.device.type != "cpu":
        return attention_mask
    return None if bool((attention_mask[:, 1:] <= attention_mask[:, :-1]).all()) else attention_mask


def _check_total(is_image: Tensor, *, lengths: Sequence[int]) -> None:
    """Compare placeholders with visual tokens of images of different lengths.

    Args:
        is_image: ``(B, T)``, where the placeholders stand.
        lengths: visual tokens of each image.

    Raises:
        ShapeError: if they differ.
    """
    if int(is_image.sum()) != sum(lengths):
        raise ShapeError(
            f"`input_ids` must hold {sum(lengths)} placeholders for {len(lengths)} images of {list(lengths)} visual "
            f"tokens, but hold {int(is_image.sum())} instead. Let the model's processor expand the placeholders."
        )


def _check_placeholders(is_image: Tensor, *, num_images: int, num_tokens: int) -> None:
    """Compare placeholders with features, naming the row that is wrong.

    Args:
        is_image: ``(B, T)``, where the placeholders stand.
        num_images: images given for the whole batch.
        num_tokens: N, visual tokens of each.

    Raises:
        ShapeError: if they differ.
    """
    found = is_image.sum(dim=1).tolist()  # per row
    if sum(found) == num_images * num_tokens:
        return
    rows = [row for row, count in enumerate(found) if count % num_tokens] if num_tokens else []
    where = f"; row {rows[0]} holds {found[rows[0]]}, which is no multiple of {num_tokens}" if rows else ""
    raise ShapeError(
        f"`input_ids` must hold {num_tokens} placeholders for each of the {num_images} images in `pixel_values`, "
        f"{num_images * num_tokens} in all, but hold {sum(found)} instead{where}. Let the model's processor expand the "
        "placeholders, and never truncate a prompt with images."
    )
