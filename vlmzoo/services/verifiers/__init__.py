"""Verifiers: whether a negative image can be used, before it is trained on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from vlmzoo.registry import Registry

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["VERIFIERS", "Acceptance", "Verifier"]


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """What a verifier found.

    Args:
        is_accepted: whether the picture can be used.
        score: that decided, if there is one.
        reason: why it cannot.
    """

    is_accepted: bool
    score: float | None = None
    reason: str = ""


class Verifier(Protocol):
    """Looks at negative images."""

    def accept(self, image: "Image", *, positive: "Image | None", chosen: str, rejected: str) -> Acceptance:
        """Say whether a picture can stand against the better answer; never raises.

        Args:
            image: the negative image.
            positive: the picture that was asked about.
            chosen: the better answer, which the image shall contradict.
            rejected: the worse one, which it shall show.
        """
        ...


VERIFIERS: Registry[Verifier] = Registry("verifier", "vlmzoo.services.verifiers")
