"""What the tasks' words share: the names of chains of thought, and how much of one is left."""

from typing import Literal, Protocol, TypeAlias, TypeVar

from vlmzoo.data.synthetic import Kind

__all__ = ["IMAGE_PREFIX", "CotStyle", "Wording", "kept_part"]

IMAGE_PREFIX = "<image>\n\n"

CotStyle: TypeAlias = Literal["standard", "template", "order", "value"]
"""How a chain of thought is written: the authors' own, or an ablation of it. ``template`` says what matters only,
``order`` says the same in another order, ``value`` lists values in another order. The ablations of Visual Analogy are
the authors', those of the other tasks ours; scores that read a chain read ``standard``."""

InstanceT = TypeVar("InstanceT", contravariant=True)


class Wording(Protocol[InstanceT]):
    """The words of one task."""

    def text_form(self, instance: InstanceT, /) -> str:
        """Return the text with the same content as the image."""
        ...

    def prompt(self, instance: InstanceT, /, kind: Kind, *, distinct: bool = False) -> str:
        """Return the question; ``distinct`` asks for the text form in so many words for ``image_via_text``."""
        ...

    def response(
        self, instance: InstanceT, /, kind: Kind, *, cot: bool = True, keep: float = 1.0, style: CotStyle = "standard"
    ) -> str:
        """Return the target, with the first ``keep`` of the chain of thought."""
        ...


def kept_part(chain: str, keep: float) -> str:
    """Return the beginning of a chain that is left where the rest is internalised: a share of its characters.

    Source: S2H, arXiv:2501.02669 (internalised chains of thought).
    """
    return chain[: int(len(chain) * keep)]
