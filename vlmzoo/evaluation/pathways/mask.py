"""The masks of an agent's evidence as an evidence pathway: by them boxes are tightened and crops darkened.

Letters: (H, W) pixels of an image.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from vlmzoo.agents.object_pictures import dimmed_crop, undimmed_crop
from vlmzoo.agents.shown import Shown
from vlmzoo.data.object_crops import location_text
from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.pathways import PATHWAYS
from vlmzoo.evaluation.pathways._shown import ShownPathway
from vlmzoo.evaluation.pathways.image import other_picture
from vlmzoo.geometry import Box, Mask

__all__ = ["MaskPathway"]


@PATHWAYS.register("mask", source="vlmzoo's own; masks as evidence: FaST, arXiv:2408.08862, section 3", tiny={})
class MaskPathway(ShownPathway):
    """What a mask does to box, place in words and crop; evidence without a mask stays as it is.

    ``blank`` leaves the mask out, so that the proposed region stands; ``swap`` lays the shape of another question's
    mask into the region, ``shuffle`` the pieces of the mask in disorder, ``noise`` a random shape.

    Args:
        subject: an agent with a segmenter.

    Raises:
        ConfigError: if the agent has none.
    """

    def __init__(self, *, subject: Any) -> None:
        super().__init__(subject=subject)
        if getattr(subject, "refiner", None) is None:
            raise ConfigError("A `mask` pathway needs an agent with a segmenter, but this one has none.")

    def other(self, kind: str, shown: Shown, partner: Shown, draw: np.random.Generator) -> Shown:
        """Return the evidence as it would be with another mask."""
        if shown.mask is None:
            return shown
        mask = None if kind == "blank" else _other_mask(kind, shown, partner, draw)
        box = mask.box() if mask is not None else None
        if mask is None or box is None:
            crop = undimmed_crop(shown.picture, shown.name, shown.region)
            return replace(shown, mask=None, box=shown.region, text=location_text(shown.region), crop=crop)
        is_dimmed = self.subject.options.dims_outside
        crop = (
            dimmed_crop(shown.picture, shown.name, box, mask)
            if is_dimmed
            else undimmed_crop(shown.picture, shown.name, box)
        )
        return replace(shown, mask=mask, box=box, text=location_text(box), crop=crop)


def _other_mask(kind: str, shown: Shown, partner: Shown, draw: np.random.Generator) -> Mask | None:
    """Return another mask inside the proposed region; None where the partner has no shape to lend."""
    assert shown.mask is not None
    edges = tuple(int(edge) for edge in shown.region.clipped().rounded().xyxy)
    x0, y0, x1, y1 = edges[0], edges[1], max(edges[2], edges[0] + 1), max(edges[3], edges[1] + 1)
    inside = _cut(shown.mask, (x0, y0, x1, y1))
    if kind == "swap":
        if partner.mask is None:
            return None
        whole = Box.from_xyxy(partner.region.clipped().rounded().xyxy, frame=partner.region.frame)
        inside = _cut(partner.mask, tuple(int(edge) for edge in whole.xyxy))
    elif kind == "noise":
        inside = draw.random(inside.shape) < 0.5
    else:
        disordered = other_picture("shuffle", Image.fromarray(inside.astype(np.uint8) * 255).convert("RGB"), draw)
        inside = np.asarray(disordered.convert("L")) > 127
    scaled = Image.fromarray(inside.astype(np.uint8) * 255).resize((x1 - x0, y1 - y0), Image.Resampling.NEAREST)
    array = np.zeros_like(shown.mask.array)
    array[y0:y1, x0:x1] = (np.asarray(scaled) > 127)[: array.shape[0] - y0, : array.shape[1] - x0]
    return Mask(array, frame=shown.mask.frame)


def _cut(mask: Mask, edges: tuple[int, ...]) -> np.ndarray:
    """Return the pixels of a mask inside some edges, at least one."""
    x0, y0, x1, y1 = edges
    part = mask.array[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    return part if part.size else np.zeros((1, 1), dtype=bool)
