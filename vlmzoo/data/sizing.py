"""How large an image enters a model, and how many visual tokens it becomes: one rule for training and evaluation.

Source: TWIN, arXiv:2512.23592, its data preparation (at most 512 pixels a side) and Qwen-VL's rule behind it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from PIL import Image

from vlmzoo.data.images import load_image
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.registry import nearest_hint
from vlmzoo.types import ImageLike
from vlmzoo.zoo.visual import ImageSize, resize_to_budget

__all__ = ["STANDARD_SIZING", "ImageSizing", "capped_size"]

STANDARD_SIZING: Mapping[str, Any] = MappingProxyType({})
"""The options of a sizing where none is given: at most 512 pixels, TWIN's own."""

_SHRINK = 0.95
_OPTIONS = ("max_side", "unit", "min_pixels", "max_pixels", "max_tokens", "on_too_many")


def capped_size(size: ImageSize, *, max_side: int) -> ImageSize:
    """Return (height, width) with a longer side of at most ``max_side`` pixels; the aspect stays, up to rounding."""
    height, width = size
    if max(size) <= max_side:
        return height, width
    scale = max_side / max(size)
    return max(1, round(height * scale)), max(1, round(width * scale))


@dataclass(frozen=True, kw_only=True)
class ImageSizing:
    """Sizes of images before they enter a model whose visual tokens are squares of ``unit`` pixels.

    Args:
        max_side: of the longer side, in pixels; None for no limit.
        unit: side of the square that becomes one visual token, in pixels.
        min_pixels: smallest area; default: four tokens.
        max_pixels: largest area; default: 16,384 tokens.
        max_tokens: visual tokens of all images of a question together; None for no limit.
        on_too_many: what becomes of a question above ``max_tokens``: ``refuse``, or ``shrink`` all its images alike.

    Raises:
        ConfigError: if an option is out of range.
    """

    max_side: int | None = 512
    unit: int = 28
    min_pixels: int | None = None
    max_pixels: int | None = None
    max_tokens: int | None = None
    on_too_many: Literal["refuse", "shrink"] = "refuse"

    def __post_init__(self) -> None:
        """Check the options."""
        for name in ("max_side", "unit", "min_pixels", "max_pixels", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"`{name}` must be positive, but is {value} instead.")
        if self.on_too_many not in ("refuse", "shrink"):
            raise ConfigError(f"`on_too_many` must be refuse or shrink, but is {self.on_too_many!r} instead.")

    @classmethod
    def parse(cls, spec: "ImageSizing | Mapping[str, Any] | None") -> "ImageSizing | None":
        """Read the options as a configuration writes them; None leaves images as they are.

        Raises:
            ConfigError: if an option is unknown or out of range.
        """
        if spec is None or isinstance(spec, ImageSizing):
            return spec
        for name in spec:
            if name not in _OPTIONS:
                raise ConfigError(f"`sizing` takes no `{name}`.{nearest_hint(name, _OPTIONS)}")
        return cls(**spec)

    def size(self, size: ImageSize) -> ImageSize:
        """Return the (height, width) that an image of (height, width) enters the model with.

        Raises:
            ConfigError: if one side is more than 200 times the other.
        """
        capped = size if self.max_side is None else capped_size(size, max_side=self.max_side)
        return resize_to_budget(
            capped,
            factor=self.unit,
            min_pixels=self.min_pixels or 4 * self.unit**2,
            max_pixels=self.max_pixels or 16_384 * self.unit**2,
            at_least_one=True,
        )

    def tokens(self, size: ImageSize) -> int:
        """Return how many visual tokens an image becomes."""
        height, width = self.size(size)
        return height // self.unit * (width // self.unit)

    def fitted(self, sizes: Sequence[ImageSize]) -> list[ImageSize]:
        """Return the sizes of all images of one question.

        Raises:
            DataError: if they are too many tokens and may not shrink, or are so many that nothing helps.
        """
        sizing, limit = self, self.max_tokens
        total = sum(self.tokens(size) for size in sizes)
        if limit is not None and total > limit and self.on_too_many == "refuse":
            raise DataError(
                f"The {len(sizes)} images of a question become {total} visual tokens, but `max_tokens` allows {limit}; "
                "raise it, lower `max_side`, or set `on_too_many: shrink`."
            )
        while limit is not None and sum(sizing.tokens(size) for size in sizes) > limit:
            side = int((sizing.max_side or max(max(size) for size in sizes)) * _SHRINK)
            if side < self.unit:
                raise DataError(
                    f"{len(sizes)} images cannot become fewer than {len(sizes)} visual tokens, but `max_tokens` is "
                    f"{limit}; raise it."
                )
            sizing = replace(sizing, max_side=side, min_pixels=self.unit**2)
        return [sizing.size(size) for size in sizes]

    def apply(self, images: Sequence[ImageLike]) -> list[Image.Image]:
        """Return the images of one question in RGB at their sizes; transparent ones stand on white.

        Raises:
            DataError: if one cannot be read, or they do not fit.
        """
        opened = [_on_white(image) for image in images]
        sizes = self.fitted([(image.height, image.width) for image in opened])
        return [
            image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BICUBIC)
            for image, (height, width) in zip(opened, sizes, strict=True)
        ]


def _on_white(image: ImageLike) -> Image.Image:
    """Open an image; what is transparent shows white."""
    with_alpha = image if isinstance(image, Image.Image) else load_image(image, keep_alpha=True)
    if with_alpha.mode != "RGBA":
        return load_image(with_alpha)
    ground = Image.new("RGBA", with_alpha.size, (255, 255, 255, 255))
    return Image.alpha_composite(ground, with_alpha).convert("RGB")
