"""The configuration of an Eagle-like model: a spec for each block."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedConfig

from vlmzoo.models.composed import ComposedConfig

__all__ = ["EagleConfig"]


class EagleConfig(ComposedConfig):
    """Several encoders, a fusion, one projector, one language model.

    Args:
        encoders: ``{type: …}`` for the encoder registry, one for each, in the order of the channels.
        fusion: ``{type: …}`` for the fusion registry; what the encoders give is filled in by the model.
        projector: ``{type: …}`` for the projector registry; its widths are filled in by the model.
        image_size: (height, width) of the images that the processor makes, in pixels, which every encoder resizes for
            itself; None is that of the encoder that wants the largest.
        text_config: of the language model.
        image_token_id: the placeholder of one visual token.
        kwargs: transformers' common fields.
    """

    model_type = "vlmzoo_eagle"

    def __init__(
        self,
        encoders: Sequence[Mapping[str, Any]] = (),
        fusion: Mapping[str, Any] | None = None,
        projector: Mapping[str, Any] | None = None,
        image_size: int | Sequence[int] | None = None,
        text_config: PreTrainedConfig | dict[str, Any] | None = None,
        image_token_id: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.encoders = [dict(encoder) for encoder in encoders]
        self.fusion = dict(fusion or {"type": "channel_concat"})
        self.projector = dict(projector or {})
        self.image_size = image_size if image_size is None or isinstance(image_size, int) else list(image_size)
        super().__init__(text_config=text_config, image_token_id=image_token_id, **kwargs)
