"""Reading images safely: a bad file becomes one sentence, not a stack of decoder frames."""

from pathlib import Path
from typing import Literal

from PIL import Image, UnidentifiedImageError

from vlmzoo.errors import DataError
from vlmzoo.types import ImageLike

__all__ = ["MAX_PIXELS", "load_image", "pad_to_square"]

MAX_PIXELS = 100_000_000
"""Larger images are refused before they are decoded: 100 megapixels are 300 MB of RGB."""


def load_image(image: ImageLike, *, max_pixels: int = MAX_PIXELS, keep_alpha: bool = False) -> Image.Image:
    """Return an RGB image.

    Args:
        image: a file, or an image already opened.
        max_pixels: refuse larger ones by their header alone.
        keep_alpha: return RGBA images as they are.

    Raises:
        DataError: if the file is missing, is no image, is cut off, or is too large.
    """
    if isinstance(image, Image.Image):
        return _decode(image, "image in memory", max_pixels, keep_alpha=keep_alpha)
    path = Path(image)
    if not path.is_file():
        raise DataError(f"Image `{path}` does not exist; check the path, or the folder that relative paths start from.")
    try:
        with Image.open(path) as opened:
            return _decode(opened, f"image `{path}`", max_pixels, keep_alpha=keep_alpha)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"Image `{path}` cannot be opened ({error}); replace it or leave its row out.") from error


def pad_to_square(
    image: Image.Image, *, align: Literal["center", "top_left"], background: tuple[int, int, int]
) -> Image.Image:
    """Pad the shorter side to the longer one.

    Source: LLaVA-1.5, arXiv:2310.03744, for ``center``; the search model of SEAL, arXiv:2312.14135, for ``top_left``.

    Args:
        image: RGB.
        align: where the image stands; ``Frame.padded_to_square`` says the same of its frame.
        background: of the padding, 0 to 255.
    """
    side = max(image.size)
    rest_x, rest_y = side - image.width, side - image.height
    padded = Image.new("RGB", (side, side), background)
    padded.paste(image, (rest_x // 2, rest_y // 2) if align == "center" else (0, 0))
    return padded


def _decode(image: Image.Image, name: str, max_pixels: int, *, keep_alpha: bool) -> Image.Image:
    width, height = image.size
    if width * height > max_pixels:
        raise DataError(
            f"The {name} has {width}×{height} pixels, more than the {max_pixels:,} allowed; scale it down, or raise "
            "`max_pixels`."
        )
    try:
        return image.convert("RGBA" if keep_alpha and image.mode == "RGBA" else "RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"The {name} cannot be decoded ({error}); replace it or leave its row out.") from error
