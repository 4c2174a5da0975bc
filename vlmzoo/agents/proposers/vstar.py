"""V* search as a proposer."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from PIL import Image

from vlmzoo.agents.locating import ModelLocator, search_adapter
from vlmzoo.agents.proposers import PROPOSERS, Proposal
from vlmzoo.agents.visual_search import VisualSearch

__all__ = ["VStarProposer"]


@PROPOSERS.register("vstar", source="V*, arXiv:2312.14135, section 3.2", tiny={"max_visits": 2})
class VStarProposer:
    """Searches an image patch by patch; what is not certain anywhere is the likeliest of all, as the authors have it.

    Args:
        confidence_high: a candidate above this ends the search.
        smallest_size: patches whose shorter side is not above this many pixels are not split; None is the authors'.
        max_visits: patches that are looked at at most; None for no limit.
        max_new_tokens: limit of what the model says to each question.
        order: ``guided``, or ``random`` for comparison.
        looks_ahead: whether all parts of a patch are looked at in one call.
        least_probability: below this, the likeliest candidate of a search without a hit is no answer; 0 takes any.
        seed: of the random order.
        model: with the search adapter.

    Raises:
        ConfigError: if the model cannot search, or an option is out of range.
    """

    def __init__(
        self,
        *,
        confidence_high: float = 0.5,
        smallest_size: int | None = None,
        max_visits: int | None = None,
        max_new_tokens: int = 100,
        order: Literal["guided", "random"] = "guided",
        looks_ahead: bool = True,
        least_probability: float = 0.0,
        seed: int = 0,
        model: Any,
    ) -> None:
        search_adapter(model)
        self.model = model
        self.options = VisualSearch(
            confidence_high=confidence_high,
            smallest_size=smallest_size,
            max_visits=max_visits,
            order=order,
            looks_ahead=looks_ahead,
            seed=seed,
        )
        self.least_probability = least_probability
        self.max_new_tokens = max_new_tokens
        self._latest: tuple[Image.Image, ModelLocator] | None = None

    @property
    def models(self) -> Sequence[Any]:
        """The model."""
        return [self.model]

    def propose(self, image: Image.Image, question: str, name: str, *, time_left_s: float | None) -> Proposal:
        """Search for an object; what was read of the image for another one is read no more."""
        if self._latest is None or self._latest[0] is not image:
            self._latest = (image, ModelLocator(self.model, image, max_new_tokens=self.max_new_tokens))
        locator = self._latest[1]
        options = self.options if time_left_s is None else replace(self.options, time_budget_s=max(time_left_s, 1e-3))
        was_training = self.model.training
        self.model.eval()
        try:
            result = options.search(locator, locator.frame, name)
        finally:
            self.model.train(was_training)
        is_taken = result.is_hit or (result.probability or 0.0) >= self.least_probability
        return Proposal(boxes=result.boxes if is_taken else (), probability=result.probability, search=result)
