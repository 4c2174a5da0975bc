"""Tasks drawn by a generator: every instance has an image and a text form with the same content.

Source: S2H, arXiv:2501.02669, section 2. An instance is a pure function of (task, level, seed, index), so that a
run needs no files, and any worker may draw any instance.
"""

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from vlmzoo.registry import Registry

if TYPE_CHECKING:
    from PIL.Image import Image

    from vlmzoo.types import Sample

__all__ = ["KINDS", "TASKS", "ImageMode", "Kind", "Level", "SyntheticTask"]

Kind: TypeAlias = Literal["text", "image", "image_via_text", "conversion"]
"""What is given and what is asked: ``text`` gives the text form, the others the image; ``image_via_text`` asks for the
text form before the solution, and ``conversion`` for the text form alone."""
Level: TypeAlias = Literal["simple", "medium", "hard"]
ImageMode: TypeAlias = Literal["RGB", "P"]
KINDS: tuple[Kind, ...] = ("text", "image", "image_via_text", "conversion")


class SyntheticTask(Protocol):
    """One family of instances at one level of difficulty.

    A task that can write its chain of thought otherwise has ``cot_styles``, and its ``response`` and ``sample`` take
    ``cot_style`` and ``keep``, the share of the chain that is left; see ``_task.DrawnTask``.

    Attributes:
        name: the name that it is registered under.
        level: one of ``Level``.
    """

    name: str
    level: str

    def instance(self, seed: int, index: int) -> Any:
        """Draw the parameters of one instance; equal arguments give equal instances, on any machine."""
        ...

    def text_form(self, instance: Any) -> str:
        """Return the text with the same content as the image."""
        ...

    def prompt(self, instance: Any, kind: Kind) -> str:
        r"""Return the question; where an image is given it begins with ``<image>\n\n``."""
        ...

    def response(self, instance: Any, kind: Kind, *, cot: bool = True) -> str:
        """Return the target, with the chain of thought or without it."""
        ...

    def answer(self, instance: Any) -> str:
        """Return what a score compares a completion with."""
        ...

    def image(self, instance: Any, *, mode: ImageMode = "RGB") -> "Image":
        """Draw the instance; ``P`` is the same picture with a palette, for small files."""
        ...

    def sample(self, kind: Kind, seed: int, index: int, *, cot: bool = True) -> "Sample":
        """Return prompt and response as a conversation, with image, reference and provenance."""
        ...


TASKS: Registry[SyntheticTask] = Registry("synthetic task", "vlmzoo.data.synthetic")
