"""A search as a strip of pictures: each patch with its heat map and its likeliest box, in the order of the visits."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from vlmzoo.agents.visual_search import SearchResult, Visit
from vlmzoo.data.images import load_image
from vlmzoo.geometry import Box, Frame
from vlmzoo.types import ImageLike

__all__ = ["picture_strip"]

_GAP, _CAPTION = 6, 14
_HOT, _FOUND, _TRIED = (255, 80, 0), (0, 200, 0), (255, 255, 255)


def picture_strip(image: ImageLike, result: SearchResult, *, height_px: int = 160, num_columns: int = 7) -> Image.Image:
    """Draw the visits of a search, left to right and row by row.

    A caption says number, level and probability; what the next patches were ranked by glows, and the likeliest
    candidate has a frame, green where the answer comes from.

    Args:
        image: that was searched.
        result: of the search.
        height_px: of each patch.
        num_columns: patches in a row.
    """
    picture = load_image(image)
    tiles = [
        _tile(picture, visit, place, is_answer=place == result.final, height=height_px)
        for place, visit in enumerate(result.visits)
    ]
    rows = [tiles[start : start + num_columns] for start in range(0, len(tiles), num_columns)]
    width = max(sum(tile.width + _GAP for tile in row) for row in rows)
    strip = Image.new("RGB", (width, len(rows) * (height_px + _CAPTION + _GAP)), "white")
    for number, row in enumerate(rows):
        _paste(strip, row, top=number * (height_px + _CAPTION + _GAP))
    return strip


def _paste(strip: Image.Image, row: Sequence[Image.Image], *, top: int) -> None:
    left = 0
    for tile in row:
        strip.paste(tile, (left, top))
        left += tile.width + _GAP


def _tile(picture: Image.Image, visit: Visit, place: int, *, is_answer: bool, height: int) -> Image.Image:
    original = Frame.original(visit.patch.image, width=visit.patch.x.original, height=visit.patch.y.original)
    x0, y0, x1, y1 = (int(edge) for edge in Box.whole(visit.patch).to(original).rounded().xyxy)
    crop = picture.crop((x0, y0, x1, y1))
    if visit.heat is not None:
        share = np.clip(visit.heat.array, 0.0, 1.0)[..., None] * 0.6
        glowing = np.asarray(crop, dtype=np.float32) * (1 - share) + np.array(_HOT, dtype=np.float32) * share
        crop = Image.fromarray(glowing.astype(np.uint8))
    scale = height / crop.height
    shown = crop.resize((max(round(crop.width * scale), 1), height), Image.Resampling.BILINEAR)
    tile = Image.new("RGB", (max(shown.width, 96), height + _CAPTION), "white")
    tile.paste(shown, (0, _CAPTION))
    draw = ImageDraw.Draw(tile)
    if visit.box is not None:
        x0, y0, x1, y1 = (edge * scale for edge in visit.box.clipped().xyxy)
        edges = (x0, y0 + _CAPTION, max(x1, x0 + 1), max(y1, y0 + 1) + _CAPTION)
        draw.rectangle(edges, outline=_FOUND if is_answer else _TRIED, width=2)
    told = "" if visit.probability is None else f" p={visit.probability:.2f}"
    draw.text((1, 1), f"{place + 1} L{visit.level}{told}", fill="black")
    return tile
