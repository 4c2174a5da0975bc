"""A verifier for icons: the picture's text must name something that the better answer does not."""

from typing import TYPE_CHECKING

from vlmzoo.data.icons import icons_in
from vlmzoo.services.verifiers import VERIFIERS, Acceptance

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ContradictsVerifier"]


@VERIFIERS.register("contradicts", source="vlmzoo's own; OViP, arXiv:2505.15963, at small scale", tiny={})
class ContradictsVerifier:
    """Refuses pairs whose answers name the same icons: no picture can agree with one and contradict the other."""

    def accept(self, image: "Image", *, positive: "Image | None", chosen: str, rejected: str) -> Acceptance:
        """Compare the icons of both answers."""
        differ = set(icons_in(chosen)) != set(icons_in(rejected))
        return Acceptance(is_accepted=differ, reason="" if differ else "both answers name the same icons")
