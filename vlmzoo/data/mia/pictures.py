"""Collages and pictures in pictures: where each image comes to stand, to the pixel.

Source: gen_data of Liuziyu77/MIA-DPO@a85c51a, by its rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from vlmzoo.errors import DataError

__all__ = ["GridLayout", "compose_grid", "compose_pic_in_pic", "grid_layout", "inner_box", "read_grid_shape"]

_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_COLUMNS = {2: 2, 3: 3, 4: 2, 6: 3, 9: 3}  # by the number of images
_LABEL_SIZE_PX = 34  # as tall as the authors' Arial of 36; a larger one would reach into the tile below
_LABEL_INDENT_PX = 20
TILE_PX = 448
MARGIN_PX = 40
Size = tuple[int, int]
BoxXyxyPx = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class GridLayout:
    """The tiles of a collage; pixels, x before y.

    Args:
        num_rows: of tiles.
        num_columns: of tiles.
        tile_px: side of a tile.
        margin_px: between tiles, and above every row for the labels; none on the other edges.
    """

    num_rows: int
    num_columns: int
    tile_px: int = TILE_PX
    margin_px: int = MARGIN_PX

    @property
    def size(self) -> Size:
        """Width and height of the collage."""
        pitch = self.tile_px + self.margin_px
        return self.num_columns * pitch - self.margin_px, self.num_rows * pitch

    def tile_box(self, index: int) -> BoxXyxyPx:
        """Return the tile of image ``index``, from 0, row by row: left, upper, right and lower edge."""
        row, column = divmod(index, self.num_columns)
        pitch = self.tile_px + self.margin_px
        left, top = column * pitch, row * pitch + self.margin_px
        return left, top, left + self.tile_px, top + self.tile_px

    def content_box(self, index: int, size: Size) -> BoxXyxyPx:
        """Return what an image of a size covers of its tile: scaled to fit, at the tile's upper left corner."""
        left, top, _, _ = self.tile_box(index)
        width, height = _fitted(size, self.tile_px)
        return left, top, left + width, top + height

    def label_place(self, index: int) -> Size:
        """Return where the label of image ``index`` begins."""
        left, top, _, _ = self.tile_box(index)
        return left + _LABEL_INDENT_PX, top - self.margin_px


def grid_layout(num_images: int, *, tile_px: int = TILE_PX, margin_px: int = MARGIN_PX) -> GridLayout:
    """Return the collage for a number of images.

    Raises:
        DataError: if there is no collage of so many.
    """
    if num_images not in _COLUMNS:
        raise DataError(f"`num_images` of a collage must be one of {sorted(_COLUMNS)}, but is {num_images} instead.")
    columns = _COLUMNS[num_images]
    return GridLayout(num_rows=num_images // columns, num_columns=columns, tile_px=tile_px, margin_px=margin_px)


def read_grid_shape(size: Size, *, tile_px: int = TILE_PX) -> tuple[int, int]:
    """Return rows and columns of a collage from its size, as MIA-DPO's released selection does, to be compared with.

    It is exact for the authors' five sizes of collage, of which no more is known. Those made here keep their layout.
    """
    width, height = size
    return height // tile_px, width // tile_px


def compose_grid(images: Sequence[Image.Image], *, layout: GridLayout | None = None) -> Image.Image:
    """Put images into one collage, each under its label, ``Image1`` and so on.

    Args:
        images: in the order of the tiles.
        layout: of the tiles; None takes the authors' for so many images.

    Raises:
        DataError: if there is no collage of so many.
    """
    layout = layout or grid_layout(len(images))
    canvas = Image.new("RGB", layout.size, _WHITE)
    pen = ImageDraw.Draw(canvas)
    font = _label_font(_LABEL_SIZE_PX * layout.margin_px / MARGIN_PX)
    for index, image in enumerate(images):
        left, top, right, bottom = layout.content_box(index, image.size)
        resized = image.convert("RGB").resize((right - left, bottom - top), Image.Resampling.LANCZOS)
        canvas.paste(resized, (left, top))
        pen.text(layout.label_place(index), f"Image{index + 1}", fill=_BLACK, font=font)
    return canvas


def inner_box(inner_size: Size, background_size: Size, *, scale: float = 0.7) -> BoxXyxyPx:
    """Return where the asked image stands over the middle of its background: left, upper, right and lower edge.

    Args:
        inner_size: width and height of the asked image.
        background_size: of the picture behind it, which keeps its size.
        scale: the largest share of a side of the background that it may cover.
    """
    (inner_width, inner_height), (width, height) = inner_size, background_size
    aspect = inner_width / inner_height
    if scale * width / aspect <= scale * height:
        new_width = int(width * scale)
        new_height = int(new_width / aspect)
    else:
        new_height = int(height * scale)
        new_width = int(new_height * aspect)
    new_width, new_height = max(1, new_width), max(1, new_height)
    left, top = (width - new_width) // 2, (height - new_height) // 2
    return left, top, left + new_width, top + new_height


def compose_pic_in_pic(inner: Image.Image, background: Image.Image, *, scale: float = 0.7) -> Image.Image:
    """Paste the asked image over the middle of an unrelated one."""
    left, top, right, bottom = inner_box(inner.size, background.size, scale=scale)
    canvas = background.convert("RGB").copy()
    canvas.paste(inner.convert("RGB").resize((right - left, bottom - top)), (left, top))
    return canvas


def _fitted(size: Size, side: int) -> Size:
    """Return a size scaled to fit a square, whole pixels, at least one each way."""
    width, height = size
    scale = min(side / width, side / height)
    return max(1, int(width * scale)), max(1, int(height * scale))


@cache
def _label_font(size_px: float) -> ImageFont.FreeTypeFont:
    data = files("vlmzoo.data").joinpath("fonts").joinpath("DejaVuSans.ttf").read_bytes()  # the authors' is Arial
    return ImageFont.truetype(BytesIO(data), max(1.0, size_px))
