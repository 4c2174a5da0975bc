"""The pixels of an agent's evidence as an evidence pathway."""

from dataclasses import replace

import numpy as np

from vlmzoo.agents.shown import Shown
from vlmzoo.evaluation.pathways import PATHWAYS
from vlmzoo.evaluation.pathways._shown import ShownPathway
from vlmzoo.evaluation.pathways.image import other_picture

__all__ = ["CropPathway"]


@PATHWAYS.register("crop", source="vlmzoo's own; the crops of V*, arXiv:2312.14135, section 3.1", tiny={})
class CropPathway(ShownPathway):
    """What the crops show, while names and places in words stay.

    ``blank`` shows grey, ``swap`` the crop of another question, ``noise`` random pixels, ``shuffle`` the pieces of the
    crop in disorder.

    Args:
        subject: an agent.
    """

    def other(self, kind: str, shown: Shown, partner: Shown, draw: np.random.Generator) -> Shown:
        """Return the evidence with another crop."""
        return replace(shown, crop=partner.crop if kind == "swap" else other_picture(kind, shown.crop, draw))
