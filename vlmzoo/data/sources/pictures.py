"""From what a record says about an image to the image: a file that is there and has a readable header, or a picture."""

import base64
import binascii
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from PIL import Image

from vlmzoo.data.images import MAX_PIXELS
from vlmzoo.data.sources import RowError
from vlmzoo.data.sources._fields import shown
from vlmzoo.errors import ConfigError
from vlmzoo.types import ImageLike

__all__ = ["OnMissing", "PictureFinder", "read_size"]

OnMissing: TypeAlias = Literal["error", "skip", "placeholder"]
"""What becomes of a row whose image file is not there: a fault of the row, no row at all, or a grey image."""

_ON_MISSING = ("error", "skip", "placeholder")
_KEYS = ("bytes", "path", "image", "url", "base64")  # of datasets, verl and transformers' blocks
_LONGEST_PATH = 1024  # what is longer is base64
_PLACEHOLDER_SIZE = (336, 336)
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


@dataclass(frozen=True)
class PictureFinder:
    """Finds the images of records.

    Args:
        folder: where relative paths start.
        on_missing: what becomes of a file that is not there.
        is_confined: whether a record may name files under ``folder`` only. Pictures go to judges and rollout servers,
            so who names a folder is sure that no record of a stranger sends another file there.

    Raises:
        ConfigError: if there is no such policy.
    """

    folder: Path
    on_missing: OnMissing = "error"
    is_confined: bool = False

    def __post_init__(self) -> None:
        if self.on_missing not in _ON_MISSING:
            raise ConfigError(
                f"`on_missing` must be one of {', '.join(_ON_MISSING)}, but is {self.on_missing!r} instead."
            )

    def find(self, value: Any) -> ImageLike:
        """Return an image that can be opened; only its header is read.

        Args:
            value: a path, bytes, base64, a mapping that holds one of them, or a picture.

        Raises:
            RowError: if it is nothing of the kind, is not there, lies outside the folder, is no image or is too large.
        """
        found = self._locate(value)
        if not isinstance(found, Path):
            return found
        if not _is_file(found):
            if self.on_missing == "placeholder":
                return Image.new("RGB", _PLACEHOLDER_SIZE, "grey")
            raise RowError(
                f"image `{found}` must exist, but does not; check the path and `image_folder`, or set `on_missing`.",
                "missing image",
            )
        read_size(found)
        return found

    def is_missing(self, value: Any) -> bool:
        """Say whether an image is a file that is not there."""
        try:
            found = self._locate(value)
        except RowError as error:
            return error.kind == "missing image"
        return isinstance(found, Path) and not _is_file(found)

    def _locate(self, value: Any) -> Path | Image.Image:
        inner = next((value[key] for key in _KEYS if value.get(key) is not None), None) if _is_map(value) else value
        if isinstance(inner, Image.Image):
            return inner
        if isinstance(inner, (bytes, bytearray)):
            return _open_bytes(bytes(inner))
        if not isinstance(inner, str) or not inner or "\0" in inner:
            raise RowError(f"an image must be a path or hold bytes, but is {shown(value)} instead.", "wrong value")
        is_named = _is_map(value) and value.get("base64") is inner
        if is_named or inner.startswith("data:") or len(inner) > _LONGEST_PATH:
            return _open_bytes(_from_base64(inner))
        plain = inner.removeprefix("file://")
        if "://" in plain:
            raise RowError(f"image `{plain}` must be a file, but is an address; download it first.", "missing image")
        if self.is_confined and not _is_inside(plain, self.folder):
            raise RowError(
                f"image `{plain}` must lie under the folder of images, `{self.folder}`, but does not; choose an "
                "`image_folder` that holds all of them, or leave it out where records of your own name whole paths.",
                "wrong value",
            )
        return self.folder / plain


def read_size(image: ImageLike) -> tuple[int, int]:
    """Return (width, height) in pixels from the header alone.

    Raises:
        RowError: if the file is missing, is no image, or is too large.
    """
    if isinstance(image, Image.Image):
        return image.size
    try:
        with Image.open(image) as opened:
            size = opened.size
    except FileNotFoundError as error:
        raise RowError(f"image `{image}` must exist, but does not; check the path.", "missing image") from error
    except _UNREADABLE as error:
        raise RowError(f"image `{image}` cannot be opened ({error}); replace it.", "broken image") from error
    _check_size(size, f"image `{image}`")
    return size


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_inside(path: str, folder: Path) -> bool:
    """Say whether a path stays in a folder; a link in there is its owner's word, unless ``..`` leads on from it."""
    if ".." not in Path(path).parts and (folder / path).absolute().is_relative_to(folder.absolute()):
        return True
    return (folder / path).resolve().is_relative_to(folder.resolve())


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def _open_bytes(content: bytes) -> Image.Image:
    try:
        opened = Image.open(io.BytesIO(content))
    except _UNREADABLE as error:
        raise RowError(
            f"an image of {len(content)} bytes, which begin {content[:12]!r}, cannot be opened; replace it.",
            "broken image",
        ) from error
    _check_size(opened.size, f"an image of {len(content)} bytes")
    return opened


def _from_base64(text: str) -> bytes:
    body = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RowError(f"an image in base64 cannot be decoded ({error}): {shown(text)}.", "broken image") from error


def _check_size(size: tuple[int, int], name: str) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise RowError(
            f"{name} must have at most {MAX_PIXELS:,} pixels, but has {size[0]}×{size[1]}; scale it down.",
            "broken image",
        )
