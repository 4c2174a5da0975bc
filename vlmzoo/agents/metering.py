"""What asking costs: tokens through language models, images through vision encoders, calls, seconds."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

__all__ = ["Cost", "Meter"]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """An amount of work.

    Args:
        lm_tokens: positions that went through a language model, padding included.
        images: pictures that went through a vision encoder; a base that packs its pictures counts calls.
        calls: of a language model.
        seconds: by the clock.
    """

    lm_tokens: float = 0.0
    images: float = 0.0
    calls: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        """Return both together."""
        return Cost(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})

    def __sub__(self, other: "Cost") -> "Cost":
        """Return what came after ``other``."""
        return Cost(**{name: getattr(self, name) - getattr(other, name) for name in self.__dataclass_fields__})

    def share(self, number: int) -> "Cost":
        """Return one of ``number`` equal shares."""
        return Cost(**{name: getattr(self, name) / number for name in self.__dataclass_fields__})

    def to_dict(self) -> dict[str, float]:
        """Return plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class Meter:
    """Counts what models do while it is open: a context, whose ``reading`` grows.

    Args:
        models: bases of ours, with their adapters; one that is named twice counts once.
    """

    def __init__(self, models: Iterable[Any]) -> None:
        self.models = list({id(model): model for model in models}.values())
        self._tokens = self._images = self._calls = 0
        self._started = time.monotonic()
        self._handles: list[Any] = []

    def __enter__(self) -> "Meter":
        """Begin to count."""
        for model in self.models:
            decoder = model.get_decoder()
            self._handles.append(decoder.register_forward_pre_hook(self._count_tokens, with_kwargs=True))
            for prefix in type(model).part_prefixes.get("encoder", ()):
                for encoder in _modules(model, prefix):
                    self._handles.append(encoder.register_forward_pre_hook(self._count_images, with_kwargs=True))
        self._adapters = [
            adapter.features
            for model in self.models
            for adapter in model.attached.values()
            if hasattr(getattr(adapter, "features", None), "num_encoded")
        ]
        self._before = self._encoded_by_adapters()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop counting."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @property
    def reading(self) -> Cost:
        """What was done so far."""
        return Cost(
            lm_tokens=self._tokens,
            images=self._images + self._encoded_by_adapters() - self._before,
            calls=self._calls,
            seconds=time.monotonic() - self._started,
        )

    def _encoded_by_adapters(self) -> int:
        return sum(features.num_encoded for features in self._adapters)

    def _count_tokens(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        read = kwargs.get("inputs_embeds", kwargs.get("input_ids", args[0] if args else None))
        if read is not None:
            self._tokens += read.shape[0] * read.shape[1]
            self._calls += 1

    def _count_images(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        pixels = kwargs.get("pixel_values", args[0] if args else None)
        self._images += pixels.shape[0] if isinstance(pixels, torch.Tensor) and pixels.ndim == 4 else 1


def _modules(model: nn.Module, prefix: str) -> list[nn.Module]:
    """Return the module that a prefix of names means, or those in it if it is a list."""
    found: Any = model
    for name in prefix.rstrip(".").split("."):
        found = getattr(found, name, None)
        if found is None:
            return []
    return list(found) if isinstance(found, nn.ModuleList) else [found]
