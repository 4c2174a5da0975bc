"""Tell transformers' Auto classes about ours; every public call does it, and so does ``import vlmzoo.auto``."""

from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from vlmzoo.data.processing import VlmProcessor
from vlmzoo.models.llava.configuration import LlavaConfig
from vlmzoo.models.llava.modeling import LlavaVlm

__all__ = ["register_auto_classes"]


def register_auto_classes() -> None:
    """Register our configurations, models and processor with transformers; calling it again changes nothing."""
    for config_class, model_class in ((LlavaConfig, LlavaVlm),):
        AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
        AutoModelForImageTextToText.register(config_class, model_class, exist_ok=True)
        AutoProcessor.register(config_class, VlmProcessor, exist_ok=True)
