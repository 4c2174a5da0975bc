"""``import vlmzoo.auto`` lets transformers' ``AutoModelForImageTextToText`` and ``AutoProcessor`` load our folders."""

from vlmzoo.models.registration import register_auto_classes

__all__ = ["register_auto_classes"]

register_auto_classes(with_native=True)
