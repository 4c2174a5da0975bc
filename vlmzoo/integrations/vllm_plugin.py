"""What vLLM calls in each of its processes: it then knows composed bases by their configuration.

The entry point ``vlmzoo`` of the group ``vllm.general_plugins`` names :func:`register`.
Source: vLLM documentation, Plugin system, and Transformers modeling backend (0.32).
"""

import transformers

from vlmzoo.models.eagle.modeling import EagleVlm
from vlmzoo.models.llava.modeling import LlavaVlm
from vlmzoo.models.registration import register_auto_classes

__all__ = ["register"]


def register() -> None:
    """Tell transformers of our classes, and put them where vLLM looks an architecture up: among transformers' own."""
    register_auto_classes()
    for model_class in (LlavaVlm, EagleVlm):
        setattr(transformers, model_class.__name__, model_class)
