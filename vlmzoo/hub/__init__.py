"""Models as folders on disk and on the Hub."""

from vlmzoo.hub.load import load_model

__all__ = ["load_model"]
