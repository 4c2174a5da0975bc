"""Questions of synthetic tasks as tables that VLMEvalKit reads, in the authors' columns.

Source: S2H, arXiv:2501.02669, evaluation; VLMEvalKit, docs/en/Development.md (TSV). A table is tab-separated text with
a header, quoted as spreadsheets do. Columns are ``index`` (``0_i``), ``question``, ``answer`` and, where an image is
shown, ``image`` (JPEG in base64); Grid Navigation adds what a walk is checked with.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL.Image import Image

from vlmzoo.data.synthetic import Kind, SyntheticTask
from vlmzoo.data.synthetic._grid import GridInstance
from vlmzoo.data.synthetic._grid_search import MOVES
from vlmzoo.data.synthetic._wording import IMAGE_PREFIX
from vlmzoo.data.vlmevalkit_table import quoted_field
from vlmzoo.errors import ConfigError

__all__ = ["check_asked", "header_of", "jpeg_of", "line_of", "table_name"]

_ASKED = ("text", "image")
_JPEG_QUALITY = 75
_GRID = "OurEval_GridNavigation"
_COLUMNS = ("index", "question", "answer")
_GRID_COLUMNS = (
    "num_steps",
    "start_row",
    "start_col",
    "end_row",
    "end_col",
    "text",
    "collect_objects_coordinates",
)


def check_asked(kinds: Sequence[Kind]) -> None:
    """Refuse kinds that are no questions of VLMEvalKit.

    Raises:
        ConfigError: if there is one.
    """
    others = [kind for kind in kinds if kind not in _ASKED]
    if others:
        raise ConfigError(
            f"`kinds` must be of {', '.join(_ASKED)} with `format: vlmevalkit`, but has {', '.join(others)}: a table "
            "holds questions, and those of the other kinds are the same."
        )


def table_name(task: SyntheticTask, kind: Kind) -> str:
    """Return the authors' name of a table, e.g. ``OurEval_TableReadout_HARD_image``."""
    return f"OurEval_{task.name.title().replace('_', '')}_{task.level.upper()}_{kind}"


def header_of(name: str) -> str:
    """Return the first line of the table of that name, with its end."""
    columns = [*_COLUMNS, *(_GRID_COLUMNS if name.startswith(_GRID) else ())]
    return "\t".join([*columns, *(["image"] if name.endswith("_image") else [])]) + "\n"


def line_of(task: SyntheticTask, instance: Any, kind: Kind, *, index: int, jpeg: bytes | None) -> str:
    """Return the line of one question, without its end.

    With ``compat: s2h``, questions of Grid Navigation keep the empty lines that followed the image's place, as the
    authors' do.
    """
    question = task.prompt(instance, kind).removeprefix(IMAGE_PREFIX.rstrip())
    is_kept = isinstance(instance, GridInstance) and getattr(task, "compat", None) == "s2h"
    fields: dict[str, object] = {
        "index": f"0_{index}",
        "question": question if is_kept else question.strip("\n"),
        "answer": task.answer(instance),
    }
    if isinstance(instance, GridInstance):
        fields |= _grid_fields(instance)
    if jpeg is not None:
        fields["image"] = base64.b64encode(jpeg).decode()
    return "\t".join([quoted_field(str(value)) for value in fields.values()])


def jpeg_of(image: Image) -> bytes:
    """Encode an image as the authors do."""
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()


def _grid_fields(grid: GridInstance) -> Mapping[str, object]:
    """Return the moves as steps in rows and columns, and where everything is, rows and columns counted from 1."""
    ends = [number + 1 for cell in (grid.start, grid.destination) for number in cell]
    stops = ":".join([f"{row + 1}-{col + 1}" for row, col in grid.stops])
    values = (len(grid.trace), *ends, grid.codes_text, stops)
    return {"answer": [MOVES[action] for action in grid.actions], **dict(zip(_GRID_COLUMNS, values, strict=True))}
