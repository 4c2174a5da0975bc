"""The configuration of a LLaVA-like model: a spec for each block."""

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedConfig

from vlmzoo.models.composed import ComposedConfig

__all__ = ["LlavaConfig"]


class LlavaConfig(ComposedConfig):
    """One encoder, one projector, one language model.

    Args:
        encoder: ``{type: …}`` for the encoder registry.
        projector: ``{type: …}`` for the projector registry; its widths are filled in by the model.
        text_config: of the language model.
        image_token_id: the placeholder of one visual token.
        kwargs: transformers' common fields.
    """

    model_type = "vlmzoo_llava"

    def __init__(
        self,
        encoder: Mapping[str, Any] | None = None,
        projector: Mapping[str, Any] | None = None,
        text_config: PreTrainedConfig | dict[str, Any] | None = None,
        image_token_id: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.encoder = dict(encoder or {})
        self.projector = dict(projector or {})
        super().__init__(text_config=text_config, image_token_id=image_token_id, **kwargs)
