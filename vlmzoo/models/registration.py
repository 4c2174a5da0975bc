"""Tell transformers' Auto classes about ours; every public call does it, and so does ``import vlmzoo.auto``."""

from typing import Any

from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor

from vlmzoo.data.processing import VlmProcessor
from vlmzoo.models.eagle.configuration import EagleConfig
from vlmzoo.models.eagle.modeling import EagleVlm
from vlmzoo.models.headless import HeadlessEagle, HeadlessLlava
from vlmzoo.models.llava.configuration import LlavaConfig
from vlmzoo.models.llava.modeling import LlavaVlm
from vlmzoo.models.native.modeling import native_class
from vlmzoo.models.native.table import NATIVE

__all__ = ["composed_class", "register_auto_classes"]

_COMPOSED = ((LlavaConfig, LlavaVlm, HeadlessLlava), (EagleConfig, EagleVlm, HeadlessEagle))


def composed_class(model_type: str) -> Any | None:
    """Return the class of a composed base by its configuration's ``model_type``; None if there is none."""
    return next((model_class for config, model_class, _ in _COMPOSED if config.model_type == model_type), None)


def register_auto_classes(*, with_native: bool = False) -> None:
    """Register our configurations, models and processor with transformers; calling it again changes nothing.

    Args:
        with_native: whether transformers' own models, too, come with their adapters; imports all of them.
    """
    for model_type in NATIVE if with_native else ():
        native: Any = native_class(model_type)
        AutoModelForImageTextToText.register(native.config_class, native, exist_ok=True)
    for config_class, model_class, headless_class in _COMPOSED:
        AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
        AutoModel.register(config_class, headless_class, exist_ok=True)
        AutoModelForImageTextToText.register(config_class, model_class, exist_ok=True)
        AutoProcessor.register(config_class, VlmProcessor, exist_ok=True)
