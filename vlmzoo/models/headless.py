"""Composed bases without their head: what ``AutoModel`` loads, and what vLLM's back end for transformers wraps.

It brings a head, a cache and a scheduler of its own, and asks of a model that images become features in one call and
that a decoder takes embeddings in another.

Letters: B sequences, T positions, N visual tokens of an image, D width of a token.
"""

from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from vlmzoo.errors import ConfigError
from vlmzoo.models.composed import ComposedConfig
from vlmzoo.models.eagle.modeling import EagleVlm
from vlmzoo.models.layout import MANIFEST
from vlmzoo.models.llava.modeling import LlavaVlm

__all__ = ["HeadlessEagle", "HeadlessLlava"]


@cache
def _own(decoder_class: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """Return a class of the same decoder that no other model has, since vLLM changes the class that it compiles."""
    return type(f"Headless{decoder_class.__name__}", (decoder_class,), {"__module__": __name__})


class _Decoder(nn.Module):
    """Holds the decoder under the name that it has in a checkpoint, ``language_model.model``."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.config = model.config

    def get_decoder(self) -> PreTrainedModel:
        """Return the language model without its head."""
        return self.model

    def get_input_embeddings(self) -> nn.Module:
        """Return the token embeddings."""
        return self.model.get_input_embeddings()


class _HeadlessMixin:
    """Takes the head off a composed model while it is built."""

    base_model_prefix = ""  # keys are those of the whole model
    _tied_weights_keys: dict[str, str] = {}
    config: ComposedConfig
    language_model: Any

    def post_init(self) -> None:
        """Drop the head before transformers ties and initialises.

        Raises:
            ConfigError: if the folder of the configuration has adapters, which nothing here would run, or names
                another folder for its weights.
        """
        folder = getattr(self.config, "_name_or_path", None)
        if folder and (Path(folder) / MANIFEST).is_file():
            raise ConfigError(
                f"{folder} has adapters, or weights that lie elsewhere, which a model without its head does not run; "
                "merge them first: `vlmzoo export FOLDER --merge --out MERGED`."
            )
        whole = self.language_model.get_decoder()
        self.language_model = _Decoder(_own(type(whole))(whole.config))
        super().post_init()  # type: ignore[misc]

    def get_output_embeddings(self) -> None:
        """There is no head."""

    def get_image_features(self, pixel_values: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """Encode and project images: ``(images, 3, H, W)`` to ``pooler_output`` of ``(images, N, D)``."""
        features: Any = self.image_features(pixel_values)  # type: ignore[attr-defined]
        return BaseModelOutputWithPooling(pooler_output=features)

    def forward(
        self,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        pixel_values: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the decoder's outputs, ``last_hidden_state`` of ``(B, T, D)`` first.

        Args:
            input_ids: ``(B, T)``, image placeholders already expanded by the processor.
            inputs_embeds: ``(B, T, D)`` in place of ``input_ids`` and ``pixel_values``.
            pixel_values: ``(images, 3, H, W)`` in the order of the placeholders.
            kwargs: passed to the decoder.
        """
        outputs: Any = self._run_decoder(  # type: ignore[attr-defined]
            input_ids=input_ids, inputs_embeds=inputs_embeds, pixel_values=pixel_values, **kwargs
        )
        return outputs[0]


class HeadlessLlava(_HeadlessMixin, LlavaVlm):
    """`LlavaVlm` without its head."""


class HeadlessEagle(_HeadlessMixin, EagleVlm):
    """`EagleVlm` without its head."""
