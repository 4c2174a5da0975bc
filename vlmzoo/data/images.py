"""Reading images safely: a bad file becomes one sentence, not a stack of decoder frames."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from vlmzoo.errors import DataError
from vlmzoo.types import ImageLike

__all__ = ["MAX_PIXELS", "load_image"]

MAX_PIXELS = 100_000_000
"""Larger images are refused before they are decoded: 100 megapixels are 300 MB of RGB."""


def load_image(image: ImageLike, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return an RGB image.

    Args:
        image: a file, or an image already opened.
        max_pixels: refuse larger ones by their header alone.

    Raises:
        DataError: if the file is missing, is no image, is cut off, or is too large.
    """
    if isinstance(image, Image.Image):
        return _decode(image, "image in memory", max_pixels)
    path = Path(image)
    if not path.is_file():
        raise DataError(f"Image `{path}` does not exist; check the path, or the folder that relative paths start from.")
    try:
        with Image.open(path) as opened:
            return _decode(opened, f"image `{path}`", max_pixels)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"Image `{path}` cannot be opened ({error}); replace it or leave its row out.") from error


def _decode(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    width, height = image.size
    if width * height > max_pixels:
        raise DataError(
            f"The {name} has {width}×{height} pixels, more than the {max_pixels:,} allowed; scale it down, or raise "
            "`max_pixels`."
        )
    try:
        return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"The {name} cannot be decoded ({error}); replace it or leave its row out.") from error
