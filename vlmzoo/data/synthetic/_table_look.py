"""How a table is drawn: sizes and colours, as a config writes them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint

__all__ = ["TableLook"]

_HEX = re.compile("#[0-9a-fA-F]{6}")


@dataclass(frozen=True, kw_only=True)
class TableLook:
    """Sizes and colours of a drawn table; the defaults are those of the S2H figures (1500 x 800 pixels).

    There are two arrangements. Without ``cell_width`` and ``cell_height`` the table stands in a figure of ``width`` by
    ``height``, as the authors' Matplotlib lays it out. With both, every cell, those of the header row and of the label
    column included, has exactly that size, and the canvas is the cells and the margin: so a patch of a ViT is a cell.

    Args:
        width: of the figure, in pixels; follows from the cells where they are given.
        height: of the figure, in pixels; likewise.
        cell_width: of every cell, in pixels.
        cell_height: of every cell, in pixels.
        margin: empty pixels on each side, with ``cell_width`` only.
        font_px: em size of the digits' words, in pixels; default: 16 pt at 100 dpi in a figure, the largest that fits
            with ``cell_width``.
        border_px: width of the lines between cells; 0 draws none.
        header_color: fill of column and row names, as ``#rrggbb``.
        header_text_color: of column and row names.
        body_color: fill of values.
        highlight_color: fill of values on the path.
        text_color: of values.
        border_color: of the lines between cells.
        background_color: of everything else.

    Raises:
        ConfigError: if a size is not positive, a colour is not ``#rrggbb``, or sizes of both arrangements are given.
    """

    width: int | None = None
    height: int | None = None
    cell_width: int | None = None
    cell_height: int | None = None
    margin: int = 0
    font_px: float | None = None
    border_px: int = 1
    header_color: str = "#40466e"
    header_text_color: str = "#ffffff"
    body_color: str = "#f5f5f5"
    highlight_color: str = "#ffff00"
    text_color: str = "#000000"
    border_color: str = "#000000"
    background_color: str = "#ffffff"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_color"):
                _check_color(field.name, value)
            elif value is not None:
                _check_size(field.name, value, least=0 if field.name in {"margin", "border_px"} else 1)
        if (self.cell_width is None) != (self.cell_height is None):
            raise ConfigError(
                f"`image.cell_width` and `image.cell_height` must be given together, but are {self.cell_width} and "
                f"{self.cell_height} instead."
            )
        if self.is_grid and (self.width is not None or self.height is not None):
            raise ConfigError(
                "`image.width` and `image.height` must be left out where `image.cell_width` is given, but are "
                f"{self.width} and {self.height} instead: the canvas is as large as its cells and `image.margin`."
            )
        if not self.is_grid and self.margin:
            raise ConfigError(
                f"`image.margin` must be left out without `image.cell_width`, but is {self.margin} instead."
            )

    @property
    def is_grid(self) -> bool:
        """Whether all cells have one given size."""
        return self.cell_width is not None

    @classmethod
    def compact(cls, cell_px: int = 32, **changes: Any) -> "TableLook":
        """Return a look with square cells of ``cell_px`` pixels and no margin."""
        return replace(cls(cell_width=cell_px, cell_height=cell_px), **changes)

    @classmethod
    def parse(cls, value: "Mapping[str, Any] | TableLook") -> "TableLook":
        """Read a look from a config.

        Raises:
            ConfigError: if an option is unknown, or a value is out of range.
        """
        if isinstance(value, TableLook):
            return value
        if not isinstance(value, Mapping):
            raise ConfigError(f"`image` must be a mapping of options, but is {value!r} instead.")
        known = [field.name for field in fields(cls)]
        for name in value:
            if name not in known:
                raise ConfigError(f"`image` takes no `{name}`.{nearest_hint(str(name), known)}")
        return cls(**value)


def _check_color(name: str, value: object) -> None:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ConfigError(f"`image.{name}` must be a colour such as '#40466e', but is {value!r} instead.")


def _check_size(name: str, value: object, *, least: int) -> None:
    types = (int, float) if name == "font_px" else int
    if not isinstance(value, types) or isinstance(value, bool) or not least <= value <= 10_000:
        kind = "a number" if name == "font_px" else "an integer"
        raise ConfigError(f"`image.{name}` must be {kind} from {least} to 10000, but is {value!r} instead.")
