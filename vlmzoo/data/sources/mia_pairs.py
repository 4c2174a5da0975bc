"""The pairs of a folder that ``vlmzoo data mia`` wrote: all, those of some layouts, or a sample for comparison."""

import random
from array import array
from pathlib import Path
from typing import Literal

from vlmzoo.data.mia import LAYOUT_KINDS
from vlmzoo.data.sources import SOURCES
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources.trl import TrlSource
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.types import Sample

__all__ = ["MiaPairsSource"]

Choice = Literal["selected", "attention", "random"]
_BEYOND_ATTENTION = ("kept", "too certain", "too uncertain", "length ratio", "edit distance")


@SOURCES.register(
    "mia_pairs",
    source="MIA-DPO, arXiv:2410.17637, section 3 and table 5",
    tiny={"path": str(TINY / "mia_pairs")},
)
class MiaPairsSource:
    """Pairs by how they were chosen.

    Args:
        path: the folder.
        choice: ``selected`` passed attention and the filters; ``attention`` passed attention alone; ``random`` are
            drawn from all answers that are not the true one. The last two need ``write_dropped``.
        layouts: of which layouts; None for all.
        num_pairs: at most so many, drawn at random; None for all.
        seed: of the draw.

    Raises:
        ConfigError: if a choice or layout is unknown.
        DataError: if the folder has no such pairs.
    """

    def __init__(
        self,
        *,
        path: str,
        choice: Choice = "selected",
        layouts: list[str] | None = None,
        num_pairs: int | None = None,
        seed: int = 0,
    ) -> None:
        if choice not in ("selected", "attention", "random"):
            raise ConfigError(f"`choice` must be selected, attention or random, but is {choice!r} instead.")
        for kind in layouts or ():
            if kind not in LAYOUT_KINDS:
                raise ConfigError(f"`layouts` takes {', '.join(LAYOUT_KINDS)}, but has {kind!r}.")
        names = ("pairs",) if choice == "selected" else ("pairs", "dropped")
        files = [str(file) for name in names for file in sorted(Path(path).expanduser().glob(f"{name}-*.jsonl"))]
        if not files or (len(names) > 1 and not any("dropped-" in Path(file).name for file in files)):
            raise DataError(
                f"`{path}` must hold the files of `vlmzoo data mia` ({', '.join(names)}), but does not; make them, "
                f"{'' if len(names) == 1 else 'with `write_dropped: true`, '}or choose another folder."
            )
        files = [file for file in files if Path(file).stat().st_size]
        if not files:
            raise DataError(f"`{path}` holds no pair: selection dropped all answers; see its `report.json`.")
        self._rows = TrlSource(path=files)
        self._kept = self._chosen(choice, layouts, num_pairs, seed)
        if not self._kept:
            raise DataError(f"`{path}` holds no pair of choice `{choice}` and layouts {layouts or 'all'}.")

    @property
    def size(self) -> int | None:
        """The number of pairs."""
        return len(self._kept)

    def sample(self, position: int) -> Sample:
        """Read one pair."""
        return self._rows.sample(self._kept[position])

    def _chosen(self, choice: Choice, layouts: list[str] | None, num_pairs: int | None, seed: int) -> array:
        found: list[int] = []
        for index in range(len(self._rows.rows)):
            meta = self._rows.rows.row(index)["meta"]
            if layouts is not None and meta["kind"] not in layouts:
                continue
            if choice != "attention" or meta["verdict"] in _BEYOND_ATTENTION:
                found.append(index)
        if num_pairs is not None and len(found) > num_pairs:
            found = sorted(random.Random(f"mia_pairs/{seed}").sample(found, num_pairs))
        return array("Q", found)
