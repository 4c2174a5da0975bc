"""The model that a config's ``model:`` section names, with its processor."""

from typing import Any

from vlmzoo.config.schema import ModelConfig
from vlmzoo.hub import build_model, load_model
from vlmzoo.hub.parts import load_parts

__all__ = ["model_of"]


def model_of(wanted: ModelConfig, *, device: str) -> tuple[Any, Any]:
    """Load the model of a folder or Hub id, or build the one that a name or an architecture describes.

    Args:
        wanted: the section.
        device: where to put the model.

    Returns:
        The model and its processor.

    Raises:
        ConfigError: if it cannot be built, or cannot hold an adapter.
        CheckpointError: if its weights are not whole.
    """
    options: dict[str, Any] = {
        "device": device,
        "dtype": wanted.dtype,
        "attn_implementation": wanted.attn_implementation,
        "quantization": wanted.quantization,
    }
    if wanted.path is not None:
        model, processor = load_model(wanted.path, revision=wanted.revision, adapters=wanted.adapters, **options)
    else:
        model = build_model(wanted, pretrained=wanted.pretrained, **options)
        processor = model.processor
    load_parts(model, wanted.parts)
    return model, processor
