"""One encoder of a composed base as an evidence pathway.

Letters: B images, C channels, (H, W) pixels, (h, w) grid.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.benchmarks.synthetic import derangement
from vlmzoo.evaluation.pathways import KINDS, PATHWAYS
from vlmzoo.types import Sample

__all__ = ["EncoderPathway", "encoders_of"]


def encoders_of(subject: Any) -> list[nn.Module]:
    """Return the encoders of a composed base, in its order.

    Raises:
        ConfigError: if the subject has none of ours.
    """
    if hasattr(subject, "encoders"):
        return list(subject.encoders)
    if isinstance(getattr(subject, "encoder", None), nn.Module):
        return [subject.encoder]
    raise ConfigError(f"An `encoder` pathway needs a composed base, but the subject is a {type(subject).__name__}.")


@PATHWAYS.register(
    "encoder", source="vlmzoo's own; blanking and swapping as in ablations of VLM inputs", tiny={"number": 0}
)
class EncoderPathway:
    """What one encoder sees, while the others see the picture as it is.

    ``blank`` shows it the mean colour, ``swap`` the picture of another question, ``noise`` a picture of white noise;
    ``shuffle`` disorders the positions of the map that it gives, for each image in another way.

    Args:
        number: of the encoder, from 0.
        subject: a composed base.

    Raises:
        ConfigError: if there is no such encoder.
    """

    def __init__(self, *, number: int, subject: Any) -> None:
        encoders = encoders_of(subject)
        if not 0 <= number < len(encoders):
            raise ConfigError(
                f"`number` must be that of an encoder, 0 to {len(encoders) - 1}, but is {number} instead."
            )
        self.encoder: Any = encoders[number]

    @property
    def kinds(self) -> Sequence[str]:
        """All four; a map of a single position cannot be shuffled."""
        height, width = self.encoder.grid_size
        return KINDS if height * width > 1 else tuple(kind for kind in KINDS if kind != "shuffle")

    @contextmanager
    def disturbed(self, kind: str, samples: Sequence[Sample], *, seed: int) -> Iterator[Sequence[Sample]]:
        """Disturb what this encoder sees, or gives; the questions stay as they are."""
        generator = torch.Generator().manual_seed(seed)

        def before(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
            return (_other_pixels(kind, inputs[0], generator, seed=seed),)

        def after(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            return _disordered(output, generator)

        hook: Any = (
            self.encoder.register_forward_hook(after)
            if kind == "shuffle"
            else self.encoder.register_forward_pre_hook(before)
        )
        try:
            yield samples
        finally:
            hook.remove()


def _other_pixels(kind: str, pixel_values: Tensor, generator: torch.Generator, *, seed: int) -> Tensor:
    """Return what is shown in place of ``(B, 3, H, W)``, normalised as it is."""
    if kind == "blank":
        return torch.zeros_like(pixel_values)
    if kind == "noise":
        return torch.randn(pixel_values.shape, generator=generator).to(pixel_values)
    if len(pixel_values) < 2:
        raise DataError("A single picture cannot be swapped with another; ask several questions at once.")
    return pixel_values[derangement(len(pixel_values), seed=seed)]


def _disordered(feature_maps: Tensor, generator: torch.Generator) -> Tensor:
    """Permute the positions of each map: ``(B, C, h, w)`` to the same shape."""
    flat = feature_maps.flatten(2)  # (B, C, h * w)
    order = torch.stack([torch.randperm(flat.shape[2], generator=generator) for _ in flat]).to(flat.device)
    return flat.gather(2, order[:, None].expand_as(flat)).view_as(feature_maps)
