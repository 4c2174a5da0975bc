"""Chain-of-Spot as an agent: asks where to look, then the question with that region before it.

Source: Chain-of-Spot, arXiv:2403.12966, section 3.2.
"""

from collections.abc import Sequence
from typing import Any

from vlmzoo.adapters.roi import crop_of
from vlmzoo.agents.shown import Alter, Shown
from vlmzoo.data.images import load_image
from vlmzoo.data.regions import Region
from vlmzoo.geometry import Box, Frame
from vlmzoo.models.looking import answer_region, roi_adapter, say_region
from vlmzoo.types import ImageLike

__all__ = ["LookTwice"]


class LookTwice:
    """Answers in two turns.

    Args:
        model: with the ROI adapter.
        max_region_tokens: limit of the first turn.
        max_new_tokens: limit of the second.

    Attributes:
        alter: gives another region than what was said, for audits; None shows what was said.

    Raises:
        ConfigError: if the model has no ROI adapter.
    """

    alter: Alter | None = None

    def __init__(self, model: Any, *, max_region_tokens: int = 128, max_new_tokens: int = 128) -> None:
        roi_adapter(model)
        self.model = model
        self.max_region_tokens = max_region_tokens
        self.max_new_tokens = max_new_tokens

    def answer_all(self, asked: Sequence[tuple[ImageLike, str]]) -> list[str]:
        """Answer questions about images; the regions of all are known before the first answer.

        Raises:
            DataError: if an image cannot be used.
        """
        pictures = [load_image(image) for image, _ in asked]
        regions = [
            say_region(self.model, picture, question, max_new_tokens=self.max_region_tokens)
            for picture, (_, question) in zip(pictures, asked, strict=True)
        ]
        shown: Sequence[Sequence[Shown]] = [
            [_shown(picture, said, region)] for picture, (said, region) in zip(pictures, regions, strict=True)
        ]
        if self.alter is not None:
            shown = self.alter(shown)
        return [
            answer_region(
                self.model, picture, question, said=own[0].text, crop=own[0].crop, max_new_tokens=self.max_new_tokens
            )
            for picture, (_, question), own in zip(pictures, asked, shown, strict=True)
        ]


def _shown(picture: Any, said: str, region: Region) -> Shown:
    frame = Frame.original(region.box.frame.image, width=picture.width, height=picture.height)
    box: Box = region.box.to(frame)
    return Shown(name="", text=said, crop=crop_of(picture, region), box=box, region=box, picture=picture)
