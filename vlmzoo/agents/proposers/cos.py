"""One turn of Chain-of-Spot as a proposer: the model says which region the question is about."""

from collections.abc import Sequence
from typing import Any

from PIL import Image

from vlmzoo.agents.proposers import PROPOSERS, Proposal
from vlmzoo.models.looking import roi_adapter, say_region

__all__ = ["CosProposer"]


@PROPOSERS.register("cos", source="Chain-of-Spot, arXiv:2403.12966, section 3.2", tiny={"max_new_tokens": 8})
class CosProposer:
    """Asks where to look; the region is the question's, whatever object is named.

    Args:
        max_new_tokens: limit of the turn; the authors' is 128.
        model: with the ROI adapter.

    Raises:
        ConfigError: if the model has no such adapter.
    """

    def __init__(self, *, max_new_tokens: int = 128, model: Any) -> None:
        roi_adapter(model)
        self.model = model
        self.max_new_tokens = max_new_tokens
        self._latest: tuple[Image.Image, str, Proposal] | None = None

    @property
    def models(self) -> Sequence[Any]:
        """The model."""
        return [self.model]

    def propose(self, image: Image.Image, question: str, name: str, *, time_left_s: float | None) -> Proposal:
        """Ask for the region; one that cannot be read is none."""
        if self._latest is not None and self._latest[0] is image and self._latest[1] == question:
            return self._latest[2]
        said, region = say_region(self.model, image, question, max_new_tokens=self.max_new_tokens)
        proposal = Proposal(boxes=[region.box] if region.fault is None else [], said=said)
        self._latest = (image, question, proposal)
        return proposal
