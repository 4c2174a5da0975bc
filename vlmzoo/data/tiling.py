"""Cutting a picture into square tiles, each of which is then a picture of its own to the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint
from vlmzoo.zoo.visual import choose_tiles

__all__ = ["Tiling"]


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How a picture is cut.

    Source: Eagle 2, arXiv:2501.14818, section 3 (dynamic tiling); `choose_tiles` for the grid.

    Args:
        max_tiles: most tiles of a picture, the thumbnail not counted.
        min_tiles: fewest tiles.
        thumbnail: whether the whole picture follows its tiles as one more, where there are several.
        rule: ``aspect`` or ``area``, which grid is best.

    Raises:
        ConfigError: if the numbers or the rule cannot be.
    """

    max_tiles: int
    min_tiles: int = 1
    thumbnail: bool = True
    rule: Literal["aspect", "area"] = "aspect"

    def __post_init__(self) -> None:
        if not 1 <= self.min_tiles <= self.max_tiles:
            raise ConfigError(
                f"`min_tiles` must be at least 1 and at most `max_tiles`, but they are {self.min_tiles} and "
                f"{self.max_tiles}."
            )
        if self.rule not in ("aspect", "area"):
            raise ConfigError(f"`rule` must be aspect or area, but is {self.rule!r} instead.")

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> "Tiling":
        """Read what a config says under ``tiling``.

        Raises:
            ConfigError: if an option is unknown or missing.
        """
        for name in spec:
            if name not in cls.__dataclass_fields__:
                raise ConfigError(f"`tiling` takes no `{name}`.{nearest_hint(name, cls.__dataclass_fields__)}")
        if "max_tiles" not in spec:
            raise ConfigError("`tiling` must have `max_tiles`, the most tiles of a picture.")
        return cls(**spec)

    def grid(self, size: tuple[int, int], *, tile: int) -> tuple[int, int]:
        """Return the (columns, rows) of a picture's tiles.

        Args:
            size: (height, width) of the picture, in pixels.
            tile: side of a tile, in pixels.
        """
        return choose_tiles(size, tile=tile, min_tiles=self.min_tiles, max_tiles=self.max_tiles, rule=self.rule)

    def count(self, size: tuple[int, int], *, tile: int) -> int:
        """Return how many pictures the model sees in place of one, the thumbnail counted."""
        columns, rows = self.grid(size, tile=tile)
        return columns * rows + (self.thumbnail and columns * rows > 1)

    def cut(self, picture: Image.Image, *, tile: int) -> list[Image.Image]:
        """Return a picture's tiles, row by row, and its thumbnail if there is one.

        Args:
            picture: of any size.
            tile: side of a tile, in pixels.
        """
        columns, rows = self.grid((picture.height, picture.width), tile=tile)
        scaled = picture.resize((columns * tile, rows * tile), Image.Resampling.BICUBIC)
        corners = [(column * tile, row * tile) for row in range(rows) for column in range(columns)]
        tiles = [scaled.crop((left, top, left + tile, top + tile)) for left, top in corners]
        return [*tiles, picture] if self.thumbnail and len(tiles) > 1 else tiles
