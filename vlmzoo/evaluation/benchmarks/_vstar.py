"""V*Bench as it lies on the disk: a folder for each kind of question, a picture and a JSON file for each one.

Source: V*, arXiv:2312.14135, section 5.1; craigwu/vstar_bench (on-disk format).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmzoo.data.images import load_image
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.geometry import Box, Frame

__all__ = ["SUBSETS", "VStarRow", "read_vstar"]

SUBSETS = ("direct_attributes", "relative_position")
"""The two that results are told for: 115 and 76 questions."""
_PICTURES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True, kw_only=True)
class VStarRow:
    """One question.

    Args:
        id: folder and stem.
        subset: its folder.
        image: path of the picture.
        targets: names of the objects that it is about.
        boxes_xywh_px: where they are.
        question: in words.
        options: answers, of which the first is right.
    """

    id: str
    subset: str
    image: Path
    targets: Sequence[str]
    boxes_xywh_px: Sequence[Sequence[float]]
    question: str
    options: Sequence[str]

    def boxes(self) -> list[Box]:
        """Return the boxes in the frame of the picture, which is opened for its size.

        Raises:
            DataError: if the picture or a box cannot be used.
        """
        picture = load_image(self.image)
        frame = Frame.original(self.id, width=picture.width, height=picture.height)
        return [Box.from_xywh(box, frame=frame) for box in self.boxes_xywh_px]


def read_vstar(root: str, subsets: Sequence[str]) -> list[VStarRow]:
    """Read the questions, folder by folder, in the order of their names; no picture is opened.

    Raises:
        ConfigError: if no subset is named.
        DataError: if a folder or a picture is missing, or a file is not as it should be.
    """
    if not subsets:
        raise ConfigError(f"`subsets` must name at least one folder, such as {', '.join(SUBSETS)}, but is empty.")
    rows = []
    for subset in subsets:
        folder = Path(root).expanduser() / subset
        files = sorted(folder.glob("*.json"))
        if not files:
            raise DataError(f"`{folder}` must hold the questions of V*Bench as JSON files, but holds none.")
        rows += [_row(path, subset) for path in files]
    return rows


def _row(path: Path, subset: str) -> VStarRow:
    try:
        told: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        row = VStarRow(
            id=f"{subset}/{path.stem}",
            subset=subset,
            image=_picture(path),
            targets=[str(name) for name in told["target_object"]],
            boxes_xywh_px=[[float(edge) for edge in box] for box in told["bbox"]],
            question=str(told["question"]),
            options=[str(option) for option in told["options"]],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"`{path}` must hold `target_object`, `bbox`, `question` and `options`, but cannot be read: {error!r}."
        ) from error
    if len(row.targets) != len(row.boxes_xywh_px) or any(len(box) != 4 for box in row.boxes_xywh_px):
        raise DataError(f"`{path}` must have a box of four numbers for each of its {len(row.targets)} objects.")
    if len(row.options) < 2:
        raise DataError(f"`{path}` must have at least two options, but has {len(row.options)}.")
    return row


def _picture(path: Path) -> Path:
    """Return the picture that has the same stem, dots in it or not."""
    for ending in _PICTURES:
        found = path.with_name(path.name.removesuffix(".json") + ending)
        if found.is_file():
            return found
    raise DataError(f"There is no picture beside `{path}`; its name must be the same, but for the ending.")
